"""Which cluster is meant: the bare one of this machine, one that kind made, or the context of a kubeconfig that KUBE_CONTEXT names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import bare, foreign, kind
from hack.cluster.kind import Kind
from hack.cluster.layout import DEFAULT_NAME, Layout
from hack.cluster.processes import Process
from hack.tools import ToolError, say

PROVIDERS = ("bare", "kind")
DPKG = Path("/usr/bin/dpkg")
BARE_IGNORES_POLICIES = "the bridge plugin of a bare cluster's network accepts NetworkPolicies and does not enforce them"


@dataclass(frozen=True)
class Target:
    """A cluster to work with. `ignores_policies` is the reason why its network enforces no NetworkPolicies; empty where it does or nobody knows."""

    kubeconfig: Path
    name: str
    foreign: bool
    audit_log: Path | None = None
    provider: str = "bare"
    ignores_policies: str = ""

    def load(self, archives: Iterable[Path | None]) -> None:
        """Import image archives; a foreign cluster pulls what IMAGE_REPOSITORY holds."""
        given = [archive for archive in archives if archive]
        if given and not self.foreign:
            load(self.name, given, self.provider)


@dataclass(frozen=True)
class Choice:
    """A provider, and why it was chosen."""

    provider: str
    why: str


def choose() -> Choice:
    """
    Which provider makes clusters here: what CLUSTER_PROVIDER says, bare where that is possible, else kind where a container engine answers.

    Raises:
        ToolError: CLUSTER_PROVIDER names none.
    """
    if wanted := os.environ.get("CLUSTER_PROVIDER"):
        if wanted not in PROVIDERS:
            raise ToolError(f"CLUSTER_PROVIDER={wanted} is no provider; known are {', '.join(PROVIDERS)}.")
        return Choice(wanted, f"CLUSTER_PROVIDER={wanted} says so")
    missing = _bare_misses()
    if missing is None:
        return Choice("bare", "this is root on Debian or Ubuntu")
    engine = kind.engine()
    if engine is None:
        return Choice("bare", "no container engine answers, so nothing else is possible")
    return Choice("kind", f"{missing} and {engine} answers")


def up(name: str = DEFAULT_NAME) -> Target:
    """The cluster, started if it is ours and does not run."""
    if context := os.environ.get("KUBE_CONTEXT"):
        return Target(foreign.use(context), context, True, provider="foreign")
    choice = choose()
    say(f"cluster provider {choice.provider}: {choice.why}")
    if choice.provider == "kind":
        return Target(Kind(name).up(), name, False, provider="kind", ignores_policies=kind.IGNORES_POLICIES)
    cluster = bare.up(name)
    return Target(cluster.kubeconfig, cluster.name, False, cluster.audit_log, "bare", BARE_IGNORES_POLICIES)


def down(name: str = DEFAULT_NAME) -> None:
    """End the cluster of the provider that is chosen here; somebody's cluster is never ended."""
    if choose().provider == "kind":
        Kind(name).down()
    else:
        bare.down(name)


def names() -> list[str]:
    """Names of the clusters that run, of the provider that is chosen here."""
    if choose().provider == "kind":
        return Kind().names()
    folders = Layout().data.parent.glob("*")
    return sorted(folder.name for folder in folders if Process.read(Layout(folder.name).pid_file) is not None)


def load(name: str, archives: Iterable[Path], provider: str | None = None) -> None:
    """Import image archives into the cluster with this name."""
    if (provider or choose().provider) == "kind":
        Kind(name).load(archives)
    else:
        bare.load(name, archives)


def kubeconfig(name: str = DEFAULT_NAME) -> Path:
    """
    The kubeconfig of the cluster that is meant. Asks before it hands out that of a cluster elsewhere.

    Raises:
        ToolError: There is none.
    """
    if context := os.environ.get("KUBE_CONTEXT"):
        return foreign.use(context)
    if choose().provider == "kind":
        file, runs = Kind(name).kubeconfig, Kind(name).kubeconfig.exists()
    else:
        layout = Layout(name)
        file, runs = layout.kubeconfig, Process.read(layout.pid_file) is not None and layout.ready.exists()
    if not runs:
        raise ToolError("No cluster runs here: make cluster starts one.")
    return file


def _bare_misses() -> str | None:
    """What a bare cluster misses here; None where it is possible."""
    if sys.platform != "linux":
        return f"this is {sys.platform}"
    if not DPKG.exists():
        return "this is neither Debian nor Ubuntu"
    return None if os.geteuid() == 0 else "this is not root"
