"""
Provider *bare*: one node on this machine, from packages, as root, without Docker. Start, reuse, heal, end.

Healing is ending and starting anew: a cluster of which any daemon has died is ended whole, and a fresh one is started. What was in it is
gone; images are loaded again.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import configs, devices, gpus, kwok, pause, slots, tools
from hack.cluster.gpus import Gpus
from hack.cluster.kubectl import kubectl as run_kubectl
from hack.cluster.layout import BASE, DEFAULT_NAME, Layout, checked
from hack.cluster.processes import Process, wait_until
from hack.tools import REPO, ToolError, apt_install, cache_dir, locked, say

START_S = 90.0
PATIENCE_S = 15.0
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs."""

    name: str
    kubeconfig: Path
    audit_log: Path

    def load(self, archives: Iterable[Path]) -> None:
        """Import image archives (OCI or docker), each once."""
        load(self.name, archives)


def up(name: str = DEFAULT_NAME, wanted: Gpus | None = None) -> Cluster:
    """
    Start the cluster, or reuse it where it runs. With KWOK_NODES it has fake nodes too.

    Args:
        wanted: GPUs of its node; those that GPUS and GPU_PRODUCT ask for where nothing is said. A cluster that runs keeps its own.
    Raises:
        ToolError: This machine cannot run it, or it did not come up; the sentence says why.
    """
    _check_machine()
    layout = Layout(checked(name))
    has, fleet = wanted or gpus.from_environment(), kwok.from_environment()
    prepare()
    with locked(cache_dir("locks") / f"{name}.lock"):
        if healthy(layout):
            say(f"cluster {name} already runs, with {gpus.gpus_of(layout) or 'GPUs of an older kind'}")
        else:
            if layout.data.exists():
                say(f"cluster {name} was left half dead: ending it and starting anew")
            _end(layout)
            try:
                _start(layout, has)
            except BaseException:
                _kill(layout)
                raise
    if fleet:
        kwok.add_nodes(layout, fleet)
    return Cluster(name, layout.kubeconfig, layout.audit_log)


def down(name: str = DEFAULT_NAME) -> None:
    """End the cluster and leave nothing of it: no process, mount, interface, rule, cgroup or file. Other clusters serve on."""
    checked(name)
    with locked(cache_dir("locks") / f"{name}.lock"):
        _end(Layout(name))


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise ToolError("A bare cluster needs root (namespaces, mounts, cgroups); run as root, or use a cluster of yours with KUBE_CONTEXT.")
    if sys.platform != "linux" or not Path("/usr/bin/dpkg").exists():
        raise ToolError("A bare cluster is made from Debian's packages; elsewhere use a cluster of yours with KUBE_CONTEXT.")


def prepare() -> None:
    """Install and build everything that is missing."""
    apt_install("iptables", "iproute2", "conntrack", "util-linux", "openssl", "libseccomp2", "mount", "kmod")
    for name in ("kube-apiserver", "etcd", "coredns", "containerd", "runc", "cni", "pause", "device-plugin"):
        tools.path(name)


def healthy(layout: Layout) -> bool:
    """Whether every daemon runs and the node is ready."""

    def lives() -> bool:
        return Process.read(layout.pid_file) is not None and layout.ready.exists() and not layout.failure.exists()

    # A busy machine may answer late: only a cluster that lives and says nothing good for a while is taken for half dead.
    wait_until(lambda: not lives() or node_ready(layout), PATIENCE_S, 0.5)
    return lives() and node_ready(layout)


def _start(layout: Layout, has: Gpus) -> None:
    started = time.monotonic()
    say(f"starting cluster {layout.name}")
    slots.claim(layout)
    slots.make_mount_points(BASE)
    layout.logs.mkdir()
    gpus.remember(layout, has)
    make_cgroups(layout)
    with (layout.logs / "node.log").open("wb") as log:
        flags = ("--pid", "--mount", "--net", "--uts", "--ipc", "--fork", "--kill-child=SIGKILL")
        outer = subprocess.Popen(
            ["unshare", *flags, sys.executable, "-m", "hack.cluster.node", layout.name],
            cwd=REPO,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    inner = _inner(outer)
    inner.write(layout.pid_file)
    _connect(layout, inner)
    if not wait_until(lambda: layout.ready.exists() or outer.poll() is not None, START_S, 0.1) or not layout.ready.exists():
        raise ToolError(_why(layout))
    kubectl(layout, "apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": configs.cluster_objects(layout)}))
    load(layout.name, [pause.archive(configs.PAUSE_IMAGE)])
    if not wait_until(lambda: node_ready(layout), START_S, 0.2):
        raise ToolError(f"The node did not become ready within {START_S:.0f} s; see {layout.logs}.")
    devices.wait_for_gpus(layout, has.count)
    say(f"cluster {layout.name} is ready after {time.monotonic() - started:.1f} s, with {has}, at {layout.node_ip}")


