"""What a caller may try: each is refused with a sentence, and nothing reaches an engine that it should not reach."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.gateway.conftest import ALICE, reply_of, settle
from tests.support.cluster import wait_until
from tests.support.gateway import a_gateway, a_secret


def raw(gateway, *pieces, pause_s=0.0, timeout_s=15.0):
    """Bytes as they are; answers everything that comes back until the connection is closed or silent."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=timeout_s) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        connection.settimeout(5)
        found = b""
        try:
            while piece := connection.recv(65536):
                found += piece
                connection.settimeout(0.3)  # for a second reply, where one call was taken for two
        except TimeoutError:
            pass
        return found


AUTH = b"Authorization: Bearer " + ALICE.encode() + b"\r\n"
BODY = b'{"model": "x"}'


def request(target, *headers, body=b""):
    lines = [b"POST " + target + b" HTTP/1.1", b"Host: a", AUTH.strip(), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


SMUGGLING = {
    "two lengths": request(b"/v1/x", b"Content-Length: 5", b"Content-Length: 6", body=b"hello"),
    "a length and chunks": request(b"/v1/x", b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n"),
    "another encoding": request(b"/v1/x", b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "a space before the colon": request(b"/v1/x", b"Content-Length : 5", body=b"hello"),
    "a folded header": request(b"/v1/x", b"X-A: b", b" Authorization: c"),
    "a header with an underscore": request(b"/v1/x", b"x_dedicated_address: 127.0.0.2:80"),
    "no such method line": b"HELLO\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING.keys())
def test_smuggling_is_refused_with_a_sentence(world, data):
    answer = raw(world.gateway, data)
    reply = reply_of(answer)
    assert reply.status in (400, 501) and reply.error
    assert answer.count(b"HTTP/1.1 ") == 1 and world.engine.received == []


@pytest.mark.parametrize(
    "header",
    [
        "x-envoy-original-dst-host",
        "x-dedicated-address",
        "x-dedicated-endpoint",
        "x-dedicated-model",
        "x-endpoint-id",
        "x-envoy-upstream-alt-stat-name",
    ],
)
def test_no_header_of_a_client_sends_a_call_elsewhere(world, header):
    there = f"{world.other.address}:{world.other.port}"
    body = json.dumps({"model": world.ids["up"]}).encode()
    assert world.gateway.call("POST", "/v1/x", body, ALICE, **{header: there}).status == 200
    assert len(world.engine.received) == 1 and not world.other.received
    assert world.gateway.call("POST", "/v1/x", json.dumps({"model": world.ids["bobs"]}).encode(), ALICE, **{header: there}).status == 403
    assert not world.other.received


@pytest.mark.parametrize("header", ["x-envoy-retry-on", "x-envoy-max-retries", "x-envoy-upstream-rq-timeout-ms", "x-envoy-force-trace"])
def test_no_header_of_a_client_makes_envoy_try_again_or_give_up(world, header):
    body = json.dumps({"model": world.ids["up"]}).encode()
    assert world.gateway.call("POST", "/v1/x", body, ALICE, **{header: "5"}).status == 200
    assert len(world.engine.received) == 1 and header not in world.engine.received[0].headers


PATHS = {
    "dots out of an own id into another's": "/api/d/{up}/v1/../../{bobs}/v1/x",
    "encoded dots": "/api/d/{up}/v1/%2e%2e/%2e%2e/{bobs}/v1/x",
    "an encoded slash in the id": "/api/d/{up}%2f..%2f{bobs}/v1/x",
    "a backslash": "/api/d/{up}/v1/..\\..\\{bobs}/v1/x",
    "dots into the check": "/api/d/{up}/v1/../../../../check/v1/x",
    "the check itself": "/check/api/d/{up}/v1/x",
    "dots from one route into the other": "/v1/../api/d/{bobs}/v1/x",
    "an id with a parameter": "/api/d/{up};a=b/v1/x",
    "an absolute target": "http://evil.example/api/d/{bobs}/v1/x",
    "a null byte": "/api/d/{up}%00/v1/x",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_a_confusing_path_reaches_no_engine_of_anothers(world, path):
    target = path.format(**world.ids).encode()
    reply = reply_of(raw(world.gateway, request(target, b"Content-Length: 14", body=BODY)))
    assert reply.status in (400, 403, 404) and reply.error
    assert not world.other.received and not world.engine.received


def test_a_path_that_stays_within_its_endpoint_is_normalised_alike_for_check_and_engine(world):
    target = f"/api/d/%65{world.ids['up'][1:]}/v1/a/../chat//completions".encode()
    assert reply_of(raw(world.gateway, request(target, b"Content-Length: 14", body=BODY))).status == 200
    assert world.engine.received[0].path == "/v1/chat/completions"


def test_two_authorizations_are_none(world):
    reply = reply_of(raw(world.gateway, request(b"/v1/models".replace(b"models", b"x"), AUTH.strip(), b"Content-Length: 14", body=BODY)))
    assert reply.status == 401


def test_huge_and_many_headers_are_refused(world):
    big = raw(world.gateway, request(b"/v1/x", b"X-A: " + b"a" * 70_000))
    many = raw(world.gateway, request(b"/v1/x", *[b"X-%d: a" % number for number in range(150)]))
    assert [(reply_of(found).status, reply_of(found).error) for found in (big, many)] == [(431, "The headers are too large or too many.")] * 2


@pytest.mark.timeout(60)
def test_slow_bodies_reach_no_engine_and_hold_nobody(world):
    slow = []
    for _ in range(50):
        connection = socket.create_connection(("127.0.0.1", world.gateway.port))
        connection.sendall(request(b"/v1/x", b"Content-Length: 1000000", body=b'{"model": "'))
        slow.append(connection)
    began = time.monotonic()
    assert world.gateway.chat(world.ids["up"], ALICE).status == 200
    assert time.monotonic() - began < 2 and len(world.engine.received) == 1
    for connection in slow:
        connection.close()


def rss_mib(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def envoy_of(gateway):
    return int(Path(f"/proc/{gateway.envoy.pid}/task/{gateway.envoy.pid}/children").read_text().split()[0])


def test_ten_thousand_bad_keys_are_refused_and_memory_stays(world):
    def many(start):
        with closing(http.client.HTTPConnection("127.0.0.1", world.gateway.port)) as connection:
            return {asked(connection, a_secret(10_000 + start + number)) for number in range(1250)}

    def asked(connection, secret):
        connection.request("POST", "/v1/x", BODY, {"Authorization": f"Bearer {secret}"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    many(0)
    before = rss_mib(world.gateway.decisions.pid), rss_mib(envoy_of(world.gateway))
    with ThreadPoolExecutor(8) as pool:
        assert set().union(*pool.map(many, range(0, 10_000, 1250))) == {401}
    after = rss_mib(world.gateway.decisions.pid), rss_mib(envoy_of(world.gateway))
    assert after[0] - before[0] < 20 and after[1] - before[1] < 60, (before, after)


def test_bodies_that_would_fill_the_memory_are_cut_off_and_the_gateway_lives(world):
    """A hundred and fifty callers send 7 MB each and never end: without a limit Envoy would keep a gigabyte."""
    limit_mib, body = 128, b'{"model": "' + b"x" * 7_000_000
    with a_gateway(world.api.url, DEDICATED_MAX_HEAP_BYTES=str(limit_mib << 20)) as small:
        settle(world, small)

        def upload(_number):
            connection = socket.create_connection(("127.0.0.1", small.port), timeout=1)
            try:
                connection.sendall(request(b"/v1/x", b"Content-Length: 8000000", body=body))
            except OSError:
                connection.close()
                return None
            return connection

        peak = 0.0
        with ThreadPoolExecutor(8) as pool:
            open_ones = []
            for found in pool.map(upload, range(150)):
                open_ones += [found] if found else []
                peak = max(peak, rss_mib(envoy_of(small)))
        for connection in open_ones:
            connection.close()
        assert peak < 70 + limit_mib + 300, (
            peak
        )  # Envoy itself is 70 MiB; what comes in a tenth of a second, between two looks at the memory, is on top
        wait_until("calls to be answered again", lambda: small.chat(world.ids["up"], ALICE).status == 200, 10)
        assert len(world.engine.received) == 1


def test_a_browser_of_a_known_origin_may_ask_and_another_may_not(world):
    asks = {"Origin": "https://app.example", "Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    allowed = world.gateway.call("OPTIONS", "/v1/chat/completions", **asks)
    assert allowed.status == 200 and allowed.headers["access-control-allow-origin"] == "https://app.example"
    other = world.gateway.call("OPTIONS", "/v1/chat/completions", **{**asks, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_no_secret_and_no_prompt_is_in_any_log(world):
    world.gateway.call("POST", "/v1/x?prompt=hush", json.dumps({"model": world.ids["up"], "prompt": "hush"}).encode(), ALICE, X_Request_Id="mine")
    wait_until("it to be logged", lambda: '"client_request_id":"mine"' in world.gateway.text("envoy"), 5, lambda: world.gateway.text("envoy"))
    logs = "".join(path.read_text() for path in world.gateway.folder.glob("*.log"))
    assert ALICE not in logs and "hush" not in logs
