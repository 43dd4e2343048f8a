"""Access to the model is proven before anything is made: what is refused says why and what to do, and starts by itself when its cause is gone."""

from __future__ import annotations

import json
import time

import pytest

from dedicated.api.conditions import find
from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.api.status import ConditionType
from hack.hub.accounts import Account
from hack.hub.faults import Fault
from hack.hub.server import Hub
from tests.support.cluster import endpoint, wait_until
from tests.support.hub import make_models, serving
from tests.support.pods import OURS, make_ready

ACCOUNTS = {
    "hf_memberOfAcme": Account(name="alice", member_of=["acme"]),
    "hf_strangerToAll": Account(name="bob"),
    "hf_waitsForYou": Account(name="dave", requests={"acme/gated": "pending"}),
    "hf_withoutScope": Account(name="frank", role="fineGrained", member_of=["acme"]),
}
SECRET = "Secret hub-token (key HF_TOKEN)"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def server(models):
    return Hub(models, dict(ACCOUNTS))


@pytest.fixture
def hub(server):
    """A hub of the test's own, in the place of the session's."""
    with serving(server) as url:
        yield url, server


@pytest.fixture(autouse=True)
def no_token_is_told(kubectl, operator):
    """Whatever a test does, no token is on a status, in an event or in the operator's log."""
    yield
    told = kubectl.must("get", "inferenceendpoints,events,deployments,pods", "-o=yaml") + operator.log.read_text()
    assert [token for token in (*ACCOUNTS, "hf_nobodysToken") if token in told] == []


def model(repo="acme/gated", *, token=True, secret="hub-token", **source):
    """The spec of an endpoint of this model; with the token of a Secret."""
    ref = {"tokenSecretRef": {"name": secret}} if token else {}
    return {"model": {"huggingFace": {"repo": repo, **source}, **ref}, "engine": {"kind": "llamacpp"}}


def give_token(kubectl, token, *, label=True, secret="hub-token"):
    """A Secret with this token, made or changed."""
    labels = {"inference.dedicated.dev/use": "hub-token"} if label else {}
    kubectl.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "labels": labels}, "stringData": {"HF_TOKEN": token}})


def accessible(status):
    return find(status.conditions, ConditionType.ACCESSIBLE)


def refused(kubectl, reason, *, phase="failed", name="one"):
    """The status of an endpoint that was refused: it says what to do, and nothing was made in its namespace."""
    status = kubectl.wait(name, f"{phase} {reason}")
    ready = find(status.conditions, ConditionType.READY)
    assert CATALOGUE[Reason(reason)].next_step in ready.message
    assert accessible(status).reason == reason
    assert not kubectl.all("deployment", OURS) and not kubectl.all("pod", OURS)
    return status


REFUSED = {
    "gated-no-token": ({"token": False}, None, "TokenMissing", ["/acme/gated", "spec.model.tokenSecretRef"]),
    "gated-not-in-list": ({}, "hf_strangerToAll", "GatedAccessDenied", ["/acme/gated", "account bob", "Secret gated-not-in-list (key HF_TOKEN)"]),
    "gated-waiting": ({}, "hf_waitsForYou", "GatedAccessPending", ["/acme/gated", "Secret gated-waiting (key HF_TOKEN)"]),
    "token-unknown": ({"repo": "acme/tiny"}, "hf_nobodysToken", "TokenInvalid", ["Secret token-unknown (key HF_TOKEN)"]),
    "token-scope": ({"repo": "acme/secret"}, "hf_withoutScope", "TokenScopeInsufficient", ["Secret token-scope (key HF_TOKEN)", "of acme"]),
    "private-no-token": ({"repo": "acme/secret", "token": False}, None, "ModelNotFound", ["does not exist or is private"]),
    "private-anothers": ({"repo": "acme/secret"}, "hf_strangerToAll", "ModelNotFound", ["Secret private-anothers", "may not see it"]),
    "disabled": ({"repo": "acme/disabled", "token": False}, None, "ModelDisabled", ["/acme/disabled"]),
    "no-revision": ({"repo": "acme/tiny", "token": False, "revision": "v9"}, None, "RevisionNotFound", ["'v9'"]),
    "no-secret": ({}, None, "TokenMissing", ["Secret no-secret does not exist"]),
}
"""Endpoints, each with a Secret of its name: model, token -> reason, and what the message names."""


