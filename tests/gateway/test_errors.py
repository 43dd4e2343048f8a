"""Every row of the contract's table of errors, over the real Envoy, for every kind of caller on both routes."""

from __future__ import annotations

import json
import time

import pytest

from tests.gateway.conftest import ALICE, BOB, ELASTIC, settle
from tests.support.gateway import a_key, a_secret

MISSING = "Missing or invalid Authorization header"
INVALID = "Invalid API key"
NO_KEY = "You must generate an API key first to use inference."
UNAUTHORIZED = "Unauthorized access to dedicated endpoint"
FORBIDDEN = "Forbidden: Access denied."

EXPIRED, REVOKED, UNKNOWN = a_secret(11), a_secret(12), a_secret(13)


def on_v1(gateway, model, authorization):
    headers = {"Authorization": authorization} if authorization is not None else {}
    return gateway.call("POST", "/v1/chat/completions", json.dumps({"messages": [], "model": model}).encode(), **headers)


def on_path(gateway, endpoint_id, authorization):
    headers = {"Authorization": authorization} if authorization is not None else {}
    return gateway.call("POST", f"/api/d/{endpoint_id}/v1/chat/completions", b'{"model": "x"}', **headers)


ROUTES = {"by model": on_v1, "by path": on_path}
NOBODY = {
    "no header": (None, MISSING),
    "another scheme": ("Basic YWxpY2U6", MISSING),
    "no scheme": (ALICE, MISSING),
    "an empty key": ("Bearer ", INVALID),
    "a malformed key": (f"Bearer {ALICE[:-1]}x", INVALID),
    "an unknown key": (f"Bearer {UNKNOWN}", INVALID),
    "an expired key": (f"Bearer {EXPIRED}", INVALID),
    "a revoked key": (f"Bearer {REVOKED}", INVALID),
    "another system's key": ("Bearer sk-0123456789", INVALID),
    "no token at all but two dots": ("Bearer a.b.c", INVALID),
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
@pytest.mark.parametrize(("authorization", "sentence"), NOBODY.values(), ids=NOBODY.keys())
def test_who_is_nobody_gets_401_whatever_is_asked_for(world, route, authorization, sentence):
    world.api.put(a_key(EXPIRED, expires_at="2020-01-01T00:00:00Z"), a_key(REVOKED, revoked=True))
    settle(world)
    for wanted in (world.ids["up"], world.ids["sleeping"], "endpt-nosuchthing"):
        reply = route(world.gateway, wanted, authorization)
        assert (reply.status, reply.error) == (401, sentence)
        assert reply.headers["x-error-source"] == "gateway" and reply.headers["www-authenticate"] == "Bearer"
    assert world.engine.received == []


WRONG_TOKENS = {
    "expired": {"exp": time.time() - 3600},
    "of another issuer": {"iss": "https://evil.example"},
    "for another audience": {"aud": "another"},
    "without expiry": {"exp": None},
    "not valid yet": {"nbf": time.time() + 3600},
    "without a user": {"sub": None},
}


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
@pytest.mark.parametrize("claims", WRONG_TOKENS.values(), ids=WRONG_TOKENS.keys())
def test_a_session_that_is_not_valid_is_an_invalid_key(world, route, claims):
    reply = route(world.gateway, world.ids["up"], f"Bearer {world.signer.token(**{'subject': 'alice', **claims})}")
    assert (reply.status, reply.error) == (401, INVALID)


STRANGERS = {"bob with his key": ("key", "bob"), "bob in a session": ("session", "bob")}


def bearer(world, how, who):
    secret = {"alice": ALICE, "bob": BOB}.get(who)
    return f"Bearer {secret if how == 'key' else world.signer.token(who)}"


@pytest.mark.parametrize("wanted", ["up", "sleeping", "failed", "nobody's"])
@pytest.mark.parametrize(("how", "who"), STRANGERS.values(), ids=STRANGERS.keys())
def test_anothers_endpoint_and_nobodys_are_the_same_answer(world, how, who, wanted):
    endpoint_id = world.ids.get(wanted, "endpt-0000000000")
    by_model = on_v1(world.gateway, endpoint_id, bearer(world, how, who))
    assert (by_model.status, by_model.error) == (403, UNAUTHORIZED)
    for reply in (
        on_path(world.gateway, endpoint_id, bearer(world, how, who)),
        world.gateway.call("GET", f"/api/d/{endpoint_id}", Authorization=bearer(world, how, who)),
    ):
        assert (reply.status, reply.error) == (403, FORBIDDEN if how == "key" else UNAUTHORIZED)
    assert not world.engine.received and not world.leases_written


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_a_user_without_an_active_key_is_told_to_make_one(world, route):
    world.api.put(a_key(EXPIRED, "carol", expires_at="2020-01-01T00:00:00Z"), a_key(REVOKED, "carol", revoked=True))
    settle(world)
    reply = route(world.gateway, world.ids["up"], f"Bearer {world.signer.token('carol')}")
    assert (reply.status, reply.error) == (403, NO_KEY)


STATES = {
    "building": ("The endpoint is building (EngineStarting); try again in 10 seconds.", "10"),
    "sleeping": ("Endpoint is SLEEPING and is now WAKING UP; how long that takes is not known yet.", "10"),
    "waking": ("Endpoint is WAKING UP; how long that takes is not known yet.", "10"),
    "failed": ("The endpoint has failed (HostOutOfMemory); its owner has to mend it.", None),
    "paused": ("The endpoint is paused; its owner can resume it.", None),
}


@pytest.mark.parametrize("how", ["key", "session"])
@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
@pytest.mark.parametrize("state", STATES)
def test_an_endpoint_that_does_not_answer_says_its_state_and_when_to_come_again(world, route, state, how):
    reply = route(world.gateway, world.ids[state], bearer(world, how, "alice"))
    sentence, retry_after = STATES[state]
    assert (reply.status, reply.error) == (503, sentence)
    assert reply.headers["x-endpoint-state"] == state and reply.headers.get("retry-after") == retry_after
    assert reply.headers["x-error-source"] == "gateway" and reply.headers["x-request-id"]


@pytest.mark.parametrize("how", ["key", "session"])
@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES.keys())
def test_the_owner_of_an_endpoint_that_is_up_is_answered(world, route, how):
    reply = route(world.gateway, world.ids["up"], bearer(world, how, "alice"))
    assert reply.status == 200 and json.loads(reply.body)["object"] == "chat.completion"
    got = world.engine.received[0]
    assert got.path == "/v1/chat/completions" and got.headers["x-request-id"] == reply.headers["x-request-id"]


