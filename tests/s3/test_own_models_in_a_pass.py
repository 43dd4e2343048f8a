"""Passes over an endpoint whose model is a folder in S3: access is proven before anything is made, with the user's Secret and no other."""

from __future__ import annotations

import json

import pytest

from dedicated.adapters.hub import Hub
from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, NAMESPACE, SECRET
from dedicated.adapters.store import Store
from dedicated.adapters.view import Clients
from dedicated.adapters.world import EndpointWorld
from dedicated.api.conditions import find
from dedicated.api.endpoint import EngineKind
from dedicated.api.names import ANNOTATION_REFRESH
from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.api.s3 import S3Location
from dedicated.api.status import ConditionType, EndpointStatus
from dedicated.controller.reconcile import reconcile
from dedicated.diagnosis.evidence import Limits
from dedicated.render.platform import Platform
from tests.support.cluster import endpoint
from tests.support.fake_kube import FakeKube
from tests.support.gguf import a_gguf
from tests.support.own_models import SECRET_NAME, put_model, secret, source
from tests.support.s3 import BUCKET, Fault
from tests.support.status_rules import broken_rules

IMAGES = {kind: f"localhost/{kind}:test" for kind in (EngineKind.LLAMACPP, EngineKind.VLLM)}


class Endpoint:
    """One endpoint of a folder in S3 in team-a, and the operator's passes over it."""

    def __init__(self, s3, *, allowed=True, cache=False, model=None, engine="custom"):
        self.store = Store()
        self.kube = FakeKube(self.store)
        self.kube.put(NAMESPACE, {"metadata": {"name": "team-a", "uid": "0b8f7d0e-5c7a-4f6e-9d43-3a8a1d1f2c55"}})
        weights = S3Location(BUCKET, "", s3.url, path_style=True) if cache else None
        keys = (("AWS_ACCESS_KEY_ID", "ours"), ("AWS_SECRET_ACCESS_KEY", "oursours")) if cache else ()
        servers = (s3.url,) if allowed else ()
        platform = Platform("localhost/dedicated:test", IMAGES, source_endpoints=servers, weights=weights, weights_credentials=keys)
        self.clients = Clients(self.kube, Hub("http://127.0.0.1:9"), self.store, platform, b"k" * 32, Limits(600, 300), InventoryReader(self.store))
        changed = {"engine": {"kind": engine}} if engine != "custom" else {}
        manifest = endpoint("one", model=model or source(), **changed)
        manifest["metadata"] |= {"namespace": "team-a", "generation": 1, "annotations": {}}
        self.kube.put(ENDPOINT, manifest)

    def annotate(self, **annotations):
        (raw,) = self.kube.all(ENDPOINT)
        self.kube.put(ENDPOINT, {**raw, "metadata": {**raw["metadata"], "annotations": annotations}})

    async def look(self):
        """A pass; answers phase and reason, and checks the status."""
        await reconcile(EndpointWorld(self.clients, self.store.all(ENDPOINT)[0]))
        (raw,) = self.kube.all(ENDPOINT)
        self.status = EndpointStatus.model_validate(raw["status"])
        assert broken_rules(self.status, raw["metadata"]["generation"]) == []
        return f"{self.status.phase} {find(self.status.conditions, ConditionType.READY).reason}"

    @property
    def accessible(self):
        return find(self.status.conditions, ConditionType.ACCESSIBLE)


@pytest.fixture
def url(s3_servers):
    return s3_servers[0]


async def test_a_start_is_resolved_and_proven_once_and_the_passes_after_it_ask_nobody(s3, url):
    put_model(url)
    one = Endpoint(s3)
    one.kube.put(SECRET, secret(s3.url))
    assert await one.look() == "building EngineStarting"
    revision = one.status.model.revision
    assert one.accessible.message == f"Resolved to objects {revision}; access proven with Secret {SECRET_NAME}."
    assert one.status.model.architecture == "LlamaForCausalLM" and one.status.model.weight_bytes > 300_000
    asked = len(s3.requests)
    for _ in range(3):
        assert await one.look() == "building EngineStarting"
    assert len(s3.requests) == asked


