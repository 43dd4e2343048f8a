"""Passes over one endpoint in a cluster with classes of accelerators: which one it is planned on, and what follows where that has no room."""

from __future__ import annotations

import json

import pytest

from dedicated.adapters.hub import Hub
from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kinds import ACCELERATOR_CLASS, DEPLOYMENT, ENDPOINT, NODE, POD
from dedicated.adapters.store import Store
from dedicated.adapters.view import Clients
from dedicated.adapters.world import EndpointWorld
from dedicated.api.conditions import find
from dedicated.api.endpoint import EngineKind
from dedicated.api.names import LABEL_QUEUE, LABEL_REVISION, endpoint_id
from dedicated.api.status import ConditionType, EndpointStatus
from dedicated.controller.feed import Feed
from dedicated.controller.reconcile import reconcile
from dedicated.core.clock import rfc3339
from dedicated.diagnosis.evidence import Limits
from dedicated.planner.catalogue import CLASSES
from dedicated.render.platform import Platform
from hack.cluster.gpus import labels, product
from hack.hub.server import Hub as Server
from hack.images.model import LLAMA_8B, LLAMA_8B_BYTES
from tests.support.builders import NOW
from tests.support.cluster import endpoint
from tests.support.fake_kube import FakeKube
from tests.support.hub import serving
from tests.support.status_rules import broken_rules

PLATFORM = Platform(fetch_image="localhost/dedicated:test", engine_images={EngineKind.VLLM: "localhost/vllm:test"})
L4, L40S, H100 = "l4", "l40s", "h100-80gb"
PRODUCTS = {L4: "NVIDIA-L4", L40S: "NVIDIA-L40S", H100: "NVIDIA-H100-80GB-HBM3"}
LIMITS = Limits(placement_s=1800, start_s=300, capacity_s=60, coming_s=600)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A hub with Llama 3.1 8B, as far as its config and index go."""
    folder = tmp_path_factory.mktemp("models") / "acme" / "llama-8b"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(LLAMA_8B))
    index = {"metadata": {"total_size": LLAMA_8B_BYTES}, "weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00001-of-00001.safetensors").write_bytes(b"x" * 64)
    with serving(Server(folder.parent.parent)) as address:
        yield address


class Cluster:
    """Classes, nodes, one endpoint, and the operator's passes over it."""

    def __init__(self, url):
        self.store = Store()
        self.kube = FakeKube(self.store)
        self.feed = Feed(self.store, lambda key: None, self.kube.now)
        self.feed.live = True
        self.clients = Clients(self.kube, Hub(url), self.store, PLATFORM, b"k" * 32, LIMITS, InventoryReader(self.store))

    def classes(self, *names):
        for name in names:
            obj = {"metadata": {"name": name, "uid": f"class-{name}", "creationTimestamp": rfc3339(NOW)}, "spec": CLASSES[name].to_dict()}
            self.feed.seen(ACCELERATOR_CLASS, "ADDED", self.kube.put_only(ACCELERATOR_CLASS, obj))

    def node(self, name, count=1):
        meta = {"name": f"node-{name}", "uid": f"node-{name}", "creationTimestamp": rfc3339(self.kube.time)}
        meta["labels"] = labels(product(PRODUCTS[name]), count)
        obj = {
            "metadata": meta,
            "spec": {},
            "status": {"allocatable": {"nvidia.com/gpu": str(count)}, "conditions": [{"type": "Ready", "status": "True"}]},
        }
        self.feed.seen(NODE, "ADDED", self.kube.put_only(NODE, obj))

    def endpoint(self, labels=None, **spec):
        base = {"model": {"huggingFace": {"repo": "acme/llama-8b"}}, "engine": {"kind": "vllm", "maxModelLen": 8192}, "hardware": {}}
        manifest = endpoint("one", **{**base, **spec})
        manifest["metadata"] |= {"namespace": "team-a", "generation": 1, "annotations": {}, "labels": labels or {}}
        self.kube.put(ENDPOINT, manifest)

    async def look(self, *, later_s=0.0):
        """A pass; answers phase and reason, and checks the status."""
        self.kube.time += later_s
        await reconcile(EndpointWorld(self.clients, self.store.all(ENDPOINT)[0]))
        (raw,) = self.kube.all(ENDPOINT)
        self.status = EndpointStatus.model_validate(raw["status"])
        assert broken_rules(self.status, raw["metadata"]["generation"]) == []
        return f"{self.status.phase} {find(self.status.conditions, ConditionType.READY).reason}"

    @property
    def deployments(self):
        return self.kube.all(DEPLOYMENT)

    @property
    def terms(self):
        (deployment,) = self.deployments
        affinity = deployment["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        return affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]

    def pending(self, reason="Unschedulable"):
        """The pod of the one Deployment finds no node."""
        (deployment,) = self.deployments
        revision = deployment["metadata"]["labels"][LABEL_REVISION]
        (raw,) = self.kube.all(ENDPOINT)
        owner = {"uid": raw["metadata"]["uid"], "kind": "InferenceEndpoint", "name": "one", "apiVersion": "x"}
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        }
        meta = {"name": f"pod-{revision}", "namespace": "team-a", "creationTimestamp": rfc3339(self.kube.time), "ownerReferences": [owner]}
        meta["labels"] = {LABEL_REVISION: revision, "inference.dedicated.dev/endpoint-id": endpoint_id(raw["metadata"]["uid"])}
        self.kube.put(POD, {"metadata": meta, "spec": {}, "status": {"phase": "Pending", "conditions": [condition]}})
        return f"pod-{revision}"


