"""What the gateway answers itself, and what it writes: wakes, activity, last use of keys."""

from __future__ import annotations

import json
import time

import pytest

from dedicated.adapters.kinds import API_KEY, LEASE
from dedicated.api import apikey
from dedicated.core.clock import from_rfc3339
from tests.gateway.conftest import ALICE, BOB, ELASTIC, settle
from tests.support.cluster import wait_until
from tests.support.engine import streams
from tests.support.gateway import ACTIVITY, SYSTEM, a_gateway, an_endpoint

WAKES = "Endpoint is SLEEPING and is now WAKING UP; expected in about 20 s."


def lease(world, name):
    return world.api.get(LEASE, ACTIVITY, world.ids[name])


def wanted(world):
    """The epoch whose sleep a call wants to end."""
    found = lease(world, "sleeping") or {"metadata": {}}
    return found["metadata"].get("annotations", {}).get("inference.dedicated.dev/wake")


def answered(reply):
    assert (reply.status == 200 and reply.headers["content-type"] == "application/json; charset=utf-8") or True
    return json.loads(reply.body)


def test_models_are_the_callers_own_and_the_catalogue(world):
    found = answered(world.gateway.call("GET", "/v1/models", key=ALICE))
    assert found["object"] == "list"
    assert {model["id"] for model in found["data"]} == {world.ids[name] for name in ("up", "building", "sleeping", "waking", "failed", "paused")} | {
        ELASTIC
    }
    assert all(model["object"] == "model" and model["created"] for model in found["data"])


def test_the_state_of_an_endpoint_is_told_to_its_owner_and_wakes_nothing(world):
    for state in ("up", "building", "sleeping", "waking", "failed", "paused"):
        found = answered(world.gateway.call("GET", f"/api/d/{world.ids[state]}", key=ALICE))
        assert (found["id"], found["state"], found["name"]) == (world.ids[state], state, f"is-{state}")
        assert found["model"] == "acme/tiny" and found["message"].startswith("It is")
    assert not world.leases_written


def test_recorded_logs_are_told_to_the_owner_alone(world):
    diagnosis = {"reason": "HostOutOfMemory", "container": "engine", "exitCode": 137, "logTail": "last words", "attempts": 3}
    world.api.put(an_endpoint("is-failed", "failed", diagnosis=diagnosis))
    settle(world)
    (entry,) = answered(world.gateway.call("GET", f"/api/d/{world.ids['failed']}/logs", key=ALICE))["logs"]
    assert (entry["text"], entry["exitCode"], entry["source"]) == ("last words", 137, "status.diagnosis.logTail")
    assert answered(world.gateway.call("GET", f"/api/d/{world.ids['up']}/logs", key=ALICE))["logs"] == []
    assert world.gateway.call("GET", f"/api/d/{world.ids['failed']}/logs", key=BOB).status == 403


@pytest.mark.parametrize(("method", "path"), [("POST", ""), ("GET", "/wake"), ("DELETE", ""), ("POST", "/logs")])
def test_another_method_is_not_found(world, method, path):
    reply = world.gateway.call(method, f"/api/d/{world.ids['up']}{path}", key=ALICE)
    assert (reply.status, reply.error) == (404, "Not found")


def test_a_wake_is_asked_for_once_however_often_it_is_asked(world):
    world.api.put(an_endpoint("is-sleeping", "sleeping", drain={"epoch": 7}, wake={"expectedSeconds": 20}))
    settle(world)
    for _ in range(5):
        reply = world.gateway.call("POST", f"/api/d/{world.ids['sleeping']}/wake", key=ALICE)
        assert (reply.status, json.loads(reply.body)) == (202, {"id": world.ids["sleeping"], "state": "sleeping", "message": WAKES})
    assert wanted(world) == "7"
    assert len(world.leases_written) <= 2  # a patch that found none, and a creation
    assert world.gateway.call("POST", f"/api/d/{world.ids['up']}/wake", key=ALICE).status == 202
    assert world.gateway.call("POST", f"/api/d/{world.ids['paused']}/wake", key=ALICE).status == 503
    assert world.gateway.call("POST", f"/api/d/{world.ids['sleeping']}/wake", key=BOB).status == 403


def test_a_call_for_a_sleeping_endpoint_wakes_it_and_a_refused_one_does_not(world):
    world.api.put(an_endpoint("is-sleeping", "sleeping", drain={"epoch": 8}))
    settle(world)
    assert world.gateway.chat(world.ids["sleeping"], BOB).status == 403
    assert world.gateway.chat(world.ids["sleeping"], None).status == 401
    time.sleep(0.3)
    assert not world.leases_written
    assert world.gateway.chat(world.ids["sleeping"], ALICE).status == 503
    wait_until("the wake to be written", lambda: wanted(world) == "8", 2)


def test_a_wake_that_failed_lately_is_not_asked_for_before_its_time(world):
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    status = an_endpoint("is-sleeping", "sleeping", diagnosis={"nextAttemptAt": later})
    status["status"]["conditions"][0] |= {"status": "False", "reason": "WakeFailed"}
    world.api.put(status)
    settle(world)
    reply = world.gateway.chat(world.ids["sleeping"], ALICE)
    assert reply.status == 503 and "its last wake failed" in reply.error and 50 < int(reply.headers["retry-after"]) <= 60
    time.sleep(0.3)
    assert not world.leases_written


def test_how_long_a_wake_takes_is_told_from_earlier_ones_and_capped(world):
    world.api.put(an_endpoint("is-waking", "waking", wake={"expectedSeconds": 300}))
    settle(world)
    headers = world.gateway.chat(world.ids["waking"], ALICE).headers
    assert (headers["retry-after"], headers["x-expected-seconds"]) == ("120", "300")


def test_activity_is_written_while_calls_are_in_flight_and_not_too_often(world):
    with a_gateway(world.api.url) as gateway:
        world.api.writes.clear()
        world.engine.behave = streams(*[b"data: x\n\n"] * 40, gap_s=0.1)
        assert gateway.chat(world.ids["up"], ALICE).status == 200
        found = lease(world, "up")
        assert found and abs(from_rfc3339(found["spec"]["renewTime"]) - time.time()) < 10
        assert found["spec"]["holderIdentity"] == "gateway-0"
        writes = [write for write in world.api.writes if write[1].endswith(world.ids["up"]) or world.ids["up"] in str(write[2])]
        assert len(writes) <= 2, writes  # idleAfter of 15 minutes: once in 45 s


def test_a_call_that_is_refused_is_no_activity(world):
    world.gateway.chat(world.ids["bobs"], ALICE)
    time.sleep(1.5)
    assert lease(world, "bobs") is None


def test_the_last_use_of_a_key_is_written_once_a_day(world):
    name = apikey.object_name(apikey.hash_of(ALICE))
    world.gateway.chat(world.ids["up"], ALICE)
    wait_until("its use to be written", lambda: "lastUsedTime" in (world.api.get(API_KEY, SYSTEM, name) or {}).get("status", {}), 5)
    world.api.writes.clear()
    world.gateway.chat(world.ids["up"], ALICE)
    time.sleep(1.5)
    assert not [write for write in world.api.writes if "apikeys" in write[1]]


def test_calls_are_counted_by_endpoint_and_code(world):
    world.gateway.chat(world.ids["up"], ALICE)
    line = f'dedicated_gateway_requests_total{{code="200",endpoint="{world.ids["up"]}"}}'
    wait_until("it to be counted", lambda: line in world.gateway.metrics(), 5)
    assert 'dedicated_gateway_bytes_total{direction="sent"}' in world.gateway.metrics()