def test_each_refusal_has_its_own_reason_and_its_next_step_and_no_deployment(operator, kubectl):
    operator.start()
    for name, (_, token, _, _) in REFUSED.items():
        if token:
            give_token(kubectl, token, secret=name)
    kubectl.apply(*(endpoint(name, **model(secret=name, **source)) for name, (source, _, _, _) in REFUSED.items()))
    for name, (_, _, reason, names) in REFUSED.items():
        status = refused(kubectl, reason, name=name)
        assert (name, [word for word in names if word not in status.diagnosis.message]) == (name, [])
        assert accessible(status).status == "False" and status.diagnosis.message in accessible(status).message
        assert bool(status.diagnosis.next_attempt_at) is (reason == "GatedAccessPending")


def test_what_was_proven_says_with_which_secret_and_the_hub_is_not_asked_again(operator, server, kubectl):
    operator.settings["DEDICATED_RESYNC_SECONDS"] = "1"
    operator.start()
    give_token(kubectl, "hf_memberOfAcme")
    kubectl.apply(endpoint("one", **model()))
    status = kubectl.wait("one", "building EngineStarting")
    assert accessible(status).status == "True"
    assert accessible(status).message == f"Resolved to commit {status.model.revision}; access proven with {SECRET}."
    wait_until("a pod", lambda: bool(kubectl.all("pod", OURS)))
    make_ready(kubectl)
    kubectl.wait("one", "up AllReady")
    asked = len(server.requests)
    time.sleep(3)  # three resyncs: nothing may happen, so there is nothing to wait for
    operator.kill()
    operator.start()
    time.sleep(2)
    assert len(server.requests) == asked
    assert "access proven with" in accessible(kubectl.status("one")).message


def test_many_endpoints_of_one_model_ask_the_hub_a_handful_of_times(operator, server, kubectl):
    operator.start()
    give_token(kubectl, "hf_memberOfAcme")
    kubectl.apply(*(endpoint(f"e{number}", **model()) for number in range(40)))
    for number in range(40):
        kubectl.wait(f"e{number}", "building EngineStarting")
    assert len(server.requests) <= 12


@pytest.mark.parametrize("first", ["hf_nobodysToken", "hf_strangerToAll"], ids=["unknown", "not in the list"])
def test_a_token_that_is_corrected_starts_the_endpoint_by_itself(operator, kubectl, first):
    operator.start()
    give_token(kubectl, first)
    kubectl.apply(endpoint("one", **model()))
    refused(kubectl, "TokenInvalid" if first == "hf_nobodysToken" else "GatedAccessDenied")
    give_token(kubectl, "hf_memberOfAcme")
    status = kubectl.wait("one", "building EngineStarting", 10)
    assert status.diagnosis is None and accessible(status).status == "True"


def test_a_secret_that_is_made_later_starts_the_endpoint_by_itself(operator, kubectl):
    operator.start()
    kubectl.apply(endpoint("one", **model()))
    assert "does not exist" in refused(kubectl, "TokenMissing").diagnosis.message
    give_token(kubectl, "hf_memberOfAcme")
    kubectl.wait("one", "building EngineStarting", 10)


def test_a_secret_that_gets_its_label_later_starts_the_endpoint_by_itself(operator, kubectl):
    operator.start()
    give_token(kubectl, "hf_memberOfAcme", label=False)
    kubectl.apply(endpoint("one", **model()))
    assert "is not labelled" in refused(kubectl, "TokenMissing").diagnosis.message
    kubectl.must("label", "secret", "hub-token", "inference.dedicated.dev/use=hub-token")
    kubectl.wait("one", "building EngineStarting", 10)


def pause_and_resume(kubectl):
    """A restart from nothing, with the hub asked anew."""
    kubectl.must("patch", "inferenceendpoint", "one", "--type=merge", '-p={"spec":{"suspend":true}}')
    kubectl.wait("one", "paused Suspended")
    wait_until("the pods to go", lambda: not kubectl.all("pod", OURS))
    change = {"spec": {"suspend": False}, "metadata": {"annotations": {"inference.dedicated.dev/retry": str(time.time())}}}
    kubectl.must("patch", "inferenceendpoint", "one", "--type=merge", f"-p={json.dumps(change)}")


def up(kubectl):
    give_token(kubectl, "hf_memberOfAcme")
    kubectl.apply(endpoint("one", **model()))
    kubectl.wait("one", "building EngineStarting")
    wait_until("a pod", lambda: bool(kubectl.all("pod", OURS)))
    make_ready(kubectl)
    kubectl.wait("one", "up AllReady")


def has_no_pods(kubectl):
    return not kubectl.all("pod", OURS) and [found["spec"]["replicas"] for found in kubectl.all("deployment", OURS)] == [0]