@pytest.fixture
async def cluster(url):
    found = Cluster(url)
    yield found
    await found.clients.hub.close()


async def test_the_cheapest_class_that_fits_is_planned_and_the_pods_may_run_on_its_nodes_alone(cluster):
    cluster.classes(L4, L40S, H100)
    for name in (L4, L40S, H100):
        cluster.node(name)
    cluster.endpoint()
    assert await cluster.look() == "building EngineStarting"
    plan = cluster.status.plan
    assert (plan.accelerator, plan.count, plan.tensor_parallel, plan.max_model_len) == (L4, 1, 1, 8192)
    assert plan.alternatives == [L40S, H100] and plan.memory.headroom_bytes > 0 and plan.price_per_hour > 0
    products = [one for term in cluster.terms for one in term["matchExpressions"] if one["key"] == "nvidia.com/gpu.product"]
    assert {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L4"]} in products


async def test_a_class_without_room_makes_way_for_the_next_after_its_pending_pod_is_gone(cluster):
    cluster.classes(L40S, H100)
    cluster.node(L40S), cluster.node(H100)
    cluster.endpoint()
    await cluster.look()
    pod = cluster.pending()
    assert await cluster.look(later_s=59) == "building NoCapacity"
    assert cluster.status.plan.accelerator == L40S
    assert await cluster.look(later_s=1) == "building NoCapacity"
    assert cluster.status.plan.accelerator == H100 and cluster.deployments == []
    assert [(one.accelerator, one.reason.value) for one in cluster.status.plan.rejected] == [(L40S, "NoCapacity")]
    await cluster.look()
    assert cluster.deployments == [], "the pending pod still exists"
    cluster.kube.remove(POD, pod)
    await cluster.look()
    assert "NVIDIA-H100-80GB-HBM3" in str(cluster.terms)
    cluster.pending()
    assert await cluster.look(later_s=1799) == "building NoCapacity"
    assert await cluster.look(later_s=1) == "failed NoCapacity"


async def test_a_node_that_comes_begins_with_the_first_class_again(cluster):
    await test_a_class_without_room_makes_way_for_the_next_after_its_pending_pod_is_gone(cluster)
    (pod,) = [pod["metadata"]["name"] for pod in cluster.kube.all(POD)]
    cluster.kube.remove(POD, pod)
    cluster.kube.time += 5
    cluster.node(L40S + "", 1)
    cluster.feed.seen(NODE, "DELETED", {"metadata": {"uid": f"node-{L40S}"}})
    cluster.node(L40S, 2)
    assert await cluster.look() == "building EngineStarting"
    assert cluster.status.plan.accelerator == L40S and cluster.status.plan.rejected == []


async def test_a_node_that_is_coming_is_waited_for_longer(cluster):
    cluster.classes(L40S, H100)
    cluster.node(L40S), cluster.node(H100)
    cluster.endpoint()
    await cluster.look()
    cluster.pending()
    meta = {"creationTimestamp": rfc3339(NOW)}
    cluster.kube.events = [{"metadata": meta, "reason": "TriggeredScaleUp", "message": "pod triggered scale-up: [{pool 0->1 (max: 3)}]"}]
    assert await cluster.look(later_s=300) == "building NodeComing"
    assert cluster.status.plan.accelerator == L40S
    await cluster.look(later_s=300)
    assert cluster.status.plan.accelerator == H100


async def test_a_model_that_fits_no_class_makes_nothing_and_starts_by_itself_when_there_is_one(cluster):
    cluster.classes(L4)
    cluster.node(L4)
    cluster.endpoint(engine={"kind": "vllm", "maxModelLen": 131072})
    assert await cluster.look() == "failed DoesNotFit"
    assert cluster.deployments == [] and cluster.status.plan.rejected[0].accelerator == L4
    assert await cluster.look(later_s=3600) == "failed DoesNotFit"
    cluster.kube.time += 5
    cluster.classes(H100)
    cluster.node(H100)
    assert await cluster.look() == "building EngineStarting"
    assert cluster.status.plan.accelerator == H100 and len(cluster.deployments) == 1


async def test_a_class_that_nobody_knows_is_named_with_those_that_are_known(cluster):
    cluster.classes(L4, H100)
    cluster.endpoint(hardware={"accelerators": ["h100"]})
    assert await cluster.look() == "failed NoAcceleratorAllowed"
    assert "names h100, but the cluster's AcceleratorClasses are h100-80gb, l4" in cluster.status.diagnosis.message


async def test_a_class_whose_nodes_do_not_exist_is_waited_for(cluster):
    cluster.classes(L4, H100)
    cluster.node(L4)
    cluster.endpoint(hardware={"accelerators": [H100]})
    assert await cluster.look() == "building EngineStarting"
    assert cluster.status.plan.accelerator == H100


async def test_a_class_that_never_was_there_makes_way_as_soon_as_another_has_room(cluster):
    cluster.classes(L4, H100)
    cluster.endpoint()
    await cluster.look()
    assert cluster.status.plan.accelerator == L4
    cluster.pending()
    assert await cluster.look(later_s=5) == "building NoCapacity"
    cluster.kube.time += 1
    cluster.node(H100)
    await cluster.look()
    assert cluster.status.plan.accelerator == H100 and cluster.status.plan.rejected == []


async def test_without_classes_any_device_will_do(cluster):
    cluster.endpoint(hardware={"count": 2})
    await cluster.look()
    assert (cluster.status.plan.accelerator, cluster.status.plan.count) == ("nvidia.com/gpu", 2)
    assert "affinity" not in cluster.deployments[0]["spec"]["template"]["spec"]


async def test_a_plan_is_kept_whatever_nodes_come(cluster):
    cluster.classes(L40S, H100)
    cluster.node(H100)
    cluster.endpoint()
    await cluster.look()
    assert cluster.status.plan.accelerator == H100
    cluster.node(L40S)
    asked = len(cluster.kube.calls)
    await cluster.look(later_s=600)
    assert cluster.status.plan.accelerator == H100 and len(cluster.kube.calls) == asked


async def test_a_queue_is_passed_on_and_a_pod_that_waits_in_it_has_no_deadline(cluster):
    cluster.classes(L40S)
    cluster.node(L40S)
    cluster.endpoint(labels={LABEL_QUEUE: "team-a-queue"})
    await cluster.look()
    (deployment,) = cluster.deployments
    assert deployment["metadata"]["labels"][LABEL_QUEUE] == deployment["spec"]["template"]["metadata"]["labels"][LABEL_QUEUE] == "team-a-queue"
    assert LABEL_QUEUE not in deployment["spec"]["selector"]["matchLabels"]
    cluster.pending("SchedulingGated")
    assert await cluster.look(later_s=7200) == "building Queued"


VLLM_LOG = """(EngineCore pid=77) INFO Model loading took 14.99 GiB memory and 3.1 seconds
(EngineCore pid=77) INFO Available KV cache memory: 3.52 GiB
(EngineCore pid=77) INFO GPU KV cache size: 28,800 tokens
(EngineCore pid=77) INFO Maximum concurrency for 8,192 tokens per request: 3.52x
"""


async def test_what_the_engine_says_of_its_memory_is_read_once_when_it_answers(cluster):
    cluster.classes(L4)
    cluster.node(L4)
    cluster.endpoint()
    await cluster.look()
    name = cluster.pending()
    (pod,) = [pod for pod in cluster.kube.all(POD) if pod["metadata"]["name"] == name]
    conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
    cluster.kube.put(POD, {**pod, "spec": {"nodeName": "node-l4"}, "status": {"phase": "Running", "conditions": conditions}})
    cluster.kube.log = VLLM_LOG
    assert await cluster.look() == "up AllReady"
    measured = cluster.status.plan.measured
    assert (measured.weight_bytes, measured.kv_cache_tokens, measured.concurrency) == (int(14.99 * 1024**3), 28800, 3.52)
    assert find(cluster.status.conditions, ConditionType.PLANNED).status == "True"
    for _ in range(3):
        await cluster.look(later_s=60)
    assert cluster.kube.calls.count("get Log") == 1


async def test_a_class_that_the_cluster_has_not_is_not_tried_after_one_without_room(cluster):
    cluster.classes(L40S, H100)
    cluster.node(L40S)
    cluster.endpoint()
    await cluster.look()
    cluster.pending()
    assert await cluster.look(later_s=600) == "building NoCapacity"
    assert cluster.status.plan.accelerator == L40S and len(cluster.deployments) == 1
    assert await cluster.look(later_s=1200) == "failed NoCapacity"
