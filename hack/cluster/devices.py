"""The GPUs of a bare node that runs, as its device plugin (hack/device-plugin) has them: count, change and break them."""

from __future__ import annotations

import json
import os
import signal

from hack.cluster import gpus
from hack.cluster.kubectl import kubectl
from hack.cluster.layout import Layout
from hack.cluster.processes import Process, wait_until
from hack.tools import ToolError

PATIENCE_S = 60.0
LOOK_S = 2.0


def gpu_count(layout: Layout) -> int:
    """How many GPUs the kubelet knows of, broken ones too; "allocatable" leaves those out."""
    found = json.loads(kubectl(layout.kubeconfig, "get", "node", layout.node_name, "-o=json"))["status"]["capacity"]
    return int(found.get(gpus.RESOURCE, 0))


def wait_for_gpus(layout: Layout, count: int) -> None:
    """
    Wait until the kubelet knows of so many.

    Raises:
        ToolError: It does not in time.
    """
    if not wait_until(lambda: gpu_count(layout) == count, PATIENCE_S, 0.2):
        raise ToolError(f"The node has {gpu_count(layout)} GPUs, not {count}; see {layout.logs / 'device-plugin.log'}.")


def set_gpu_count(layout: Layout, count: int) -> None:
    """
    Give a node that runs more GPUs or fewer, and wait until the kubelet knows of them. Its labels stay.

    Raises:
        ToolError: The node has no device plugin, or did not follow.
    """
    plugin_pid(layout)
    layout.gpu_count_file.write_text(f"{count}\n")
    wait_for_gpus(layout, count)


def toggle_gpu(layout: Layout) -> None:
    """Break the node's first GPU, or mend it; the scheduler sees it within seconds."""
    os.kill(plugin_pid(layout), signal.SIGUSR1)


def plugin_pid(layout: Layout) -> int:
    """
    The device plugin as the machine sees it.

    Raises:
        ToolError: There is none.
    """
    node = Process.read(layout.pid_file)
    found: dict[str, int] = {}
    if node is None or not wait_until(lambda: found.update(node.children()) or "device-plugin" in found, LOOK_S):
        raise ToolError(f"Cluster {layout.name} runs no device plugin: GPUS=2 make cluster starts one with GPUs.")
    return found["device-plugin"]
