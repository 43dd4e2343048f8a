"""Engines that fail, connections that fail, and the gateway's own parts killed under load."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from aiohttp import web

from tests.gateway.conftest import ALICE, settle
from tests.support.cluster import wait_until
from tests.support.engine import sends, streams, streams_until
from tests.support.gateway import a_slice, an_endpoint

COMMUNICATION = "Failed to communicate with inference engine"

REFUSALS = {
    "OpenAI and vLLM": (b'{"error": {"message": "max_tokens is too large", "type": "x", "code": 400}}', "max_tokens is too large"),
    "vLLM, older": (b'{"object": "error", "message": "This model is too small", "code": 400}', "This model is too small"),
    "SGLang": (b'{"object":"error","message":"Prompt \\"too long\\"","type":"BadRequest"}', 'Prompt "too long"'),
    "llama.cpp": (b'{"error":{"code":400,"message":"exceeds context\\nsize","type":"exceed_context_size_error","n_ctx":8}}', "exceeds context\nsize"),
    "FastAPI, one": (b'{"detail": "Not authenticated"}', "Not authenticated"),
    "FastAPI, several": (b'{"detail":[{"loc":["body"],"msg":"field required"},{"msg":"second"}]}', "field required"),
    "text-generation-inference": (b'{"error":"Input validation error","error_type":"validation"}', "Input validation error"),
    "escapes and other scripts": ('{"error": {"message": "\\u00fc \u2028 \U0001f600 \\\\ \\""}}'.encode(), 'ü \u2028 \U0001f600 \\ "'),
    "a string": (b'"just a string"', "just a string"),
    "plain text": (b'  no such "thing"\n', 'no such "thing"'),
    "HTML": (b"<html><body>nginx</body></html>", "The inference engine refused the request."),
    "nothing": (b"", "The inference engine refused the request."),
    "no message": (b'{"error": {"code": 7}}', '{"error": {"code": 7}}'),
    "cut off": (b'{"error": {"mess', '{"error": {"mess'),
    "too deep": (b"[" * 50_000, "[" * 2000),
}


@pytest.mark.parametrize("status", [400, 404, 422, 429])
@pytest.mark.parametrize(("body", "sentence"), REFUSALS.values(), ids=REFUSALS.keys())
def test_an_engines_refusal_keeps_its_status_and_its_message_becomes_the_sentence(world, body, sentence, status):
    world.engine.behave = sends(status, body)
    reply = world.gateway.chat(world.ids["up"], ALICE)
    assert reply.status == status and json.loads(reply.body) == {"error": sentence}
    assert reply.headers["content-type"] == "application/json" and reply.headers["x-error-source"] == "engine"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_an_engines_failure_is_the_one_sentence(world, status):
    world.engine.behave = sends(status, b"Traceback (most recent call last): secret", "text/plain", Retry_After="7")
    reply = world.gateway.chat(world.ids["up"], ALICE)
    assert b"secret" not in reply.body and "retry-after" not in reply.headers
    assert (reply.status, reply.error) == (500, COMMUNICATION)


def test_an_engine_that_is_not_there_is_the_one_sentence(world):
    up = an_endpoint("is-up")
    world.api.put(a_slice(up, "127.0.0.9", port=world.engine.port))
    settle(world)
    reply = world.gateway.chat(world.ids["up"], ALICE)
    assert (reply.status, reply.error) == (500, COMMUNICATION)


def test_an_engine_that_resets_after_it_read_the_call_is_asked_once(world):
    async def reset(request, _body):
        request.transport.abort()
        return web.Response()

    world.engine.behave = reset
    for _ in range(3):
        reply = world.gateway.chat(world.ids["up"], ALICE)
        assert (reply.status, reply.error) == (500, COMMUNICATION)
    assert len(world.engine.received) == 3


def test_a_success_passes_untouched(world):
    world.engine.behave = sends(200, b'{"error": "is a word"}', X_Of_The_Engine="1")
    reply = world.gateway.chat(world.ids["up"], ALICE)
    assert reply.body == b'{"error": "is a word"}' and reply.headers["x-of-the-engine"] == "1"


def test_a_killed_decision_service_breaks_no_stream_and_envoy_recovers_by_itself(world, own):
    count, events = 500, 24
    world.engine.behave = streams(*[b"data: x\n\n"] * events, gap_s=0.3)

    def one(_number):
        with closing(http.client.HTTPConnection("127.0.0.1", own.port, timeout=60)) as connection:
            connection.request("POST", "/v1/x", json.dumps({"model": world.ids["up"]}), {"Authorization": f"Bearer {ALICE}"})
            return connection.getresponse().read()

    with ThreadPoolExecutor(count) as pool:
        calls = [pool.submit(one, number) for number in range(count)]
        wait_until("every stream to begin", lambda: len(world.engine.received) == count, 20, every_s=0.02)
        own.kill_decisions()
        asked = pool.submit(own.chat, world.ids["up"], ALICE)
        time.sleep(0.5)
        own.start_decisions()
        assert asked.result().status == 200  # its check was repeated until the service was there again
        assert {call.result() for call in calls} == {b"data: x\n\n" * events}


def test_without_a_decision_service_every_call_is_the_sentence_for_our_own_failures(world, own):
    own.kill_decisions()
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(own.chat, world.ids["up"], ALICE), pool.submit(own.call, "GET", "/v1/models", key=ALICE)]
        replies = [call.result() for call in calls]
    assert [(reply.status, reply.error) for reply in replies] == [(500, "Internal Server Error")] * 2
    assert world.engine.received == []


def test_what_is_in_flight_is_known_again_after_a_restart(world, own):
    ends = threading.Event()
    world.engine.behave = streams_until(ends)

    def one():
        return own.chat(world.ids["up"], ALICE)

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(one) for _ in range(3)]
        wait_until("three streams", lambda: "dedicated_gateway_in_flight_requests 3.0" in own.metrics(), 5)
        own.kill_decisions()
        own.start_decisions()
        wait_until("three streams again", lambda: "dedicated_gateway_in_flight_requests 3.0" in own.metrics(), 8, own.metrics)
        ends.set()
        assert all(call.result().status == 200 for call in calls)
    wait_until("none", lambda: "dedicated_gateway_in_flight_requests 0.0" in own.metrics(), 5, own.metrics)


def test_told_to_end_envoy_lets_streams_finish_and_takes_nothing_new(world, own):
    world.engine.behave = streams(*[b"data: x\n\n"] * 50, gap_s=0.1)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(own.chat, world.ids["up"], ALICE)
        wait_until("the stream to begin", lambda: bool(world.engine.received), 5, every_s=0.01)
        own.envoy.terminate()
        wait_until("the health check to fail", lambda: own.call("GET", "/healthz").status == 503, 2, every_s=0.05)
        assert call.result().body == b"data: x\n\n" * 50
    assert own.envoy.wait(10) == 0


def test_a_gateway_that_has_not_listed_yet_is_not_ready_and_lets_calls_wait(world, own):
    own.kill_decisions()
    world.api.broken = True
    try:
        own.start_decisions(wait=False)
        wait_until("it to listen", lambda: "waiting for the first full list" in _readyz(own), 10)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(own.chat, world.ids["up"], ALICE)
            time.sleep(0.5)
            assert not call.done()
            world.api.broken = False
            assert call.result().status == 200
    finally:
        world.api.broken = False


def _readyz(gateway):
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.private, timeout=2)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().read().decode()
        except OSError:
            return ""


def test_an_api_server_that_is_gone_changes_nothing_for_callers(world, own):
    world.api.broken = True
    try:
        time.sleep(0.5)
        assert own.chat(world.ids["up"], ALICE).status == 200
    finally:
        world.api.broken = False
