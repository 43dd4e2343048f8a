"""Who may call what: every caller, route and state of the contract's table, without any process."""

from __future__ import annotations

import json
import time

import pytest

from dedicated.core.clock import rfc3339
from dedicated.gateway.access import Call, Refuse, Route, View, Wait, about, again, decide, not_now
from dedicated.gateway.addresses import networks
from dedicated.gateway.keyring import Keyring
from dedicated.gateway.table import Table
from tests.support.gateway import CONDITIONS, a_key, a_secret, a_slice, an_endpoint, id_of

NOW = 1_800_000_000.0
ALICE, BOB, OLD, GONE = (a_secret(number) for number in range(4))
SESSIONS = {"a.session.alice": "alice", "a.session.bob": "bob", "a.session.carol": "carol"}
ENDPOINTS = {state: an_endpoint(f"is-{state}", state) for state in CONDITIONS}
SHARED = an_endpoint("shared", owner="dana", shared_as="Elastic")


def uid(obj, number):
    return {**obj, "metadata": {**obj["metadata"], "uid": f"uid-{number}"}}


@pytest.fixture(scope="module")
def view():
    keys, table = Keyring(), Table(networks(["10.0.0.0/8"]))
    for number, key in enumerate(
        [a_key(ALICE), a_key(BOB, "bob"), a_key(OLD, "carol", expires_at="2020-01-01T00:00:00Z"), a_key(GONE, "carol", revoked=True)]
    ):
        keys.put(uid(key, number))
    for number, endpoint in enumerate([*ENDPOINTS.values(), SHARED]):
        table.put(endpoint)
        table.put_slice(uid(a_slice(endpoint, "10.0.0.7", port=8000, serving=endpoint is not ENDPOINTS["waking"]), number))
    return View(table, keys, SESSIONS.get, lambda addresses: next(iter(addresses)))


def on_v1(model, token):
    return Call("POST", "/v1/chat/completions", f"Bearer {token}", json.dumps({"model": model}).encode())


def on_path(endpoint_id, token):
    return Call("POST", f"/api/d/{endpoint_id}/v1/chat/completions?x=/v1/", f"Bearer {token}")


CALLERS = {
    "the owner with a key": (ALICE, "owner"),
    "the owner in a session": ("a.session.alice", "owner"),
    "another with a key": (BOB, "stranger with a key"),
    "another in a session": ("a.session.bob", "stranger in a session"),
    "a user without an active key": ("a.session.carol", "no key"),
    "an expired key": (OLD, "nobody"),
    "a revoked key": (GONE, "nobody"),
    "an unknown key": (a_secret(9), "nobody"),
    "a malformed key": (ALICE[:-1], "nobody"),
    "a session that is not valid": ("a.b.c", "nobody"),
    "an empty key": ("", "nobody"),
}
REFUSED = {
    "stranger with a key": {on_v1: (403, "Unauthorized access to dedicated endpoint"), on_path: (403, "Forbidden: Access denied.")},
    "stranger in a session": dict.fromkeys((on_v1, on_path), (403, "Unauthorized access to dedicated endpoint")),
    "no key": dict.fromkeys((on_v1, on_path), (403, "You must generate an API key first to use inference.")),
    "nobody": dict.fromkeys((on_v1, on_path), (401, "Invalid API key")),
}
WAITS = {"building": (10, False), "sleeping": (10, True), "waking": (10, False), "failed": (None, False), "paused": (None, False)}


@pytest.mark.parametrize("state", [*CONDITIONS, "nobody's"])
@pytest.mark.parametrize("route", [on_v1, on_path])
@pytest.mark.parametrize(("token", "who"), CALLERS.values(), ids=CALLERS.keys())
def test_every_caller_on_every_route_in_every_state(view, token, who, route, state):
    endpoint_id = id_of(ENDPOINTS[state]) if state in ENDPOINTS else "endpt-0000000000"
    found = decide(route(endpoint_id, token), view, NOW)
    if who == "owner" and state == "nobody's":
        forbidden = route is on_path and token == ALICE
        assert isinstance(found, Refuse) and found.sentence == (
            "Forbidden: Access denied." if forbidden else REFUSED["stranger in a session"][on_v1][1]
        )
    elif who != "owner":
        assert isinstance(found, Refuse) and (found.status, found.sentence) == REFUSED[who][route]
    elif state == "up":
        assert isinstance(found, Route) and (found.endpoint.id, found.address, found.model) == (endpoint_id, "10.0.0.7:8000", None)
    else:
        assert isinstance(found, Wait) and (found.retry_after_s, found.wakes) == WAITS[state]
        assert state in found.sentence.lower() and found.headers["X-Endpoint-State"] == state


