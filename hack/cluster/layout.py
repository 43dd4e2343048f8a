"""Where a bare cluster keeps what, and which addresses it has: from its name, and the slot that it has while it runs."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hack.tools import ToolError

FIRST_NAME = "dedicated"
"""The cluster that has slot 0 for good."""
DEFAULT_NAME = os.environ.get("CLUSTER") or FIRST_NAME
"""The cluster that is meant where nobody names one."""
BASE = Path("/var/lib/dedicated-cluster")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
NETWORK = "198.18"
"""Half of the range of RFC 2544 for benchmarks, which no real network uses."""
MOUNT_POINTS = ("/run", "/var/log", "/var/lib/cni", "/var/lib/kubelet")
"""Folders whose contents belong to the node alone."""
CLUSTER_DNS = "10.96.0.10"
POD_CIDR = "10.244.0.0/16"


def checked(name: str) -> str:
    """
    A cluster's name as it was given.

    Raises:
        ToolError: It cannot be part of a node's name.
    """
    if not NAME.fullmatch(name):
        raise ToolError(f"A cluster cannot be called '{name}': use up to 40 small letters, digits and '-', such as 'other'.")
    return name


@dataclass(frozen=True)
class Layout:
    """Folders, files and addresses of the cluster with this name."""

    name: str = DEFAULT_NAME

    @property
    def data(self) -> Path:
        """Everything on disk."""
        return BASE / self.name

    @property
    def logs(self) -> Path:
        """Logs of the node's daemons; those of the control plane are in control/logs."""
        return self.data / "logs"

    @property
    def pid_file(self) -> Path:
        """The node's process, as the machine sees it."""
        return self.data / "node.pid"

    @property
    def ready(self) -> Path:
        """Written when every daemon was started."""
        return self.data / "ready"

    @property
    def failure(self) -> Path:
        """Why the node ended."""
        return self.data / "failure"

    @property
    def slot_file(self) -> Path:
        """Which slot the cluster has."""
        return self.data / "slot"

    @property
    def gpus_file(self) -> Path:
        """Which GPUs the node was started with, as JSON."""
        return self.data / "gpus.json"

    @property
    def gpu_count_file(self) -> Path:
        """How many GPUs the node has now; the device plugin follows it."""
        return self.data / "gpu-count"

    @property
    def kwok_pid_file(self) -> Path:
        """The kwok that plays the fake nodes, as the machine sees it."""
        return self.data / "kwok.pid"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.data / "control" / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """Every request to the API server, as JSON lines."""
        return self.data / "control" / "audit.log"

    @property
    def containerd_config(self) -> Path:
        """containerd's configuration."""
        return self.data / "containerd.toml"

    @property
    def containerd_socket(self) -> Path:
        """containerd's socket, inside the node's mount namespace."""
        return Path("/run/containerd/containerd.sock")

    @property
    def kubelet_config(self) -> Path:
        """The kubelet's configuration."""
        return self.data / "kubelet.yaml"

    @property
    def kubelet_root(self) -> Path:
        """Where the kubelet keeps volumes."""
        return self.data / "kubelet"

    @property
    def proxy_config(self) -> Path:
        """kube-proxy's configuration."""
        return self.data / "kube-proxy.yaml"

    @property
    def corefile(self) -> Path:
        """CoreDNS's configuration."""
        return self.data / "Corefile"

    @property
    def cgroup(self) -> str:
        """The cgroup below which all pods are."""
        return f"dedicated-{self.name}"

    @property
    def node_name(self) -> str:
        """Name of the one node."""
        return f"{self.name}-node"

    @property
    def slot(self) -> int:
        """
        Tells clusters apart in addresses: 0 for the first name, else the one that was chosen when the cluster was started.

        Raises:
            ToolError: The cluster has none, since it does not run.
        """
        if self.slot_file.exists():
            return int(self.slot_file.read_text())
        if self.name == FIRST_NAME:
            return 0
        raise ToolError(f"Cluster {self.name} does not run, so it has no address: CLUSTER={self.name} make cluster starts it.")

    @property
    def interface(self) -> str:
        """The machine's end of the cable to the node; at most 15 characters."""
        return f"ddc{self.slot}"

    @property
    def host_ip(self) -> str:
        """The machine's address on that cable."""
        return f"{NETWORK}.{self.slot}.1"

    @property
    def node_ip(self) -> str:
        """The node's address on that cable."""
        return f"{NETWORK}.{self.slot}.2"

    @property
    def api_port(self) -> int:
        """The API server's port on the node's address."""
        return 6443
