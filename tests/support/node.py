"""The node of a bare cluster, which is this machine: its pods' processes can be seen and killed from here."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from tests.support.cluster import Kubectl, Manifest

SYSTEM = "dedicated-system"


def process_of(pod: Manifest, words: str) -> int | None:
    """The process of a pod whose command line has these words; None where there is none (yet)."""
    uid = re.compile(pod["metadata"]["uid"].replace("-", "[-_]"))
    for found in Path("/proc").glob("[0-9]*"):
        try:
            if uid.search((found / "cgroup").read_text()) and words in (found / "cmdline").read_text().replace("\0", " "):
                return int(found.name)
        except OSError:
            continue  # it has ended
    return None


def part(kubeconfig: Path, component: str) -> Manifest:
    """The one pod of a part of dedicated: operator or gateway."""
    found = Kubectl(kubeconfig, SYSTEM).all("pod", f"app.kubernetes.io/component={component}")
    (pod,) = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
    return pod


def kill_part(kubeconfig: Path, component: str) -> None:
    """kill -9 of its process; the kubelet starts the container again."""
    pid = process_of(part(kubeconfig, component), f"dedicated {component}")
    assert pid is not None, f"no process of the {component} runs"
    os.kill(pid, signal.SIGKILL)