def test_a_secret_that_is_deleted_is_noticed_and_refuses_the_next_start(operator, kubectl):
    operator.start()
    up(kubectl)
    kubectl.must("delete", "secret", "hub-token")
    wait_until("the deletion to be noticed", lambda: accessible(kubectl.status("one")).reason == "TokenMissing", 30)
    assert kubectl.phase("one") == "up AllReady" and accessible(kubectl.status("one")).status == "Unknown"
    pause_and_resume(kubectl)
    assert "Secret hub-token does not exist" in kubectl.wait("one", "failed TokenMissing").diagnosis.message
    assert has_no_pods(kubectl)
    give_token(kubectl, "hf_memberOfAcme")
    kubectl.wait("one", "building EngineStarting", 10)


def test_a_token_that_is_revoked_is_noticed_at_the_next_start(operator, server, kubectl):
    operator.start()
    up(kubectl)
    server.tokens = {}
    pause_and_resume(kubectl)
    kubectl.wait("one", "failed TokenInvalid")
    assert has_no_pods(kubectl)


def test_access_that_is_granted_at_last_is_found_by_itself(operator, server, kubectl):
    operator.start()
    give_token(kubectl, "hf_waitsForYou")
    kubectl.apply(endpoint("one", **model()))
    refused(kubectl, "GatedAccessPending")
    server.tokens = {"hf_waitsForYou": Account(name="dave", requests={"acme/gated": "accepted"})}
    kubectl.wait("one", "building EngineStarting", 50)


def test_a_quota_that_is_used_up_is_left_alone_for_as_long_as_the_hub_asks(operator, server, kubectl):
    server.faults = [Fault(kind="api", status=429, retry_after_s=8)]
    operator.start()
    began = time.monotonic()
    kubectl.apply(endpoint("one", **model("acme/tiny", token=False)), endpoint("two", **model("acme/sharded", token=False)))
    status = refused(kubectl, "HubRateLimited", phase="building")
    assert "asks to wait 8 s" in find(status.conditions, ConditionType.READY).message and accessible(status).status == "Unknown"
    assert status.diagnosis is None
    asked = len(server.requests)
    assert asked <= 2  # both may have been on their way
    while time.monotonic() - began < 6:
        assert len(server.requests) == asked
        time.sleep(0.5)
    server.faults = []
    kubectl.wait("one", "building EngineStarting", 10)
    assert time.monotonic() - began < 15


def test_a_quota_of_files_that_is_used_up_holds_the_start_back(operator, server, kubectl):
    server.faults = [Fault(kind="resolvers", status=429, retry_after_s=3, times=1)]
    operator.start()
    kubectl.apply(endpoint("one", **model("acme/tiny", token=False)))
    refused(kubectl, "HubRateLimited", phase="building")
    kubectl.wait("one", "building EngineStarting", 10)


def test_a_hub_that_is_broken_is_waited_for(operator, server, kubectl):
    server.faults = [Fault(status=503)]
    operator.start()
    kubectl.apply(endpoint("one", **model("acme/tiny", token=False)))
    assert accessible(refused(kubectl, "HubUnavailable", phase="building")).status == "Unknown"
    server.faults = []
    kubectl.wait("one", "building EngineStarting", 60)


def test_a_hub_that_is_away_is_waited_for(operator, hub, kubectl):
    operator.hub = "http://127.0.0.1:9"
    operator.start()
    kubectl.apply(endpoint("one", **model("acme/tiny", token=False)))
    assert "cannot be reached" in accessible(refused(kubectl, "HubUnavailable", phase="building")).message


def test_a_mirror_that_lacks_everything_but_files_is_proven_by_a_file(operator, server, kubectl):
    server.mirror = True
    operator.start()
    give_token(kubectl, "hf_memberOfAcme")
    kubectl.apply(endpoint("one", **model()))
    status = kubectl.wait("one", "building EngineStarting")
    assert accessible(status).status == "True" and status.model.gated is None


def test_a_mirror_that_tells_nothing_of_access_leaves_it_unknown_and_is_tried(operator, server, kubectl):
    server.mirror = True
    server.faults = [Fault(kind="resolvers", status=405)]
    operator.start()
    kubectl.apply(endpoint("one", **model("acme/tiny", token=False)))
    status = kubectl.wait("one", "building EngineStarting")
    assert accessible(status).status == "Unknown" and "does not tell" in accessible(status).message
    assert len(kubectl.all("deployment", OURS)) == 1
