"""The right hardware before any hardware: what is refused makes no pod, what is planned lands where it was planned, on real and played nodes."""

from __future__ import annotations

import pytest

from hack.cluster import kwok
from hack.cluster.gpus import Gpus
from hack.cluster.kwok import Fleet
from hack.cluster.layout import Layout
from tests.support.cluster import endpoint, needs_bare, sample, wait_until
from tests.support.pods import OURS, pods

pytestmark = needs_bare
H100 = "NVIDIA-H100-80GB-HBM3"
EIGHT_BILLION = {"huggingFace": {"repo": "dedicated-demo/eight-billion"}}


@pytest.fixture
def fleet(installation):
    """Gives the cluster nodes that are not there; none of them is left afterwards."""
    layout = Layout(installation.target.name)

    def become(nodes: int, product: str = H100, count: int = 8) -> None:
        kwok.add_nodes(layout, Fleet(nodes, Gpus(product, count), tainted=False))

    yield become
    become(0)


def sized(name, repo="dedicated-demo/eight-billion", *, engine=None, **spec):
    """An endpoint of an engine that is sized by its model; on a real node its image would have to exist."""
    kind = {"kind": "vllm", "image": "localhost/nobody/vllm:1", "maxModelLen": 8192, **(engine or {})}
    return endpoint(name, model={"huggingFace": {"repo": repo}}, engine=kind, hardware={}, **spec)


def never_made_a_pod(kubectl) -> bool:
    return not kubectl.all("deployment", OURS) and not pods(kubectl)


@pytest.mark.parametrize(
    ("name", "spec", "reason", "says"),
    [
        (
            "too-large",
            {"engine": {"maxModelLen": 131072}, "hardware": {"accelerators": ["l4"], "count": 1}},
            "DoesNotFit",
            "131072 tokens",
        ),
        ("no-such-revision", {"model": {"huggingFace": {"repo": "dedicated-demo/eight-billion", "revision": "v9"}}}, "RevisionNotFound", "v9"),
        ("gated", {"model": {"huggingFace": {"repo": "dedicated-demo/gated"}}}, "TokenMissing", "gated"),
        ("no-such-class", {"hardware": {"accelerators": ["h100"]}}, "NoAcceleratorAllowed", "h100-80gb"),
        ("too-dear", {"hardware": {"accelerators": ["l4"], "maxPricePerHour": 0.01}}, "PriceAboveLimit", "USD per hour"),
        ("too-long", {"engine": {"maxModelLen": 200000}}, "ContextTooLong", "131072"),
    ],
)
def test_what_cannot_be_is_refused_before_any_pod(kubectl, name, spec, reason, says):
    allowed = {"hardware": {"accelerators": ["l4"]}, **spec}
    manifest = sized(name, engine=spec.get("engine"))
    manifest["spec"] |= {key: value for key, value in allowed.items() if key != "engine"}
    kubectl.apply(manifest)
    status = kubectl.wait(name, f"failed {reason}")
    assert says in status.diagnosis.message and status.diagnosis.next_step
    assert never_made_a_pod(kubectl)


def test_a_token_that_is_refused_and_then_corrected(kubectl):
    manifest = sized("gated", "dedicated-demo/gated")
    manifest["spec"]["model"]["tokenSecretRef"] = {"name": "hub-token"}
    kubectl.apply(manifest)
    kubectl.wait("gated", "failed TokenMissing")
    kubectl.must("create", "secret", "generic", "hub-token", "--from-literal=HF_TOKEN=hf_nobody_knows_it")
    kubectl.must("label", "secret", "hub-token", "inference.dedicated.dev/use=hub-token")
    assert "hf_nobody" not in str(kubectl.wait("gated", "failed TokenInvalid"))
    assert never_made_a_pod(kubectl)
    kubectl.must("patch", "secret", "hub-token", '-p={"stringData":{"HF_TOKEN":"hf_demo_reader"}}')
    kubectl.wait("gated", "building")
    wait_until("a pod to be asked for", lambda: len(pods(kubectl)) == 1)


def test_a_real_engine_runs_on_the_class_that_was_planned(kubectl):
    manifest = sample("gemma")
    manifest["spec"]["hardware"] = {"accelerators": ["l4"], "cpu": "500m", "memory": "1Gi"}
    kubectl.apply(manifest)
    status = kubectl.wait("gemma", "up AllReady", 90)
    assert (status.plan.accelerator, status.plan.count) == ("l4", 1) and status.plan.memory.headroom_bytes > 0
    (pod,) = pods(kubectl)
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_a_class_without_a_node_is_waited_for_given_up_and_tried_at_once_when_one_comes(kubectl, fleet):
    manifest = sized("one")
    manifest["spec"]["hardware"] = {"accelerators": ["h100-80gb"]}
    kubectl.apply(manifest)
    assert "didn't match Pod's node affinity" in kubectl.wait("one", "building NoCapacity").conditions[0].message
    assert kubectl.wait("one", "failed NoCapacity").diagnosis.next_attempt_at
    wait_until("the hardware to be given back", lambda: not pods(kubectl))
    fleet(1)
    status = kubectl.wait("one", "up AllReady", 60)
    assert status.plan.accelerator == "h100-80gb" and status.pods[0].node.startswith("kwok-nvidia-h100")


def everybodys_pods(kubectl) -> str:
    return kubectl.must("get", "pods", "--all-namespaces", "-o=jsonpath={.items[*].spec.containers[*].resources}")


def test_a_class_that_is_full_makes_way_for_the_next_one(kubectl, stub, fleet):
    wait_until("pods of earlier tests to give their GPUs back", lambda: "nvidia.com/gpu" not in everybodys_pods(kubectl), 60)
    fleet(1)
    kubectl.apply(endpoint("taker", engine=stub(), hardware={"accelerators": ["l4"], "count": 2, "cpu": "10m", "memory": "64Mi"}))
    kubectl.wait("taker", "up AllReady")
    kubectl.apply(sized("one"))
    assert kubectl.wait("one", "building NoCapacity").plan.accelerator == "l4"
    status = kubectl.wait("one", "up AllReady", 60)
    assert status.plan.accelerator == "h100-80gb"
    assert [(one.accelerator, one.reason) for one in status.plan.rejected if one.reason == "NoCapacity"] == [("l4", "NoCapacity")]
    assert [pod["spec"]["nodeName"][:16] for pod in pods(kubectl) if pod["metadata"]["name"].startswith("one-")] == ["kwok-nvidia-h100"]


def test_each_class_says_what_the_cluster_has_of_it(kubectl, fleet):
    fleet(2)
    wait_until("the class to be told", lambda: kubectl.get("acceleratorclass", "h100-80gb").get("status", {}).get("nodes") == 2, 60)
    assert kubectl.get("acceleratorclass", "h100-80gb")["status"]["free"] == 16
    assert kubectl.get("acceleratorclass", "l4")["status"]["nodes"] == 1
