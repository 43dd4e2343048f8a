"""
Nodes that are not there, played by kwok: they are Ready, have GPUs and GFD's labels, and pods on them run at once without a container.

kwok plays only nodes with its annotation, so a real node beside them is left to its kubelet. Fake nodes are tainted where asked, so that no
pod that wants to run for real lands on one. kwok's program is `build/kwok`; its stages are kwok's own "fast" ones.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import gpus, tools
from hack.cluster.controlplane import ControlPlane
from hack.cluster.gpus import FLEET_PRODUCT, Gpus
from hack.cluster.kubectl import kubectl
from hack.cluster.layout import Layout
from hack.cluster.pki import Pki
from hack.cluster.processes import Process, start, wait_until
from hack.tools import ToolError, say

FLEET_GPUS = Gpus(FLEET_PRODUCT, 8)
"""What a fake node has where nothing is said."""
MARK = "kwok.x-k8s.io/node"
"""Annotation of nodes that kwok plays, and key of their taint; the value is "fake"."""
OURS = "type=kwok"
CIDR = "10.128.0.0/16"
"""Addresses of pods that are not there; apart from those of real pods and Services."""
LEASE_S = 40
"""kwok renews a node's lease after a quarter of this; the controller manager's patience is 20 s."""
READY_S = 120.0
START_S = 0.5


@dataclass(frozen=True)
class Fleet:
    """So many fake nodes, all alike."""

    nodes: int
    gpus: Gpus = FLEET_GPUS
    tainted: bool = True

    @property
    def prefix(self) -> str:
        """How the names of its nodes begin: fleets of different GPUs live side by side."""
        return f"kwok-{self.gpus.product.lower()}-" if self.gpus.count else "kwok-cpu-"

    def manifests(self) -> list[dict[str, Any]]:
        """The nodes as they are to be."""
        return [self._node(f"{self.prefix}{number}") for number in range(self.nodes)]

    def _node(self, name: str) -> dict[str, Any]:
        """A node as large as an instance with eight big GPUs: what limits pods is the GPUs."""
        room = {"cpu": "192", "memory": "2Ti", "ephemeral-storage": "4Ti", "pods": "250"}
        if self.gpus.count:
            room[gpus.RESOURCE] = str(self.gpus.count)
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "type": "kwok"}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "annotations": {MARK: "fake"}, "labels": {**labels, **self.gpus.labels}},
            "spec": {"taints": [{"key": MARK, "value": "fake", "effect": "NoSchedule"}] if self.tainted else []},
            "status": {"capacity": room, "allocatable": room},
        }


def from_environment(environment: Mapping[str, str] = os.environ) -> Fleet | None:
    """
    The fake nodes that KWOK_NODES asks for.

    Raises:
        ToolError: It is no number.
    """
    given = environment.get("KWOK_NODES")
    if not given:
        return None
    if not given.isdecimal():
        raise ToolError(f"KWOK_NODES={given} is no number of nodes; say for example KWOK_NODES=4.")
    return Fleet(int(given))


def start_kwok(
    plane: ControlPlane, nodes: int, *, gpu: str = FLEET_PRODUCT, gpus_per_node: int = 8, tainted: bool = False, timeout_s: float = READY_S
) -> None:
    """
    Give a control plane fake nodes; kwok ends with the plane. For pods to land on them it needs its scheduler and its controllers.

    Raises:
        ToolError: Nobody knows the GPU, or the nodes did not become ready in time.
    """
    fleet = Fleet(nodes, Gpus(gpus.product(gpu).name, gpus_per_node), tainted)
    command = kwok_command(plane.folder, plane.server, plane.pki)
    plane.processes.append(start("kwok", command, plane.folder / "logs" / "kwok.log", env=_env(plane.folder), die_with_us=True))
    become(plane.kubeconfig, fleet, timeout_s)


def add_nodes(layout: Layout, fleet: Fleet) -> None:
    """
    Give a bare cluster that runs these fake nodes: missing ones are made, surplus ones of the same GPU removed.

    Raises:
        ToolError: The cluster does not run, or the nodes did not become ready in time.
    """
    node = Process.read(layout.pid_file)
    if node is None or not layout.ready.exists():
        raise ToolError(f"Cluster {layout.name} does not run: make cluster starts it.")
    if Process.read(layout.kwok_pid_file) is None:
        _start_inside(layout, node)
    become(layout.kubeconfig, fleet)
    say(f"cluster {layout.name} has {fleet.nodes} fake nodes with {fleet.gpus}")


def _start_inside(layout: Layout, node: Process) -> None:
    """kwok in the node's namespaces: whatever ends the node ends kwok."""
    control = layout.data / "control"
    command = kwok_command(control, f"https://{layout.node_ip}:{layout.api_port}", Pki(control / "pki"))
    inside: list[str | Path] = ["nsenter", "--mount", "--pid", "--net", f"--target={node.pid}", *command]
    process = start("kwok", inside, layout.logs / "kwok.log", env=_env(control))
    if wait_until(lambda: process.poll() is not None, START_S) or (running := Process.of(process.pid)) is None:
        raise ToolError(f"kwok ended at once; see {layout.logs / 'kwok.log'}")
    running.write(layout.kwok_pid_file)


