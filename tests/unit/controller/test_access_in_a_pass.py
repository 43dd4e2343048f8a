"""Passes over one endpoint with a hub that can refuse it: access is proven before anything is made, at each start, and on no other pass."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from dedicated.adapters.hub import Hub
from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, NAMESPACE, SECRET
from dedicated.adapters.store import Store
from dedicated.adapters.view import Clients
from dedicated.adapters.world import EndpointWorld
from dedicated.api.conditions import find
from dedicated.api.endpoint import EngineKind
from dedicated.api.s3 import S3Location
from dedicated.api.status import ConditionType, EndpointStatus
from dedicated.controller.reconcile import reconcile
from dedicated.diagnosis.evidence import Limits
from dedicated.render.platform import Platform
from hack.hub.accounts import Account
from hack.hub.faults import Fault
from hack.hub.server import Hub as Server
from tests.support.builders import NOW
from tests.support.cluster import endpoint
from tests.support.fake_kube import FakeKube
from tests.support.hub import make_models, serving
from tests.support.status_rules import broken_rules

PLATFORM = Platform(fetch_image="localhost/dedicated:test", engine_images={EngineKind.LLAMACPP: "localhost/llamacpp:test"})
ACCOUNTS = {"hf_member": Account(member_of=["acme"]), "hf_stranger": Account()}


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Endpoint:
    """One endpoint of acme/gated in team-a, and the operator's passes over it."""

    def __init__(self, server, url):
        self.server, self.clock, self.store = server, Clock(), Store()
        self.kube = FakeKube(self.store)
        self.hub = Hub(url, clock=self.clock)
        self.clients = Clients(self.kube, self.hub, self.store, PLATFORM, b"k" * 32, Limits(600, 300), InventoryReader(self.store))
        ref = {"tokenSecretRef": {"name": "hub-token"}}
        spec = {"model": {"huggingFace": {"repo": "acme/gated"}, **ref}, "engine": {"kind": "llamacpp"}}
        manifest = endpoint("one", **spec)
        manifest["metadata"] |= {"namespace": "team-a", "generation": 1, "annotations": {}}
        self.kube.put(ENDPOINT, manifest)

    def token(self, text, label="hub-token"):
        labels = {"inference.dedicated.dev/use": label} if label else {}
        data = {"HF_TOKEN": base64.b64encode(text.encode()).decode()}
        self.kube.put(SECRET, {"metadata": {"name": "hub-token", "namespace": "team-a", "labels": labels}, "data": data})

    async def look(self, *, later_s=0.0):
        """A pass; answers phase and reason, and checks the status."""
        self.clock.now += later_s
        self.kube.time += later_s
        self.outcome = await reconcile(EndpointWorld(self.clients, self.store.all(ENDPOINT)[0]))
        (raw,) = self.kube.all(ENDPOINT)
        self.status = EndpointStatus.model_validate(raw["status"])
        assert broken_rules(self.status, raw["metadata"]["generation"]) == []
        return f"{self.status.phase} {find(self.status.conditions, ConditionType.READY).reason}"

    @property
    def accessible(self):
        return find(self.status.conditions, ConditionType.ACCESSIBLE)

    @property
    def replicas(self):
        return [found["spec"]["replicas"] for found in self.kube.all(DEPLOYMENT)]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def server(models):
    return Server(models, dict(ACCOUNTS))


@pytest.fixture
def url(server):
    with serving(server) as address:
        yield address


@pytest.fixture
async def one(server, url):
    found = Endpoint(server, url)
    yield found
    await found.hub.close()


async def test_a_start_is_proven_once_and_the_passes_after_it_ask_nobody(one):
    one.token("hf_member")
    assert await one.look() == "building EngineStarting"
    assert one.accessible.message == f"Resolved to commit {one.status.model.revision}; access proven with Secret hub-token (key HF_TOKEN)."
    assert one.replicas == [1]
    asked, called = len(one.server.requests), len(one.kube.calls)
    for _ in range(3):
        await one.look(later_s=600)
    assert (len(one.server.requests), len(one.kube.calls)) == (asked, called)
    assert "access proven" in one.accessible.message


async def test_a_create_reads_its_secret_once_and_stays_in_its_budget(one):
    one.token("hf_member")
    await one.look()
    shared = {"apply ServiceAccount", "apply NetworkPolicy"}
    own = [call for call in one.kube.calls if call not in shared]
    assert own == ["get Secret", "apply Secret", "apply Service", "apply Service", "apply Deployment", "patch InferenceEndpoint"]


async def test_a_refused_token_makes_nothing_and_a_changed_secret_starts_it(one):
    one.token("hf_stranger")
    assert await one.look() == "failed GatedAccessDenied"
    assert "/acme/gated" in one.accessible.message and one.accessible.status == "False"
    assert not [call for call in one.kube.calls if call.startswith("apply")]
    assert await one.look(later_s=3600) == "failed GatedAccessDenied"
    one.token("hf_member")
    assert await one.look() == "building EngineStarting"
    assert one.status.diagnosis is None and one.replicas == [1]


async def test_a_secret_that_is_missing_then_not_labelled_then_labelled(one):
    assert await one.look() == "failed TokenMissing"
    assert "does not exist in namespace team-a" in one.status.diagnosis.message
    one.token("hf_member", label=None)
    one.kube.edit(replicas=2)
    assert await one.look() == "failed TokenMissing"
    assert "is not labelled" in one.status.diagnosis.message
    one.token("hf_member")
    assert await one.look() == "building EngineStarting"


async def test_access_is_proven_again_when_it_starts_again(one):
    one.token("hf_member")
    await one.look()
    one.kube.edit(suspend=True)
    assert await one.look(later_s=60) == "paused Suspended"
    one.server.tokens = {"hf_member": ACCOUNTS["hf_stranger"]}
    one.kube.edit(suspend=False)
    assert await one.look(later_s=60) == "failed GatedAccessDenied"
    assert one.replicas == [0]