@pytest.mark.parametrize(
    ("authorization", "sentence"),
    [
        (None, "Missing or invalid Authorization header"),
        ("", "Missing or invalid Authorization header"),
        (f"Basic {ALICE}", "Missing or invalid Authorization header"),
        (ALICE, "Missing or invalid Authorization header"),
        ("Bearer", "Invalid API key"),
        ("Bearer \udcff", "Invalid API key"),
    ],
    ids=["none", "empty", "another scheme", "no scheme", "no key", "bytes that are no text"],
)
def test_who_shows_nothing_or_something_else_is_nobody(view, authorization, sentence):
    found = decide(Call("POST", "/v1/x", authorization), view, NOW)
    assert isinstance(found, Refuse) and (found.status, found.sentence) == (401, sentence)


def test_bearer_is_written_as_one_likes(view):
    assert isinstance(decide(Call("POST", f"/api/d/{id_of(ENDPOINTS['up'])}/v1/x", f"bearer  {ALICE}"), view, NOW), Route)


def test_a_name_of_the_catalogue_answers_any_caller_with_a_key_and_is_swapped(view):
    for token in (ALICE, BOB, "a.session.bob"):
        found = decide(on_v1("Elastic", token), view, NOW)
        assert isinstance(found, Route) and found.endpoint.id == id_of(SHARED) and found.model is not None
        assert (found.model.offset, found.model.length) == (10, len('"Elastic"'))
    assert decide(on_v1("elastic", ALICE), view, NOW) == Refuse(404, "Model 'elastic' is not in the catalogue.")


def test_a_shared_endpoint_is_its_owners_alone_by_id(view):
    assert isinstance(decide(on_v1(id_of(SHARED), ALICE), view, NOW), Refuse)


def test_the_body_is_judged_only_after_the_caller(view):
    assert decide(Call("POST", "/v1/x", None, b"{"), view, NOW) == decide(Call("POST", "/v1/x", None, b"{}"), view, NOW)
    assert decide(Call("POST", "/v1/x", f"Bearer {ALICE}", b"{"), view, NOW) == Refuse(400, "The body is not a JSON object.")


@pytest.mark.parametrize("path", ["/", "/v1", "/api/d/x/v1", "/api/d//v1/x", "/api/d/x/y/v1/z", "/v2/x", "/api/d/x/v1?y=/v1/z"])
def test_another_path_is_not_found(view, path):
    assert decide(Call("GET", path, f"Bearer {ALICE}"), view, NOW) == Refuse(404, "Not found")


@pytest.mark.parametrize(
    ("path", "found"),
    [("/api/d/x", ("x", "")), ("/api/d/x/logs?a", ("x", "logs")), ("/api/d/x/wake", ("x", "wake")), ("/api/d/x/v1", None), ("/api/d/x/logs/", None)],
)
def test_what_a_path_asks_about(path, found):
    assert about(path) == found


def test_retry_after_is_what_earlier_wakes_took_and_at_most_two_minutes(view):
    for expected, wanted in ((0.2, 1), (47.4, 47), (900, 120)):
        table = Table(networks(["10.0.0.0/8"]))
        endpoint = an_endpoint("w", "waking", wake={"expectedSeconds": expected})
        table.put(endpoint)
        found = decide(on_v1(id_of(endpoint), ALICE), View(table, view.keys, view.subject, view.pick), NOW)
        assert isinstance(found, Wait) and found.retry_after_s == wanted and found.headers["X-Expected-Seconds"] == f"{expected:.0f}"


def held(table, endpoint, keys, token=ALICE, model=None):
    """A call for an endpoint that is held, and what is decided after `table` has changed."""
    view = View(table, keys, SESSIONS.get, lambda addresses: next(iter(addresses)))
    call = on_v1(model or id_of(endpoint), token)
    wait = decide(call, view, NOW)
    assert isinstance(wait, Wait) and wait.passes
    return lambda: again(call, wait, view, NOW)


