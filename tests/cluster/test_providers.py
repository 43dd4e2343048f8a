"""
What a bare cluster offers tests: a second cluster beside the first, GPUs by a device plugin, and fake nodes by kwok. Also kwok on the control
plane alone. The first cluster is the one that CLUSTER names, `dedicated` where nothing is said.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hack.cluster import bare, configs, devices, kwok, overview
from hack.cluster.controlplane import start_control_plane
from hack.cluster.go import go_program
from hack.cluster.gpus import Gpus
from hack.cluster.kwok import Fleet
from hack.cluster.layout import BASE, Layout
from hack.tools import REPO
from tests.support.cluster import Kubectl, Manifest, needs_bare, wait_until

pytestmark = needs_bare

TWO = "dedicated-two"
H100 = "NVIDIA-H100-80GB-HBM3"


@pytest.fixture(scope="module")
def first() -> Layout:
    return Layout(bare.up().name)


@pytest.fixture(scope="module")
def two(first):
    bare.down(TWO)
    bare.up(TWO, Gpus("NVIDIA-A100-SXM4-80GB", 2))
    yield Layout(TWO)
    bare.down(TWO)


@pytest.fixture
def kubectl(two):
    """kubectl on the second cluster; the pods of a test are gone when it ends."""
    found = Kubectl(two.kubeconfig)
    wait_until("the default account", lambda: found.run("get", "serviceaccount", "default").returncode == 0)
    yield found
    found.must("delete", "pods", "--all", "--now")


def pod(name: str, gpus: int, *, image: str = configs.PAUSE_IMAGE, **spec: object) -> Manifest:
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "env": [{"name": "STORY", "value": name}]}
    container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def phase(kubectl: Kubectl, name: str) -> str:
    return kubectl.get("pod", name)["status"].get("phase", "")


def environment(name: str) -> dict[str, str]:
    """The environment of the process of a pod of ours, as the machine sees it: its image has no shell to ask."""
    for process in Path("/proc").iterdir():
        try:
            words = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if f"STORY={name}" in words:
            return dict(word.split("=", 1) for word in words if "=" in word)
    return {}


def free_gpus(layout: Layout) -> str:
    """What the scheduler may give away."""
    return str(Kubectl(layout.kubeconfig).get("node", layout.node_name)["status"]["allocatable"]["nvidia.com/gpu"])


def test_a_second_cluster_runs_beside_the_first_and_both_answer(first, two):
    assert first.slot != two.slot and first.node_ip != two.node_ip
    for layout in (first, two):
        nodes = Kubectl(layout.kubeconfig).must("get", "nodes", "-o=name").split()
        assert f"node/{layout.node_name}" in nodes
    states = {row.name: (row.state, row.address) for row in overview.rows()}
    assert states[first.name] == ("serving", f"https://{first.node_ip}:6443")
    assert states[two.name] == ("serving", f"https://{two.node_ip}:6443")


def test_a_node_has_the_labels_of_its_gpus(two):
    labels = Kubectl(two.kubeconfig).get("node", two.node_name)["metadata"]["labels"]
    assert Gpus("NVIDIA-A100-SXM4-80GB", 2).labels.items() <= labels.items()


def test_a_pod_is_told_which_gpu_it_got(kubectl):
    kubectl.apply(pod("one", 1), pod("other", 1))
    for name in ("one", "other"):
        wait_until(f"{name} to run", lambda name=name: phase(kubectl, name) == "Running")
    told = {environment(name)["DEDICATED_FAKE_GPUS"] for name in ("one", "other")}
    assert told == {"fake-gpu-0", "fake-gpu-1"}
    assert environment("one")["NVIDIA_VISIBLE_DEVICES"] == environment("one")["DEDICATED_FAKE_GPUS"]


def test_a_gpu_that_breaks_is_given_to_nobody_until_it_is_mended(two, kubectl):
    devices.toggle_gpu(two)
    wait_until("the broken GPU to be seen", lambda: free_gpus(two) == "1")
    kubectl.apply(pod("both", 2))
    wait_until("the pod to find no room", lambda: "Insufficient nvidia.com/gpu" in str(kubectl.get("pod", "both")["status"]))
    devices.toggle_gpu(two)
    wait_until("the pod to run", lambda: phase(kubectl, "both") == "Running")


def test_a_node_that_runs_grows_and_shrinks(two, kubectl):
    devices.set_gpu_count(two, 8)
    kubectl.apply(pod("eight", 8))
    wait_until("the pod to run", lambda: phase(kubectl, "eight") == "Running")
    kubectl.must("delete", "pod", "eight", "--now")
    devices.set_gpu_count(two, 2)
    assert free_gpus(two) == "2"


def test_fake_nodes_are_ready_with_labels_and_a_pod_there_runs(two, kubectl):
    kwok.add_nodes(two, Fleet(3))
    nodes = [node for node in kubectl.all("nodes") if node["metadata"]["labels"].get("type") == "kwok"]
    assert len(nodes) == 3 and all(Gpus(H100, 8).labels.items() <= node["metadata"]["labels"].items() for node in nodes)
    there = {"nodeSelector": {"nvidia.com/gpu.product": H100}, "image": "nowhere/at-all:1"}
    kubectl.apply(pod("not-tolerant", 8, **there), pod("fake", 8, tolerations=[{"key": kwok.MARK, "operator": "Exists"}], **there))
    wait_until("the pod to be ready", lambda: "ContainersReady" in str(kubectl.get("pod", "fake")["status"]))
    assert phase(kubectl, "fake") == "Running" and phase(kubectl, "not-tolerant") == "Pending"
    assert kubectl.get("pod", "fake")["spec"]["nodeName"].startswith("kwok-")


def test_fake_nodes_become_fewer_and_a_second_kind_stands_beside(two):
    found = Kubectl(two.kubeconfig)
    kwok.add_nodes(two, Fleet(1))
    kwok.add_nodes(two, Fleet(2, Gpus("NVIDIA-L4", 1), tainted=False))
    names = {name.removeprefix("node/") for name in found.must("get", "nodes", "--selector=type=kwok", "-o=name").split()}
    assert names == {"kwok-nvidia-h100-80gb-hbm3-0", "kwok-nvidia-l4-0", "kwok-nvidia-l4-1"}
    kwok.add_nodes(two, Fleet(0))
    kwok.add_nodes(two, Fleet(0, Gpus("NVIDIA-L4", 1)))
    assert found.must("get", "nodes", "-o=name").split() == [f"node/{two.node_name}"]


def test_the_end_of_the_second_cluster_leaves_the_first_serving(first, two):
    before = first.pid_file.read_text()
    mounted = mounts(first)
    interface, cgroup = two.interface, two.cgroup
    bare.down(TWO)
    assert first.pid_file.read_text() == before and bare.node_ready(first)
    assert mounts(first) == mounted and "/var/lib/kubelet" in mounted
    assert TWO not in [row.name for row in overview.rows()] and not (BASE / TWO).exists()
    assert not Path(f"/sys/class/net/{interface}").exists()
    assert not [root for root in bare.cgroup_roots() if (root / cgroup).exists()]
    assert bare.strays(Layout(TWO)) == []


def mounts(layout: Layout) -> list[str]:
    """Where something is mounted in the node's namespace; what belongs to pods comes and goes, and is left out."""
    node = layout.pid_file.read_text().split()[0]
    points = [line.split()[1] for line in Path(f"/proc/{node}/mounts").read_text().splitlines()]
    return sorted(point for point in points if not point.startswith((str(layout.kubelet_root), str(layout.data / "containerd"), "/run/")))


def test_a_control_plane_alone_places_pods_on_fake_nodes(tmp_path):
    with start_control_plane(tmp_path / "plane", controllers=True, scheduler=True) as plane:
        kwok.start_kwok(plane, 5)
        kubectl = Kubectl(plane.kubeconfig)
        wait_until("the default account", lambda: kubectl.run("get", "serviceaccount", "default").returncode == 0)
        kubectl.apply(*(pod(f"p{number}", 8) for number in range(6)))
        wait_until("five pods to run and one to find no room", lambda: sorted(phases(kubectl)) == ["Pending", *["Running"] * 5])


def phases(kubectl: Kubectl) -> list[str]:
    return [found["status"].get("phase", "") for found in kubectl.all("pods")]


def test_the_device_plugin_registers_again_with_a_kubelet_that_starts_anew():
    """The bare node ends with its kubelet, so the plugin's own tests play the kubelet's part."""
    env = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
    done = subprocess.run([go_program(), "test", "./..."], cwd=REPO / "hack" / "device-plugin", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
