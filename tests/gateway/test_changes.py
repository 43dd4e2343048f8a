"""What changes in the cluster is so at the gateway within seconds, without a restart."""

from __future__ import annotations

import json
import time

import jwt
import pytest

from dedicated.adapters.kinds import API_KEY, ENDPOINT, ENDPOINT_SLICE
from dedicated.api import apikey
from dedicated.render.isolation import engine_key
from tests.gateway.conftest import ALICE, BOB, ELASTIC, settle
from tests.support.cluster import wait_until
from tests.support.engine import serving_engine
from tests.support.gateway import SYSTEM, SYSTEM_KEY, TEAM, a_key, a_secret, a_slice, an_endpoint, id_of
from tests.support.tokens import Signer

SOON_S = 2.0


def soon(what, check):
    wait_until(what, check, SOON_S, every_s=0.02)


def answers(world, status, sentence=None, key=ALICE, model=None):
    reply = world.gateway.chat(model or world.ids["up"], key)
    return reply.status == status and (sentence is None or reply.error == sentence)


def name_of(secret):
    return apikey.object_name(apikey.hash_of(secret))


def test_a_revoked_key_is_refused_within_two_seconds(world):
    assert answers(world, 200)
    world.api.patch(API_KEY, SYSTEM, name_of(ALICE), {"spec": {"revoked": True}})
    soon("the key to be refused", lambda: answers(world, 401, "Invalid API key"))


def test_a_deleted_key_is_refused_and_a_new_one_accepted(world):
    world.api.delete(API_KEY, SYSTEM, name_of(ALICE))
    soon("the key to be refused", lambda: answers(world, 401))
    world.api.put(a_key(a_secret(31)))
    soon("the new key to be accepted", lambda: answers(world, 200, key=a_secret(31)))


def test_a_key_outside_the_system_namespace_counts_for_nothing(world):
    secret = a_secret(32)
    manifest = a_key(secret)
    manifest["metadata"]["namespace"] = TEAM
    world.api.put(manifest)
    time.sleep(0.3)
    assert answers(world, 401, key=secret)


def test_a_key_expires_by_the_clock_alone(world):
    secret = a_secret(33)
    world.api.put(a_key(secret, expires_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))))
    soon("the key to be accepted", lambda: answers(world, 200, key=secret))
    wait_until("the key to expire", lambda: answers(world, 401, key=secret), 5)


def test_a_user_whose_last_key_is_revoked_must_make_one(world):
    token = world.signer.token("bob")
    assert world.gateway.chat(world.ids["bobs"], token).status == 200
    world.api.patch(API_KEY, SYSTEM, name_of(BOB), {"spec": {"revoked": True}})
    soon("bob to be told", lambda: answers(world, 403, "You must generate an API key first to use inference.", token, world.ids["bobs"]))


@pytest.mark.parametrize("elliptic", [False, True], ids=["RS256", "ES256"])
def test_a_rotated_key_set_is_taken_in_and_the_old_key_counts_no_more(world, elliptic):
    old = world.signer.token("alice")
    soon("the session to be accepted", lambda: answers(world, 200, key=old))
    world.signer.rotate("second" if elliptic else "third", elliptic=elliptic)
    fresh = world.signer.token("alice")
    wait_until("the new key to be accepted", lambda: answers(world, 200, key=fresh), 5, every_s=0.05)
    assert answers(world, 401, key=old)


def test_a_key_set_that_is_broken_leaves_the_last_good_one(world):
    token = world.signer.token("alice")
    wait_until("the session to be accepted", lambda: answers(world, 200, key=token), 5)
    world.signer.path.write_text("{broken")
    time.sleep(2.5)
    assert answers(world, 200, key=token)
    world.signer.publish()


def test_a_token_signed_with_another_algorithm_or_by_another_is_refused(world):
    claims = {"iss": "https://login.example", "aud": "dedicated", "sub": "alice", "exp": time.time() + 60}
    public = next(iter(json.loads(world.signer.path.read_text())["keys"]))
    stranger = Signer(world.signer.path.with_name("stranger.json"))
    forged = [jwt.encode(claims, "x" * 32, algorithm="HS256"), jwt.encode(claims, None, algorithm="none"), stranger.token("alice")]
    forged.append(jwt.encode(claims, public.get("n") or public["x"], algorithm="HS256", headers={"kid": public["kid"]}))
    assert [world.gateway.chat(world.ids["up"], token).status for token in forged] == [401] * 4


def test_a_deleted_endpoint_is_nobodys(world):
    world.api.delete(ENDPOINT, TEAM, "is-up")
    soon("it to be nobody's", lambda: answers(world, 403, "Unauthorized access to dedicated endpoint"))


def test_a_renamed_endpoint_of_the_catalogue_has_its_new_name_only(world):
    assert world.gateway.chat(ELASTIC, ALICE).status == 200
    world.api.patch(ENDPOINT, TEAM, "shared", {"spec": {"access": {"displayName": "Renamed"}}})
    soon("the new name to answer", lambda: world.gateway.chat("Renamed", ALICE).status == 200)
    assert world.gateway.chat(ELASTIC, ALICE).status == 404