def _inner(outer: subprocess.Popen[bytes]) -> Process:
    """The node's process as the machine sees it: the one child of `unshare`, and in other namespaces than ours."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    if not wait_until(lambda: outer.poll() is not None or bool(children.read_text().split()), 10.0, 0.01) or outer.poll() is not None:
        raise ToolError("unshare could not make the node's namespaces; is this a container without the right to?")
    found = Process.of(int(children.read_text().split()[0]))
    if found is None:
        raise ToolError("The node's process ended at once.")
    return found


def _connect(layout: Layout, inner: Process) -> None:
    """A cable between the machine and the node. It goes when the node's network namespace goes."""
    far = "ddcpeer"
    ip = ("ip", "link")
    _run(*ip, "add", layout.interface, "type", "veth", "peer", "name", far, "netns", str(inner.pid))
    _run("ip", "addr", "add", f"{layout.host_ip}/24", "dev", layout.interface)
    _run(*ip, "set", layout.interface, "up")
    inside = ("nsenter", "--net", f"--target={inner.pid}", "ip")
    _run(*inside, "link", "set", far, "name", "eth0")
    _run(*inside, "link", "set", "eth0", "up")
    _run(*inside, "addr", "add", f"{layout.node_ip}/24", "dev", "eth0")
    _run(*inside, "route", "add", "default", "via", layout.host_ip, "dev", "eth0")


def _why(layout: Layout) -> str:
    if layout.failure.exists():
        return layout.failure.read_text()
    tail = (layout.logs / "node.log").read_text(errors="replace").splitlines()[-10:]
    return f"The node did not come up; its log {layout.logs / 'node.log'} ends:\n" + "\n".join(tail)


def _end(layout: Layout) -> None:
    """Everything that may be left, whatever was killed before: the node's process, stray ones, the cable, cgroups, mounts, files."""
    _kill(layout)
    with contextlib.suppress(ToolError):
        subprocess.run(["ip", "link", "delete", layout.interface], capture_output=True, check=False)
    remove_cgroups(layout)
    for mount in reversed(mounts_below(layout.data, Path("/proc/self/mounts").read_text())):
        subprocess.run(["umount", "--lazy", mount], capture_output=True, check=False)
    shutil.rmtree(layout.data, ignore_errors=True)
    slots.remove_mount_points(BASE)
    if layout.data.exists():
        raise ToolError(f"{layout.data} cannot be removed; is something mounted or running there?")


def _kill(layout: Layout) -> None:
    """End the node's process, and whatever else belongs to the cluster; its files stay, for whoever asks why."""
    node = Process.read(layout.pid_file)
    if node:
        node.end()
    for stray in strays(layout):
        stray.end()


def strays(layout: Layout) -> list[Process]:
    """Processes that belong to this cluster: in its cgroup, or the process that made its namespaces."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            groups = (entry / "cgroup").read_text()
        except OSError:
            continue
        ours = words[-3:-1] == ["hack.cluster.node", layout.name]
        if (ours or f"/{layout.cgroup}/" in groups) and (process := Process.of(int(entry.name))):
            found.append(process)
    return found


def mounts_below(folder: Path, table: str) -> list[str]:
    """Mount points below a folder, in the order of the mount table."""
    points = [line.split()[1].encode().decode("unicode_escape") for line in table.splitlines()]
    return [point for point in points if point == str(folder) or point.startswith(f"{folder}/")]


def cgroup_roots() -> list[Path]:
    """The hierarchies: one with cgroup v2, one for each controller with v1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink() and (path / "cgroup.procs").exists()]


def make_cgroups(layout: Layout) -> None:
    """The kubelet wants its root cgroup to exist; cpuset cgroups of v1 begin empty and must be told what they may use."""
    for root in cgroup_roots():
        group = root / layout.cgroup
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (root / file).exists() and (group / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((root / file).read_text())
        if (root / "cgroup.controllers").exists():
            with contextlib.suppress(OSError):
                (root / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in (root / "cgroup.controllers").read_text().split()))


def remove_cgroups(layout: Layout) -> None:
    """Remove the cluster's cgroups, the innermost first; the kernel may take a moment after the last process."""
    for root in cgroup_roots():
        group = root / layout.cgroup
        if group.exists() and not wait_until(lambda group=group: _remove_tree(group), 5.0):  # type: ignore[misc]
            raise ToolError(f"cgroup {group} cannot be removed: a process is still in it.")


def _remove_tree(group: Path) -> bool:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not group.exists()


def load(name: str, archives: Iterable[Path]) -> None:
    """Import image archives into the node's containerd."""
    layout = Layout(name)
    node = Process.read(layout.pid_file)
    if node is None:
        raise ToolError(f"Cluster {name} does not run: make cluster starts it.")
    ctr = [
        "nsenter",
        "--mount",
        "--pid",
        f"--target={node.pid}",
        str(tools.path("ctr")),
        "--address",
        str(layout.containerd_socket),
        "--namespace",
        "k8s.io",
    ]
    for archive in archives:
        done = subprocess.run(
            [*ctr, "images", "import", "--snapshotter", configs.snapshotter(), str(archive)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ToolError(f"{archive} cannot be loaded: {done.stderr.strip()[-400:]}")


def kubectl(layout: Layout, *args: str, given: str | None = None) -> str:
    """Run kubectl as administrator; answers what it printed."""
    return run_kubectl(layout.kubeconfig, *args, given=given)


def node_ready(layout: Layout) -> bool:
    """Whether the node's kubelet says that it is ready, and said so lately."""
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    try:
        return kubectl(layout, "get", "node", layout.node_name, f"-o=jsonpath={path}", "--request-timeout=5s") == "True"
    except ToolError:
        return False


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"{' '.join(command)} failed: {done.stderr.strip()}")