async def test_only_the_container_that_fetches_is_given_the_users_keys_and_ours_are_not_there_at_all(s3, url):
    put_model(url)
    one = Endpoint(s3, cache=True)
    one.kube.put(SECRET, secret(s3.url))
    assert await one.look() == "building EngineStarting"
    (made,) = one.kube.all(DEPLOYMENT)
    pod = made["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    assert {ref["valueFrom"]["secretKeyRef"]["name"] for ref in fetch["env"]} == {SECRET_NAME}
    assert "AWS_" not in json.dumps(pod["containers"]) and SECRET_NAME not in json.dumps(pod["containers"])
    assert [found["metadata"]["name"] for found in one.kube.all(SECRET) if "weights" in found["metadata"]["name"]] == []


async def test_the_plan_is_made_of_the_files_in_the_bucket(s3, url):
    put_model(url, files={"tiny.gguf": a_gguf()})
    one = Endpoint(s3, engine="llamacpp")
    one.kube.put(SECRET, secret(s3.url))
    assert await one.look() == "building EngineStarting"
    assert one.status.model.entry == "tiny.gguf" and one.status.plan.memory is not None


async def test_without_its_secret_nothing_is_made_and_the_secret_starts_it(s3, url):
    put_model(url)
    one = Endpoint(s3)
    assert await one.look() == "failed ObjectStoreDenied"
    assert f"Secret {SECRET_NAME} does not exist" in one.status.diagnosis.message and one.accessible.status == "False"
    assert one.status.diagnosis.next_step == CATALOGUE[Reason.OBJECT_STORE_DENIED].next_step and not one.kube.all(DEPLOYMENT)
    one.kube.put(SECRET, secret(s3.url))
    assert await one.look() == "building EngineStarting"


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"label": "weights-cache"}, "is not labelled inference.dedicated.dev/use=s3-source, so it is not read"),
        ({"AWS_ACCESS_KEY_ID": "only"}, "has no key AWS_SECRET_ACCESS_KEY"),
    ],
    ids=["for another use", "half of it"],
)
async def test_a_secret_that_will_not_do_is_named(s3, url, made, says):
    put_model(url)
    one = Endpoint(s3)
    one.kube.put(SECRET, secret(s3.url, **made))
    assert await one.look() == "failed ObjectStoreDenied"
    assert says in one.status.diagnosis.message and not one.kube.all(DEPLOYMENT) and not s3.requests


async def test_a_server_that_the_installation_does_not_name_is_not_asked(s3, url):
    put_model(url)
    one = Endpoint(s3, allowed=False)
    one.kube.put(SECRET, secret(s3.url))
    assert await one.look() == "failed InvalidSpec"
    assert s3.url in one.status.diagnosis.message and "weights.sourceEndpoints" in one.status.diagnosis.message
    assert s3.requests == [] and not one.kube.all(DEPLOYMENT)


async def test_the_bucket_of_the_cache_is_no_source_whoever_asks(s3, url):
    put_model(url, bucket=BUCKET)
    one = Endpoint(s3, cache=True, model=source(bucket=BUCKET))
    one.kube.put(SECRET, secret(s3.url))
    assert await one.look() == "failed InvalidSpec"
    assert "the bucket that this installation caches weights in" in one.status.diagnosis.message
    assert s3.requests == [] and not one.kube.all(DEPLOYMENT)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault(path="models", status=403, code="InvalidAccessKeyId", times=99), "failed ObjectStoreDenied"),
        (Fault(path="models", status=503, times=99), "building ObjectStoreUnavailable"),
        (Fault(path="00002-of", status=403, code="AccessDenied", times=99), "failed ObjectStoreDenied"),
    ],
    ids=["keys refused", "unreachable", "may list and not read"],
)
async def test_access_is_proven_before_any_pod(s3, url, fault, told):
    put_model(url)
    one = Endpoint(s3)
    one.kube.put(SECRET, secret(s3.url))
    s3.faults = [fault]
    assert await one.look() == told
    assert not one.kube.all(DEPLOYMENT) and one.accessible.reason == told.partition(" ")[2]
    s3.faults = []
    one.annotate(**{"inference.dedicated.dev/retry": "1"})
    assert await one.look() == "building EngineStarting"


async def test_an_empty_folder_is_a_model_that_is_not_there(s3, url):
    put_model(url, files={})
    one = Endpoint(s3)
    one.kube.put(SECRET, secret(s3.url))
    assert await one.look() == "failed ModelNotFound"
    assert "s3://models/own holds no file" in one.status.diagnosis.message


async def test_a_model_that_was_replaced_is_told_at_the_next_start_and_taken_when_somebody_says_so(s3, url):
    store = put_model(url)
    one = Endpoint(s3)
    one.kube.put(SECRET, secret(s3.url))
    await one.look()
    before = one.status.model.revision
    (made,) = one.kube.all(DEPLOYMENT)
    one.kube.remove(DEPLOYMENT, made["metadata"]["name"])
    store.put("own/config.json", b"{}")
    assert await one.look() == "failed ModelChanged"
    assert "config.json" in one.status.diagnosis.message and ANNOTATION_REFRESH in one.status.diagnosis.next_step
    one.annotate(**{ANNOTATION_REFRESH: "1"})
    assert await one.look() == "building EngineStarting"
    assert one.status.model.revision != before