def kwok_command(folder: Path, server: str, pki: Pki) -> list[str | Path]:
    """The command that runs kwok against an API server; writes the files it needs into the folder."""
    program = tools.path("kwok")
    config = folder / "kwok.yaml"
    config.write_text(subprocess.run([program, "stages"], capture_output=True, text=True, check=True).stdout)
    kubeconfig = pki.kubeconfig(folder / "kwok.kubeconfig", server, pki.issue("kwok", "dedicated:kwok", "system:masters"))
    return [
        program,
        f"--config={config}",
        f"--kubeconfig={kubeconfig}",
        f"--manage-nodes-with-annotation-selector={MARK}=fake",
        f"--cidr={CIDR}",
        f"--node-lease-duration-seconds={LEASE_S}",
    ]


def _env(folder: Path) -> dict[str, str]:
    """A configuration in somebody's home is none of ours."""
    return {"KWOK_WORKDIR": str(folder / "kwok-home")}


def become(kubeconfig: Path, fleet: Fleet, timeout_s: float = READY_S) -> None:
    """
    Make the cluster's fake nodes of this fleet's GPU what the fleet says, and wait until they are ready.

    Raises:
        ToolError: They did not become ready in time.
    """
    missing, surplus = difference(fleet, _nodes(kubeconfig))
    if surplus:
        kubectl(kubeconfig, "delete", "nodes", *surplus)
    if missing:
        kubectl(kubeconfig, "create", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": missing}))
    wanted = {manifest["metadata"]["name"] for manifest in fleet.manifests()}
    if not wait_until(lambda: wanted <= usable(_nodes(kubeconfig)), timeout_s, 0.5):
        late = sorted(wanted - usable(_nodes(kubeconfig)))
        raise ToolError(f"{len(late)} of {fleet.nodes} fake nodes are not ready after {timeout_s:.0f} s, such as {late[0]}; see kwok.log.")


def difference(fleet: Fleet, there: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Nodes to make, and names of nodes to remove first: a node that is not as the fleet's is made anew."""
    wanted = {manifest["metadata"]["name"]: manifest for manifest in fleet.manifests()}
    found = {node["metadata"]["name"]: node for node in there if _in_fleet(fleet, node["metadata"]["name"])}
    kept = {name for name, node in found.items() if name in wanted and _alike(node, wanted[name])}
    return [manifest for name, manifest in wanted.items() if name not in kept], sorted(set(found) - kept)


def _in_fleet(fleet: Fleet, name: str) -> bool:
    return name.startswith(fleet.prefix) and name.removeprefix(fleet.prefix).isdecimal()


def _alike(node: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Same labels and same taint of ours; the cluster adds labels and taints of its own."""
    taints = [taint["key"] for taint in node["spec"].get("taints", []) if taint["key"] == MARK]
    return bool(
        wanted["metadata"]["labels"].items() <= node["metadata"]["labels"].items() and taints == [taint["key"] for taint in wanted["spec"]["taints"]]
    )


def usable(nodes: list[dict[str, Any]]) -> set[str]:
    """Names of nodes that are Ready and that the controller manager has freed of its not-ready taint."""

    def is_ready(node: dict[str, Any]) -> bool:
        conditions = {condition["type"]: condition["status"] for condition in node.get("status", {}).get("conditions", [])}
        held = [taint for taint in node["spec"].get("taints", []) if taint["key"].startswith("node.kubernetes.io/")]
        return conditions.get("Ready") == "True" and not held

    return {node["metadata"]["name"] for node in nodes if is_ready(node)}


def _nodes(kubeconfig: Path) -> list[dict[str, Any]]:
    return list(json.loads(kubectl(kubeconfig, "get", "nodes", f"--selector={OURS}", "-o=json"))["items"])