def test_a_name_that_is_not_in_the_catalogue_is_404_and_one_that_is_answers_any_key(world):
    reply = on_v1(world.gateway, "No Such Model", f"Bearer {ALICE}")
    assert (reply.status, reply.error) == (404, "Model 'No Such Model' is not in the catalogue.")
    assert on_v1(world.gateway, ELASTIC, f"Bearer {ALICE}").status == 200
    assert world.other.received[0].model == world.ids["shared"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is not a JSON object."),
        (b"[1]", "The body is not a JSON object."),
        (b'{"model', "The body is not a JSON object."),
        (b'{"messages": []}', "The body has no model: name the endpoint's id or a name of the catalogue in the field model."),
        (b'{"model": 7}', "The field model is not a string."),
    ],
    ids=["empty", "a list", "cut off", "no model", "a number"],
)
def test_a_body_without_a_model_is_400(world, body, sentence):
    reply = world.gateway.call("POST", "/v1/chat/completions", body, ALICE)
    assert (reply.status, reply.error) == (400, sentence)


@pytest.mark.parametrize("path", ["/", "/v2/chat", "/metrics", "/check/v1/models", "/api/d", "/api/d/x/y", "/api/d/x/v1", "/readyz"])
def test_an_unknown_path_is_404(world, path):
    reply = world.gateway.call("GET", path, key=ALICE)
    assert (reply.status, reply.error) == (404, "Not found")


def test_a_body_above_the_limit_is_413_on_both_routes_with_and_without_a_length(world):
    big = b'{"model": "' + world.ids["up"].encode() + b'", "x": "' + b"a" * (8 << 20) + b'"}'
    paths = ("/v1/chat/completions", f"/api/d/{world.ids['up']}/v1/chat/completions")
    sent = ("--data-binary", "@-", "-H", f"Authorization: Bearer {ALICE}")
    for path, length in ((paths[0], ()), (paths[0], ("-H", "Transfer-Encoding: chunked")), (paths[1], ("-H", "Transfer-Encoding: chunked"))):
        reply = world.gateway.curl(path, *sent, *length, given=big)
        assert (reply.status, reply.error) == (413, "The body is too large: at most 8.0 MiB on /v1, 64.0 MiB with a length on /api/d.")
    assert world.engine.received == []
    assert world.gateway.call("POST", paths[1], big, ALICE).status == 200
    assert world.engine.received[0].body == big
