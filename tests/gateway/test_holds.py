"""Calls that wait for their endpoint: held through its wake, let go with the reason where it fails, and never more of them than allowed."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from aiohttp import web

from dedicated.adapters.kinds import API_KEY, ENDPOINT, LEASE
from dedicated.api import apikey
from dedicated.core.clock import rfc3339
from tests.gateway.conftest import ALICE, BOB, held, settle
from tests.support.cluster import wait_until
from tests.support.engine import echo
from tests.support.gateway import ACTIVITY, SYSTEM, TEAM, a_slice, an_endpoint

ASLEEP = "is-sleeping"
SOON_S = 1.0


def call(world, route="/v1", gateway=None, key=ALICE, wait_s=20, name=ASLEEP, **headers):
    """One call that may be held."""
    endpoint_id = world.ids.get(name.removeprefix("is-"), name)
    path = "/v1/chat/completions" if route == "/v1" else f"/api/d/{endpoint_id}/v1/chat/completions"
    asked = {"Prefer": f"wait={wait_s}"} if wait_s else {}
    return (gateway or world.gateway).call("POST", path, json.dumps({"model": endpoint_id}).encode(), key, **{**asked, **headers})


@contextmanager
def calling(count, one, *args, **kwargs):
    """So many callers at once; answers their futures."""
    with ThreadPoolExecutor(count) as pool:
        yield [pool.submit(one, *args, **kwargs) for _ in range(count)]


def says_healthy(engine, *, after_s=0.0):
    """The engine is started now and says that it is healthy some time later; answers when that is, and its probes."""
    healthy_at, probes = time.monotonic() + after_s, []

    async def behave(request, body):
        if request.path != "/health":
            return await echo(request, body)
        probes.append(time.monotonic())
        return web.Response(status=200 if time.monotonic() >= healthy_at else 503)

    engine.behave = behave
    return healthy_at, probes


def wakes(world, name=ASLEEP):
    """Its pod has an address; the kubelet has not probed it yet."""
    world.becomes(name, "waking", drain={"epoch": 3})
    world.api.put(a_slice(an_endpoint(name), world.engine.address, port=world.engine.port, serving=False))


def test_a_hundred_calls_held_through_one_wake_are_one_wake_and_a_hundred_answers(world):
    world.becomes(ASLEEP, "sleeping", drain={"epoch": 3})
    settle(world)
    world.api.writes.clear()
    with calling(100, call, world) as answers:
        held(world.gateway, 100)
        healthy_at, probes = says_healthy(world.engine, after_s=0.5)
        wakes(world)
        replies = [answer.result() for answer in answers]
        late_s = time.monotonic() - healthy_at
    assert [reply.status for reply in replies] == [200] * 100
    assert world.written("wake") == ["3"]
    assert len([got for got in world.engine.received if got.path.startswith("/v1/")]) == 100
    assert {reply.headers["x-cold-start"] for reply in replies} == {"true"}
    assert all(0.4 < float(reply.headers["x-wake-seconds"]) < 15 for reply in replies)
    assert late_s < 2 and 5 <= len(probes) <= 14, (late_s, len(probes))


@pytest.mark.parametrize("route", ["/v1", "/api/d"])
def test_a_call_is_held_on_each_route_and_by_either_header_and_reaches_the_engine_whole(world, route):
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(call, world, route), pool.submit(call, world, route, wait_s=0, X_Scale_Up_Timeout="20")]
        held(world.gateway, 2)
        says_healthy(world.engine)
        wakes(world)
        assert [answer.result().status for answer in answers] == [200, 200]
    calls = [got for got in world.engine.received if got.path == "/v1/chat/completions"]
    assert [got.model for got in calls] == [world.ids["sleeping"]] * 2
    assert not {"prefer", "x-scale-up-timeout"} & set(calls[0].headers)


def test_an_endpoint_may_hold_by_default_and_a_caller_may_not_want_it(world):
    world.api.patch(ENDPOINT, TEAM, ASLEEP, {"spec": {"wake": {"hold": "20s", "maxHold": "60s"}}})
    settle(world)
    assert call(world, wait_s=0, X_Scale_Up_Timeout="0").status == 503
    with calling(1, call, world, wait_s=0) as (answer,):
        held(world.gateway, 1)
        says_healthy(world.engine)
        wakes(world)
        assert answer.result().status == 200


@pytest.mark.parametrize("wait_s", [1, 60], ids=["as it asked", "as its endpoint allows"])
def test_a_call_whose_time_is_over_is_told_when_to_come_again(world, wait_s):
    world.api.patch(ENDPOINT, TEAM, ASLEEP, {"spec": {"wake": {"maxHold": "1s"}}, "status": {"wake": {"expectedSeconds": 20}}})
    settle(world)
    began = time.monotonic()
    reply = call(world, wait_s=wait_s)
    assert 0.9 < time.monotonic() - began < 2.5
    assert (reply.status, reply.error) == (503, "Endpoint is SLEEPING and is now WAKING UP; expected in about 20 s.")
    assert (reply.headers["retry-after"], reply.headers["x-endpoint-state"]) == ("20", "sleeping")


def test_more_calls_than_the_endpoint_allows_are_refused(world):
    world.api.patch(ENDPOINT, TEAM, ASLEEP, {"spec": {"wake": {"maxHeldRequests": 2}}})
    settle(world)
    with calling(2, call, world) as answers:
        held(world.gateway, 2)
        reply = call(world)
        assert (reply.status, reply.error) == (429, "Too many calls already wait for this endpoint: at most 2 at once.")
        assert reply.headers["retry-after"] == "10"
        wakes(world)
        assert [answer.result().status for answer in answers] == [200, 200]


def test_larger_calls_than_the_endpoint_allows_are_refused(world):
    world.api.patch(ENDPOINT, TEAM, ASLEEP, {"spec": {"wake": {"maxHeldBytes": "10"}}})
    settle(world)
    for route in ("/v1", "/api/d"):
        reply = call(world, route)
        assert (reply.status, reply.error) == (429, "The calls that wait for this endpoint are too large together: at most 10 bytes.")


def test_a_caller_that_leaves_frees_its_place_and_the_wake_goes_on(world):
    world.api.patch(ENDPOINT, TEAM, ASLEEP, {"spec": {"wake": {"maxHeldRequests": 1}}})
    settle(world)
    world.api.writes.clear()
    body = json.dumps({"model": world.ids["sleeping"]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", world.gateway.port)
    connection.request("POST", "/v1/x", body, {"Authorization": f"Bearer {ALICE}", "Prefer": "wait=30"})
    held(world.gateway, 1)
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    wait_until("the place to be free", lambda: "dedicated_gateway_waiting_requests 0.0" in world.gateway.metrics(), 1, every_s=0.02)
    wait_until("the wake", lambda: len(world.written("wake")) == 1, 5, every_s=0.02)
    with calling(1, call, world) as (answer,):
        held(world.gateway, 1)
        wakes(world)
        assert answer.result().status == 200
    assert len(world.engine.received) <= 2 and len(world.written("wake")) == 1


def failed_wake(world):
    conditions = [{"type": "Ready", "status": "False", "reason": "WakeFailed"}, {"type": "Active", "status": "False", "reason": "NoTraffic"}]
    diagnosis = {"reason": "HostOutOfMemory", "nextAttemptAt": rfc3339(time.time() + 30)}
    world.becomes(ASLEEP, "sleeping", conditions=conditions, diagnosis=diagnosis, drain={"epoch": 4})


ENDINGS = {
    "a wake that failed": (failed_wake, 503, "The endpoint is sleeping, and its last wake failed (HostOutOfMemory); try again in", True),
    "a failure for good": (lambda world: world.becomes(ASLEEP, "failed"), 503, "The endpoint has failed (HostOutOfMemory)", False),
    "a pause": (lambda world: world.becomes(ASLEEP, "paused"), 503, "The endpoint is paused; its owner can resume it.", False),
    "its deletion": (lambda world: world.api.delete(ENDPOINT, TEAM, ASLEEP), 503, "The endpoint was deleted.", False),
    "no room": (
        lambda world: world.becomes(ASLEEP, "building", conditions=[{"type": "Ready", "status": "False", "reason": "NoCapacity"}]),
        503,
        "The endpoint is building (NoCapacity); try again in",
        True,
    ),
    "a revoked key": (
        lambda world: world.api.patch(API_KEY, SYSTEM, apikey.object_name(apikey.hash_of(ALICE)), {"spec": {"revoked": True}}),
        401,
        "Invalid API key",
        False,
    ),
}


@pytest.mark.parametrize(("happens", "status", "sentence", "again"), ENDINGS.values(), ids=ENDINGS.keys())
def test_what_ends_a_wake_lets_every_caller_go_with_the_reason_within_a_second(world, happens, status, sentence, again):
    with calling(50, call, world) as answers:
        held(world.gateway, 50)
        happens(world)
        if status == 401:
            wakes(world)
        began = time.monotonic()
        replies = [answer.result() for answer in answers]
        assert time.monotonic() - began < SOON_S
    assert {reply.status for reply in replies} == {status} and all(reply.error.startswith(sentence) for reply in replies), replies[0]
    assert {"retry-after" in reply.headers for reply in replies} == {again}
    assert [got for got in world.engine.received if got.path != "/health"] == []


def test_a_call_before_the_next_attempt_wakes_nothing_and_does_not_wait(world):
    failed_wake(world)
    settle(world)
    world.api.writes.clear()
    reply = call(world)
    assert reply.status == 503 and 25 <= int(reply.headers["retry-after"]) <= 30
    reply = world.gateway.call("POST", f"/api/d/{world.ids['sleeping']}/wake", key=ALICE)
    assert reply.status == 503 and 25 <= int(reply.headers["retry-after"]) <= 30
    assert world.written("wake") == []


def test_a_wake_that_the_api_server_refuses_for_the_moment_is_written_all_the_same(world):
    world.becomes(ASLEEP, "sleeping", drain={"epoch": 3})
    settle(world)
    world.api.writes.clear()
    world.api.refusals += [429, 409, 429, 429, 429, 503]
    assert call(world, wait_s=0).status == 503
    wait_until("the wake to be written", lambda: world.written("wake") == ["3"], 10)


def test_a_stranger_is_never_held_and_wakes_nothing(world):
    world.api.writes.clear()
    began = time.monotonic()
    assert [call(world, route, key=BOB).status for route in ("/v1", "/api/d")] == [403, 403]
    assert time.monotonic() - began < 2 and world.written("wake") == []


def test_a_killed_decision_service_loses_no_call_that_it_held_and_wakes_nothing_twice(world, own):
    world.becomes(ASLEEP, "sleeping", drain={"epoch": 3})
    settle(world)
    world.api.writes.clear()
    with calling(20, call, world, gateway=own, wait_s=60) as answers:
        held(own, 20)
        own.replace_decisions()
        held(own, 20)
        says_healthy(world.engine)
        wakes(world)
        assert [answer.result().status for answer in answers] == [200] * 20
    assert world.written("wake") == ["3"]
    assert len([got for got in world.engine.received if got.path.startswith("/v1/")]) == 20


def test_a_killed_envoy_leaves_no_call_behind(world, own):
    with calling(5, _broken, world, own) as answers:
        held(own, 5)
        own.envoy.kill()
        own.envoy.wait()
        held(own, 0)
        assert [answer.result() for answer in answers] == [True] * 5
    own.start_envoy()
    wakes(world)
    wait_until("calls to be answered", lambda: call(world, gateway=own).status == 200, 5)


def _broken(world, gateway):
    try:
        call(world, gateway=gateway)
    except (OSError, http.client.HTTPException):
        return True
    return False


def test_a_wake_that_another_gateway_asked_for_is_not_asked_for_again(world, own):
    world.becomes(ASLEEP, "sleeping", drain={"epoch": 3})
    settle(world)
    world.api.writes.clear()
    assert call(world, wait_s=0).status == 503
    wait_until("the wake", lambda: world.written("wake") == ["3"], 5)
    assert world.api.get(LEASE, ACTIVITY, world.ids["sleeping"])
    time.sleep(0.2)  # the second gateway hears of the Lease by its watch
    assert call(world, gateway=own, wait_s=0).status == 503
    time.sleep(1.2)  # that nothing comes: longer than the period in which a gateway looks after what it has to write
    assert world.written("wake") == ["3"]


@pytest.mark.timeout(150)
def test_a_hold_of_90_seconds_on_each_route_is_one_check_and_one_answer(long_hold):
    """It has been under way since the first test of the tier: see `conftest.long_waits`."""
    assert long_hold.statuses("held") == [200, 200]
    assert sorted(path for path in long_hold.asked if "silent" not in path) == ["/check/api/d/e/v1/x", "/check/v1/x"]
    assert [got.path for got in long_hold.engine.received if got.path != "/v1/silent"] == ["/v1/x", "/v1/x"]


def test_a_call_whose_engine_is_silent_for_a_minute_is_one_call(long_hold):
    assert long_hold.statuses("silent") == [200] and len([got for got in long_hold.engine.received if got.path == "/v1/silent"]) == 1


def test_headers_that_come_slowly_are_given_up_after_ten_seconds(long_hold):
    reply, lasted_s = long_hold.calls["slow headers"][0].result()
    assert (reply.status, reply.error) == (408, "The request did not arrive in time.") and 8 < lasted_s < 20