def test_of_two_with_one_name_the_older_has_it(world):
    younger = an_endpoint("younger", owner="mallory", shared_as=ELASTIC)
    younger["metadata"]["creationTimestamp"] = "2026-06-01T00:00:00Z"
    world.api.put(younger, a_slice(younger, world.engine.address, port=world.engine.port))
    time.sleep(0.3)
    assert world.gateway.chat(ELASTIC, ALICE).status == 200
    assert not world.engine.received and world.other.received


def test_an_endpoint_that_goes_to_sleep_and_wakes_again_answers_accordingly(world):
    up = world.api.get(ENDPOINT, TEAM, "is-up")
    world.api.put({**up, "status": an_endpoint("is-up", "sleeping")["status"]})
    soon("it to sleep", lambda: answers(world, 503))
    world.api.put(up)
    soon("it to answer", lambda: answers(world, 200))


def test_calls_go_to_the_replica_with_the_fewest_in_flight(world):
    with serving_engine("127.0.0.3", world.engine.port) as second:
        up = world.api.get(ENDPOINT, TEAM, "is-up")
        world.api.put(a_slice(up, world.engine.address, second.address, port=world.engine.port))
        wait_until("both to answer", lambda: answers(world, 200) and world.engine.received and second.received, 5)
        assert abs(len(world.engine.received) - len(second.received)) <= 2


def test_a_replica_that_is_dead_fails_one_call_and_is_left_out(world):
    up = world.api.get(ENDPOINT, TEAM, "is-up")
    world.api.put(a_slice(up, world.engine.address, "127.0.0.9", port=world.engine.port))
    replies = []
    for _ in range(12):
        replies.append(world.gateway.chat(world.ids["up"], ALICE).status)
        time.sleep(0.1)
    assert set(replies) <= {200, 500} and replies[-4:] == [200] * 4, replies


@pytest.mark.parametrize(
    "changes",
    [{"serving": False}, {"terminating": True}, {"pod": "stolen-labels"}],
    ids=["a pod that does not serve", "a pod that goes", "a pod of another name with stolen labels"],
)
def test_what_must_not_be_called_is_not(world, changes):
    up = world.api.get(ENDPOINT, TEAM, "is-up")
    world.api.put(a_slice(up, world.engine.address, port=world.engine.port, **changes))
    settle(world)
    soon("it to have no replica", lambda: answers(world, 503))
    reply = world.gateway.chat(world.ids["up"], ALICE)
    assert "none of its replicas answers" in reply.error and reply.headers["retry-after"] == "2"
    assert not world.engine.received


@pytest.mark.parametrize("address", ["169.254.169.254", "10.1.2.3", "0.0.0.0", "224.0.0.1"])
def test_an_address_that_is_no_pods_is_never_called(world, address):
    up = world.api.get(ENDPOINT, TEAM, "is-up")
    world.api.put(a_slice(up, address, port=80))
    soon("it to have no replica", lambda: answers(world, 503))


def test_a_forged_status_changes_no_address(world):
    forged = {"id": world.ids["bobs"], "pods": [{"name": "x", "address": "127.0.0.2", "ready": True}], "url": "http://127.0.0.2"}
    world.api.patch(ENDPOINT, TEAM, "is-up", {"status": forged})
    time.sleep(0.3)
    assert answers(world, 200)
    assert world.engine.received and not world.other.received


def test_a_slice_in_another_namespace_is_not_the_endpoints(world):
    up = world.api.get(ENDPOINT, TEAM, "is-up")
    world.api.delete(ENDPOINT_SLICE, TEAM, a_slice(up, port=1)["metadata"]["name"])
    stolen = a_slice(up, world.other.address, port=world.other.port)
    stolen["metadata"]["namespace"] = "team-b"
    world.api.put(stolen)
    soon("it to have no replica", lambda: answers(world, 503))
    world.api.delete(ENDPOINT_SLICE, "team-b", stolen["metadata"]["name"])


def test_the_engine_is_called_with_its_own_key_and_sees_nothing_of_the_callers(world):
    body = json.dumps({"model": world.ids["up"]}).encode()
    sent = {
        "Cookie": "a=b",
        "X_Api_Key": ALICE,
        "Prefer": "wait=1",
        "X_Forwarded_For": "1.2.3.4",
        "traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    }
    world.gateway.call("POST", "/v1/chat/completions", body, ALICE, **sent)
    headers = world.engine.received[0].headers
    assert headers["authorization"] == f"Bearer {engine_key(SYSTEM_KEY, an_endpoint('is-up')['metadata']['uid'])}"
    assert ALICE not in str(headers)
    assert not {"cookie", "x-api-key", "prefer", "x-forwarded-for"} & set(headers)
    assert not [name for name in headers if name.startswith(("x-envoy", "x-dedicated"))]
    assert headers["traceparent"].startswith("00-aaaa") and headers["x-request-id"]
    assert id_of(an_endpoint("is-up")) == world.ids["up"]
