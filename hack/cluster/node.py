"""
The process inside whose namespaces a whole node lives. Run by `bare`, never by hand.

Theory of operation: `bare` starts this with PID, mount, network, UTS and IPC namespaces of its own; it is process 1 there. So killing it
kills every daemon, shim and
container at once, and with the last of them go all mounts, interfaces and packet-filter rules: nothing of a cluster can be left behind but
cgroups and files, and
whatever the machine runs itself (a containerd, a Docker, a firewall) is never met. It starts the daemons, reaps orphans, and ends when one
of the daemons ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from hack.cluster import configs, tools
from hack.cluster.controlplane import ControlPlane, start_control_plane, start_controllers, start_scheduler
from hack.cluster.gpus import Gpus, gpus_of
from hack.cluster.layout import MOUNT_POINTS as TMPFS
from hack.cluster.layout import Layout
from hack.cluster.processes import start, wait_until
from hack.tools import ToolError


def main() -> None:
    """Bring the node up, then watch over it until something ends."""
    layout = Layout(sys.argv[1])
    try:
        daemons = bring_up(layout)
    except ToolError as failure:
        layout.failure.write_text(str(failure))
        sys.exit(1)
    layout.ready.write_text("ready\n")
    watch(daemons, layout)


def bring_up(layout: Layout) -> dict[str, subprocess.Popen[bytes]]:
    """Start everything, in order; each step waits for what it needs."""
    isolate()
    if not wait_until(has_network, 20.0):
        raise ToolError("The node's network interface did not come.")
    plane = start_control_plane(layout.data / "control", address=layout.node_ip, port=layout.api_port, kubelet_client=True)
    configs.write_all(layout, plane)
    found = dict(zip(("etcd", "kube-apiserver"), plane.processes, strict=True))
    found["kube-controller-manager"] = start_controllers(plane)
    found["kube-scheduler"] = start_scheduler(plane)
    for name, command in commands(layout, plane, gpus_of(layout) or Gpus(count=0)).items():
        found[name] = start(name, command, layout.logs / f"{name}.log", env={"PATH": configs.node_path()})
        if name == "containerd" and not wait_until(layout.containerd_socket.exists, 20.0):
            raise ToolError(f"containerd did not start; see {layout.logs / 'containerd.log'}")
    return found


def commands(layout: Layout, plane: ControlPlane, gpus: Gpus) -> dict[str, list[str | Path]]:
    """The daemons of the node, by name, in the order in which they are started."""
    found: dict[str, list[str | Path]] = {
        "containerd": [tools.path("containerd"), "--config", layout.containerd_config],
        "kubelet": [
            tools.path("kubelet"),
            f"--config={layout.kubelet_config}",
            f"--kubeconfig={configs.kubeconfig(plane, 'kubelet', f'system:node:{layout.node_name}', 'system:nodes')}",
            f"--root-dir={layout.kubelet_root}",
            f"--hostname-override={layout.node_name}",
            f"--node-ip={layout.node_ip}",
            f"--cert-dir={layout.data / 'kubelet-pki'}",
            f"--node-labels={','.join(f'{key}={value}' for key, value in gpus.labels.items())}",
        ],
        "kube-proxy": [tools.path("kube-proxy"), f"--config={layout.proxy_config}", f"--hostname-override={layout.node_name}"],
        "coredns": [tools.path("coredns"), "-conf", layout.corefile],
    }
    if gpus.count:
        found["device-plugin"] = [tools.path("device-plugin"), f"--count={gpus.count}", f"--count-file={layout.gpu_count_file}"]
    return found


def isolate() -> None:
    """Make the mount namespace the node's own: shared inside, so that containers see the kubelet's mounts, and cut off from outside."""
    run("mount", "--make-rprivate", "/")
    run("mount", "--make-rshared", "/")
    for folder in TMPFS:
        run("mount", "-t", "tmpfs", "tmpfs", folder)
    Path("/run/lock").mkdir()
    run("mount", "-t", "proc", "proc", "/proc")
    run("ip", "link", "set", "lo", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def has_network() -> bool:
    """Whether the cable that `bare` puts into our network namespace is there, with its address and its way out."""
    said = subprocess.run(["ip", "-json", "route", "show", "default"], capture_output=True, text=True, check=False)
    return said.returncode == 0 and bool(json.loads(said.stdout or "[]"))


def run(*command: str) -> None:
    """Run a short command that must work."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{' '.join(command)} failed: {done.stderr.strip()}")


def watch(daemons: dict[str, subprocess.Popen[bytes]], layout: Layout) -> None:
    """Reap orphans for ever; end when a daemon has ended, so that a half-dead node is never taken for a living one."""
    by_pid = {process.pid: name for name, process in daemons.items()}
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(1)
            continue
        if pid in by_pid:
            layout.failure.write_text(f"{by_pid[pid]} ended with status {status}; see {layout.logs}\n")
            sys.exit(1)


if __name__ == "__main__":
    main()