def test_a_held_call_is_judged_again_as_everything_stands_then(view):
    table = Table(networks(["10.0.0.0/8"]))
    asleep, shared = an_endpoint("h", "sleeping"), an_endpoint("s", "sleeping", owner="bob", shared_as="Nap")
    table.put(asleep)
    table.put(shared)
    judge, judge_shared = held(table, asleep, view.keys), held(table, shared, view.keys, model="Nap")
    assert isinstance(judge(), Wait)
    for number, name in enumerate(("h", "s")):
        up = an_endpoint(name, "waking", owner="alice" if name == "h" else "bob", shared_as=None if name == "h" else "Nap")
        table.put(up)
        table.put_slice(uid(a_slice(up, "10.0.0.7", port=8000), number))
    found, found_shared = judge(), judge_shared()
    assert isinstance(found, Route) and found.pod.startswith("h-")
    assert isinstance(found_shared, Route) and found_shared.model is not None and found_shared.model.length == len('"Nap"')
    table.put(an_endpoint("h", "failed"))
    assert isinstance(judge(), Wait) and not judge().passes
    table.put(an_endpoint("h", owner="bob"))
    assert judge() == Refuse(403, "Unauthorized access to dedicated endpoint")
    table.remove(asleep["metadata"]["uid"])
    assert judge() == Refuse(503, "The endpoint was deleted.")


def test_a_held_call_whose_key_is_revoked_is_refused():
    keys, table, key = Keyring(), Table(networks([])), a_key(ALICE)
    keys.put(uid(key, 1))
    table.put(an_endpoint("h", "sleeping"))
    judge = held(table, an_endpoint("h"), keys)
    keys.put(uid(a_key(ALICE, revoked=True), 1))
    assert judge() == Refuse(401, "Invalid API key", {"WWW-Authenticate": "Bearer"})


def not_now_of(state="sleeping", **status):
    table = Table(networks(["10.0.0.0/8"]))
    endpoint = an_endpoint("n", state, **status)
    table.put(endpoint)
    table.put_slice(uid(a_slice(endpoint, "10.0.0.7", port=8000, pod="n-pod"), 1))
    return not_now(table.by_id(id_of(endpoint)), NOW)


def test_a_wake_that_failed_is_not_tried_again_before_its_time():
    failed = [{"type": "Ready", "status": "False", "reason": "WakeFailed"}, {"type": "Active", "status": "False", "reason": "NoTraffic"}]
    pause = {"reason": "HostOutOfMemory", "nextAttemptAt": rfc3339(NOW + 40)}
    found = not_now_of(conditions=failed, diagnosis=pause)
    assert (found.wakes, found.passes, found.retry_after_s) == (False, False, 40)
    assert found.sentence == "The endpoint is sleeping, and its last wake failed (HostOutOfMemory); try again in 40 seconds."
    assert not_now_of(conditions=failed, diagnosis={**pause, "nextAttemptAt": rfc3339(NOW)}).wakes


def test_what_is_left_of_a_wake_shrinks_as_it_goes_on():
    wake = {"expectedSeconds": 30, "current": {"startedAt": rfc3339(NOW - 12)}}
    found = not_now_of("waking", wake=wake)
    assert (found.sentence, found.retry_after_s) == ("Endpoint is WAKING UP; expected in about 18 s.", 18)
    assert not_now_of(wake=wake).sentence == "Endpoint is SLEEPING and is now WAKING UP; expected in about 30 s."


def test_a_call_is_not_held_where_nobody_knows_when_there_is_room():
    for reason, passes in (("NoCapacity", False), ("EngineStarting", True)):
        assert not_now_of("building", conditions=[{"type": "Ready", "status": "False", "reason": reason}]).passes is passes


def test_an_endpoint_that_is_just_put_to_sleep_routes_nothing_and_is_kept_awake_by_a_call(view):
    for reason, wakes_it in (("NoTraffic", True), ("Updating", False)):
        table = Table(networks(["10.0.0.0/8"]))
        endpoint = an_endpoint("d", drain={"epoch": 4, "pods": ["d-pod"], "reason": reason})
        table.put(endpoint)
        pods = a_slice(endpoint, "10.0.0.7", port=8000, pod="d-pod")
        table.put_slice(uid(pods, 1))
        found = decide(on_v1(id_of(endpoint), ALICE), View(table, view.keys, view.subject, view.pick), NOW)
        assert isinstance(found, Wait) and (found.wakes, found.passes, found.retry_after_s) == (wakes_it, True, 2)


def test_twenty_thousand_keys_cost_a_decision_no_more_than_microseconds():
    keys, table = Keyring(), Table(networks(["10.0.0.0/8"]))
    for number in range(1, 20_001):
        secret = f"dk-{number:05}"
        keys.put(uid(a_key(secret, f"owner-{number}"), number))
    keys.put(uid(a_key(ALICE), 0))
    for number in range(2000):
        table.put(an_endpoint(f"e-{number}", owner="alice"))
    view = View(table, keys, SESSIONS.get, lambda addresses: addresses[0])
    call = on_v1(id_of(an_endpoint("e-7")), ALICE)
    began = time.process_time()
    for _ in range(1000):
        decide(call, view, NOW)
    assert time.process_time() - began < 0.5