async def test_a_secret_that_is_deleted_is_noticed_while_it_runs_and_refuses_the_next_start(one):
    one.token("hf_member")
    await one.look()
    one.kube.remove(SECRET, "hub-token")
    await one.look(later_s=1)
    assert await one.look(later_s=11) == "building EngineStarting"
    assert (one.accessible.status, one.accessible.reason, one.replicas) == ("Unknown", "TokenMissing", [1])
    one.kube.edit(suspend=True)
    await one.look()
    one.kube.edit(suspend=False)
    assert await one.look() == "failed TokenMissing"
    assert one.replicas == [0]


async def test_an_update_that_may_not_be_read_does_not_stop_what_serves(one, models):
    one.token("hf_member")
    await one.look()
    serving_revision = one.status.revisions.target
    one.kube.put(ENDPOINT, {**one.kube.all(ENDPOINT)[0], "status": {**one.status.to_dict(), "revisions": {"serving": serving_revision}}})
    one.server.tokens = {"hf_member": ACCOUNTS["hf_stranger"]}
    one.kube.edit(update={"strategy": "replace"}, engine={"args": ["--no-mmap"]})
    await one.look(later_s=60)
    assert one.status.diagnosis.reason == "GatedAccessDenied"
    assert (one.replicas, one.status.revisions.serving) == ([1], serving_revision)


async def test_a_wait_that_the_hub_names_is_kept_and_the_hub_is_left_alone(one):
    one.token("hf_member")
    one.server.faults = [Fault(kind="api", path="auth-check", status=429, retry_after_s=12)]
    assert await one.look() == "building HubRateLimited"
    assert (one.outcome.look_again_at, one.outcome.back_off, one.replicas) == (NOW + 12, False, [])
    asked, written = len(one.server.requests), len(one.kube.calls)
    assert await one.look(later_s=6) == "building HubRateLimited"
    assert one.outcome.look_again_at == pytest.approx(NOW + 12)
    assert len(one.server.requests) == asked
    assert [call for call in one.kube.calls[written:] if call.startswith("patch")] == []
    one.server.faults = []
    assert await one.look(later_s=6.5) == "building EngineStarting"


async def test_a_hub_that_is_away_at_a_restart_is_waited_for_without_a_pod(one):
    one.token("hf_member")
    await one.look()
    one.kube.edit(suspend=True)
    await one.look(later_s=120)
    one.server.faults = [Fault(status=503)]
    one.kube.edit(suspend=False)
    assert await one.look(later_s=120) == "building HubUnavailable"
    assert (one.outcome.back_off, one.replicas, one.accessible.status) == (True, [0], "Unknown")
    one.server.faults = []
    assert await one.look(later_s=10) == "building EngineStarting"
    assert one.replicas == [1]


async def test_a_person_who_asks_for_another_try_gets_an_answer_of_now(one):
    one.token("hf_stranger")
    await one.look()
    one.server.tokens = {"hf_stranger": ACCOUNTS["hf_member"]}
    (found,) = one.kube.all(ENDPOINT)
    one.kube.put(ENDPOINT, {**found, "metadata": {**found["metadata"], "annotations": {"inference.dedicated.dev/retry": "1"}}})
    assert await one.look() == "building EngineStarting"


async def test_no_token_is_in_anything_that_is_written(one):
    for text in ("hf_stranger", "hf_nobody", "hf_member"):
        one.token(text)
        await one.look(later_s=10)
        written = str([obj for kind in (ENDPOINT, DEPLOYMENT) for obj in one.kube.all(kind)]) + str(vars(one.outcome))
        assert text not in written and base64.b64encode(text.encode()).decode() not in written


async def test_a_mirror_that_lacks_everything_but_files_is_proven_by_a_file(one):
    one.server.mirror = True
    one.token("hf_member")
    assert await one.look() == "building EngineStarting"
    assert (one.accessible.status, one.status.model.gated, one.replicas) == ("True", None, [1])


async def test_a_mirror_that_tells_nothing_of_access_leaves_it_unknown_and_is_tried(one):
    one.server.mirror, one.server.faults = True, [Fault(kind="resolvers", status=405)]
    one.token("hf_member")
    assert await one.look() == "building EngineStarting"
    assert (one.accessible.status, one.replicas) == ("Unknown", [1]) and "does not tell" in one.accessible.message


WEIGHTS = replace(PLATFORM, weights=S3Location("weights"))


@pytest.mark.parametrize(
    ("platform", "then"), [(PLATFORM, "failed HubUnavailable"), (WEIGHTS, "building EngineStarting")], ids=["no cache", "a cache"]
)
async def test_while_the_hub_is_away_a_restart_of_what_was_proven_is_left_to_the_cache(url, server, platform, then):
    one = Endpoint(server, url)
    one.clients = replace(one.clients, platform=platform)
    one.kube.put(NAMESPACE, {"metadata": {"name": "team-a"}})
    one.token("hf_member")
    assert await one.look() == "building EngineStarting"
    manifest = one.store.all(ENDPOINT)[0]
    one.kube.remove(DEPLOYMENT, one.kube.all(DEPLOYMENT)[0]["metadata"]["name"])
    one.kube.put(ENDPOINT, {**manifest, "metadata": {**manifest["metadata"], "generation": 1}})
    server.faults = [Fault(status=503)]
    found = await one.look(later_s=2000)
    assert found == then or (platform is PLATFORM and "HubUnavailable" in found)
    assert bool(one.kube.all(DEPLOYMENT)) == (platform is WEIGHTS)
