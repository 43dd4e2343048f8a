"""The bare cluster itself: it heals when its processes were killed, starts again fast, and leaves nothing. Runs last: it ends the cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hack.cluster import bare, configs, node
from hack.cluster.layout import Layout
from tests.support.cluster import Kubectl, needs_bare, wait_until

pytestmark = needs_bare


FOLDERS = [*node.TMPFS, "/var/log/pods", "/var/log/containers", "/usr/libexec/kubernetes", "/var/lib/containerd", "/run/containerd"]
"""Where kubelets and container runtimes write when nobody keeps them from it."""


@pytest.fixture(scope="module")
def layout():
    bare.up()
    return Layout()


def machine() -> dict[str, list[str]]:
    """What a cluster could leave behind on this machine."""

    def lines(*command: str) -> list[str]:
        return sorted(subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines())

    cgroups = [str(path) for root in bare.cgroup_roots() for path in root.glob("*") if path.is_dir()]
    return {
        "mounts": [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()],
        "interfaces": [line.split(":")[1].strip() for line in lines("ip", "-o", "link")],
        "namespaces": lines("ip", "netns", "list"),
        "rules": [line for line in lines("iptables-save") if not line.startswith("#") and not line.startswith(":")],
        "cgroups": sorted(cgroups),
        "folders": [folder for folder in FOLDERS if Path(folder).exists()],
        "strays": [Path(f"/proc/{process.pid}/cmdline").read_text() for process in bare.strays(Layout())],
    }


def runs_a_pod(kubectl: Kubectl) -> bool:
    """Whether a pod runs and its Service is known to the cluster's name server."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"app": "p"}},
        "spec": {"containers": [{"name": "p", "image": configs.PAUSE_IMAGE, "imagePullPolicy": "Never"}]},
    }
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "p"}, "spec": {"selector": {"app": "p"}, "ports": [{"port": 80}]}}
    wait_until("the default account", lambda: kubectl.run("get", "serviceaccount", "default").returncode == 0)
    kubectl.apply(pod, service)
    wait_until("the pod to run", lambda: kubectl.get("pod", "p")["status"].get("phase") == "Running", 30)
    address = kubectl.get("service", "p")["spec"]["clusterIP"]
    wait_until("the name to resolve", lambda: address in looked_up("p.default.svc.cluster.local"), 15)
    kubectl.must("delete", "pod,service", "p", "--now")
    return True


def looked_up(name: str) -> str:
    """What the cluster's name server says, asked at its Service address from the node."""
    code = (
        "import socket,struct,sys\n"
        "q=struct.pack('>6H',1,256,1,0,0,0)+b''.join(bytes([len(p)])+p.encode() for p in sys.argv[1].split('.'))+b'\\0\\0\\1\\0\\1'\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(2); s.sendto(q,('10.96.0.10',53))\n"
        "print(socket.inet_ntoa(s.recv(512)[-4:]))"
    )
    node = Layout().pid_file.read_text().split()[0]
    done = subprocess.run(["nsenter", "--net", f"--target={node}", "python3", "-c", code, name], capture_output=True, text=True, check=False)
    return done.stdout


def inside(layout: Layout) -> list[int]:
    """Every process of the node, containers too."""
    node = os.readlink(f"/proc/{layout.pid_file.read_text().split()[0]}/ns/pid")
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "ns" / "pid") == node:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_a_cluster_of_which_everything_was_killed_heals_by_itself(layout):
    kill(inside(layout))
    began = time.monotonic()
    cluster = bare.up()
    print(f"healed in {time.monotonic() - began:.1f} s")
    assert runs_a_pod(Kubectl(cluster.kubeconfig))


@pytest.mark.parametrize("victim", ["kubelet", "containerd", "etcd", "kube-apiserver", "coredns"])
def test_a_cluster_of_which_one_daemon_was_killed_heals_by_itself(layout, victim):
    names = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode() for pid in inside(layout)}
    kill([pid for pid, name in names.items() if Path(name).name == victim])
    wait_until("the node to notice", lambda: not bare.healthy(layout), 20)
    cluster = bare.up()
    assert runs_a_pod(Kubectl(cluster.kubeconfig))


def test_a_cluster_that_runs_is_reused(layout):
    before = layout.pid_file.read_text()
    began = time.monotonic()
    bare.up()
    assert layout.pid_file.read_text() == before
    assert time.monotonic() - began < 10


def test_down_leaves_nothing_and_a_second_start_is_fast(layout):
    bare.down()
    clean = machine()
    assert clean["strays"] == [] and not layout.data.exists()
    assert not [mount for mount in clean["mounts"] if mount.startswith(str(layout.data.parent))]
    assert not [name for name in clean["interfaces"] if name.startswith((layout.interface, "cni", "veth"))]
    assert not [group for group in clean["cgroups"] if group.endswith(layout.cgroup)]
    assert not [rule for rule in clean["rules"] if "KUBE-" in rule or "CNI-" in rule]
    began = time.monotonic()
    cluster = bare.up()
    took_s = time.monotonic() - began
    print(f"second start: {took_s:.1f} s")
    assert took_s < 30 and runs_a_pod(Kubectl(cluster.kubeconfig))
    bare.down()
    assert machine() == clean


def test_down_without_a_cluster_is_no_error():
    bare.down()
    bare.down()
