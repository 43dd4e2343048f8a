"""What the API server says of nodes, pods and node pools, as facts."""

from __future__ import annotations

import pytest

from dedicated.planner.catalogue import CLASSES
from dedicated.planner.discovery import discover
from dedicated.planner.nodes import of_node, of_node_pool, requests_by_node

L4 = {"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.memory": "23034"}


def node(name="one", *, ready="True", gpus="4", **spec):
    return {
        "metadata": {"name": name, "labels": L4},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": gpus},
            "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}],
        },
    }


def pod(on, gpus, phase="Running"):
    limits = {"cpu": "1", "nvidia.com/gpu": str(gpus)}
    return {"spec": {"nodeName": on, "containers": [{"resources": {"limits": limits}}, {}]}, "status": {"phase": phase}}


def test_what_is_free_is_what_unfinished_pods_do_not_ask_for():
    pods = [pod("one", 1), pod("one", 2, "Pending"), pod("one", 4, "Succeeded"), pod("two", 4), pod(None, 8)]
    asked = requests_by_node(pods)
    nodes = [of_node(node(name), asked.get(name, {})) for name in ("one", "two", "three")]
    state = discover(nodes, CLASSES)["l4"]
    assert (state.nodes, state.devices, state.free, state.most_free) == (3, 12, 5, 4)


@pytest.mark.parametrize("found", [node(ready="False"), node(ready="Unknown"), node(unschedulable=True), {}, {"status": {}}])
def test_a_node_that_takes_no_pods_is_not_usable(found):
    assert not of_node(found, {}).usable


def test_only_extended_resources_are_devices():
    assert of_node(node(), {}).allocatable == {"nvidia.com/gpu": 4}


def test_a_node_pool_says_what_could_be_added():
    requirements = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6.xlarge", "g6.12xlarge"]},
        {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["spot"]},
    ]
    pool = {"metadata": {"name": "gpu"}, "spec": {"template": {"metadata": {"labels": {"team": "a"}}, "spec": {"requirements": requirements}}}}
    found = of_node_pool(pool)
    assert found.labels == {"team": ("a",), "node.kubernetes.io/instance-type": ("g6.xlarge", "g6.12xlarge")}
    assert discover([], CLASSES, [found])["l4"].provisionable and not discover([], CLASSES, [found])["a10"].exists
    assert of_node_pool({}).labels == {}
