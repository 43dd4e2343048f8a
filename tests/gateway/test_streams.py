"""Streams pass as they come, byte for byte; who leaves is gone at the engine; who breaks off is seen to break off."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import socket
import time
from contextlib import closing, contextmanager

import pytest
from aiohttp import web

from tests.gateway.conftest import ALICE
from tests.support.cluster import wait_until
from tests.support.engine import streams

DONE = b"data: [DONE]\n\n"


@contextmanager
def asking(world, **more):
    """An open stream; answers the response whose body is not read yet."""
    body = json.dumps({"model": world.ids["up"], "stream": True, **more})
    with closing(http.client.HTTPConnection("127.0.0.1", world.gateway.port, timeout=20)) as connection:
        connection.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {ALICE}"})
        yield connection.getresponse()


PIECES = {
    "short events": [b'data: {"a": 1}\n\n', b'data: {"a": 2}\n\n', DONE],
    "comments and keep-alives": [b": ping\n\n", b'data: {"a": 1}\n\n', b":\n\n", DONE],
    "data of several lines": [b"event: message\nid: 7\ndata: one\ndata: two\n\n", DONE],
    "an event of one megabyte": [b"data: " + b"x" * (1 << 20) + b"\n\n", DONE],
    "a character that is cut in two": [b"data: \xe2\x82", b"\xac\n\n", DONE],
    "carriage returns": [b"data: a\r\n\r\n", DONE],
    "no end of stream": [b"data: a\n\n"],
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES.keys())
def test_bytes_pass_as_they_are(world, pieces):
    world.engine.behave = streams(*pieces, gap_s=0.01)
    with asking(world) as answer:
        assert answer.status == 200 and answer.getheader("content-type") == "text/event-stream"
        assert answer.read() == b"".join(pieces)


def test_each_event_leaves_when_it_comes(world):
    world.engine.behave = streams(*[b"data: %d\n\n" % n for n in range(8)], DONE, gap_s=0.1)
    with asking(world) as answer:
        times = []
        while line := answer.readline():
            if line.startswith(b"data"):
                times.append(time.monotonic())
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) == 9 and all(0.05 < gap < 0.2 for gap in gaps), gaps


def test_headers_go_out_only_when_the_engines_have_come(world):
    async def late(request, _body):
        await asyncio.sleep(0.5)
        return web.Response(status=422, body=b'{"message": "no"}', content_type="application/json")

    world.engine.behave = late
    with asking(world) as answer:
        assert answer.status == 422


def test_a_caller_who_leaves_is_gone_at_the_engine_within_a_second(world):
    world.engine.behave = streams(*[b"data: x\n\n"] * 1000, gap_s=0.02)
    with asking(world) as answer:
        answer.read(10)
    wait_until("the engine to be left", lambda: bool(world.engine.gone), 1, every_s=0.01)


def test_a_caller_who_leaves_before_the_first_byte_is_gone_too(world):
    async def never(_request, _body):
        await asyncio.sleep(60)
        return web.Response()

    world.engine.behave = never
    with socket.create_connection(("127.0.0.1", world.gateway.port)) as caller:
        body = json.dumps({"model": world.ids["up"]}).encode()
        caller.sendall(
            b"POST /v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (ALICE.encode(), len(body), body)
        )
        wait_until("the engine to be asked", lambda: bool(world.engine.received), 5, every_s=0.01)
    wait_until("the engine to be left", lambda: bool(world.engine.gone), 1, every_s=0.01)


def test_a_slow_reader_does_not_hold_others(world):
    world.engine.behave = streams(*[b"data: " + b"x" * 65536 + b"\n\n"] * 200)
    with asking(world) as slow:
        slow.read(1)
        began = time.monotonic()
        with asking(world) as quick:
            assert len(quick.read()) == 200 * (65536 + 8)
        assert time.monotonic() - began < 3


def test_a_stream_that_breaks_looks_broken_and_its_cause_is_counted(world):
    world.engine.behave = streams(b"data: 1\n\n", b"data: 2\n\n", gap_s=0.05, breaks=True)
    with asking(world) as answer, pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()
    assert broken.value.partial == b"data: 1\n\ndata: 2\n\n"
    wait_until("it to be counted", lambda: 'dedicated_gateway_broken_total{cause="UPE"}' in world.gateway.metrics(), 5, world.gateway.metrics)


def test_a_body_reaches_the_engine_byte_for_byte_on_both_routes(world):
    body = json.dumps(
        {"messages": [{"role": "user", "content": "x" * (2 << 20)}], "model": world.ids["up"], "n": "ü\u2028"}, ensure_ascii=False
    ).encode()
    assert world.gateway.call("POST", "/v1/chat/completions", body, ALICE).status == 200
    assert world.gateway.call("POST", f"/api/d/{world.ids['up']}/v1/chat/completions?a=b%20c", body, ALICE).status == 200
    assert [got.body == body for got in world.engine.received] == [True, True]
    assert world.engine.received[1].path == "/v1/chat/completions?a=b%20c"
