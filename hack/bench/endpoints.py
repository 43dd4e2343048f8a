"""
What many endpoints cost the operator, on a real API server with real controllers: creation, a look at everything, a start, memory.

    .venv/bin/python -m hack.bench.endpoints [--count 1000] [--runs 3] [--profile]

Prints each run and the medians. There is no kubelet: pods stay pending, so what is measured is the operator and not engines. Every endpoint has a
model that the hub is asked for once, and the operator finds the API server as in a pod. With `--profile` there is one more run, under a sampler,
whose figures do not count.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from aiohttp import web

from dedicated.adapters.kinds import ENDPOINT
from dedicated.adapters.kube import KubeApi
from hack.bench import machine, profile
from hack.cluster import tools
from hack.cluster.controlplane import ControlPlane, start_control_plane
from hack.cluster.processes import free_port, wait_until
from hack.hub.server import Hub
from hack.tools import REPO, say

NAMESPACES = 10
RARELY_S, OFTEN_S = 600, 10
"""Periods between two looks at everything: the default, and one that lets several be measured."""
SETTLED_S = 12.0
"""Longer than the time for which a status that is not urgent is held back."""


@dataclass(frozen=True)
class Figures:
    """Of one run."""

    create_cpu_ms: float
    create_calls: float
    create_passes: float
    create_s: float
    resync_writes: float
    resync_cpu_ms: float
    start_s: float
    rss_mib: float

    def __str__(self) -> str:
        return "  ".join(f"{name} {value:.1f}" for name, value in vars(self).items())


TARGETS = {"create_cpu_ms": 9.0, "create_calls": 7.0, "resync_writes": 0.0, "start_s": 3.0, "rss_mib": 150.0}


class Operator:
    """A running operator, and what it has used."""

    def __init__(self, plane: ControlPlane, hub: str, log: Path, resync_s: int, *, wait: bool = True) -> None:
        self._port = free_port()
        env = {
            **os.environ,
            **pod_environment(plane),
            "HF_ENDPOINT": hub,
            "DEDICATED_IDENTITY": "bench",
            "DEDICATED_IMAGE": "localhost/dedicated:bench",
            "DEDICATED_IMAGE_LLAMACPP": "localhost/llamacpp:bench",
            "DEDICATED_PORT": str(self._port),
            "DEDICATED_RESYNC_SECONDS": str(resync_s),
            "DEDICATED_PLACEMENT_SECONDS": "36000",
        }
        for name in ("PYTHONDONTWRITEBYTECODE", "KUBECONFIG"):  # an image has its modules compiled
            env.pop(name, None)
        self._log = log
        self._began = time.monotonic()
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dedicated", "operator"], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        self.pid = self._process.pid
        if wait:
            self.wait()

    def wait(self) -> float:
        """Until it acts; answers the seconds since its start."""
        if not wait_until(self._acts, 120, 0.02):
            raise SystemExit(f"the operator did not start: {self._log.read_text()[-2000:]}")
        return time.monotonic() - self._began

    def _acts(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def calls(self) -> dict[str, float]:
        """Requests to the API server so far, by verb."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
            found = re.findall(r'^dedicated_api_requests_total\{code="\d+",verb="(\w+)"\} ([\d.e+]+)', answer.read().decode(), re.MULTILINE)
        counted: dict[str, float] = {}
        for verb, count in found:
            counted[verb] = counted.get(verb, 0.0) + float(count)
        return counted

    def passes(self) -> float:
        """Passes over endpoints so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
            found = re.findall(r"^dedicated_reconcile_duration_seconds_count\{.*\} ([\d.e+]+)", answer.read().decode(), re.MULTILINE)
        return sum(map(float, found))

    def writes(self) -> float:
        """Calls that were no reads, and none of the Lease."""
        return sum(count for verb, count in self.calls().items() if verb in ("PATCH", "POST", "DELETE"))

    def kill(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def pod_environment(plane: ControlPlane) -> dict[str, str]:
    """What tells a pod where the API server is: the address, and the folder that the kubelet mounts."""
    folder = plane.kubeconfig.parent / "serviceaccount"
    where = urlsplit(plane.server)
    if not folder.exists():
        folder.mkdir()
        run = [str(tools.path("kubectl")), f"--kubeconfig={plane.kubeconfig}"]
        admin = ["clusterrolebinding", "bench", "--clusterrole=cluster-admin", "--serviceaccount=dedicated-system:default"]
        subprocess.run([*run, "create", *admin], check=True, stdout=subprocess.DEVNULL)
        token = subprocess.run([*run, "create", "token", "default", "--namespace=dedicated-system"], check=True, capture_output=True, text=True)
        (folder / "token").write_text(token.stdout)
        config = yaml.safe_load(plane.kubeconfig.read_text())["clusters"][0]["cluster"]
        data = config.get("certificate-authority-data")
        (folder / "ca.crt").write_bytes(base64.b64decode(data) if data else Path(config["certificate-authority"]).read_bytes())
    return {
        "DEDICATED_SERVICE_ACCOUNT_DIR": str(folder),
        "KUBERNETES_SERVICE_HOST": where.hostname or "",
        "KUBERNETES_SERVICE_PORT": str(where.port),
    }


def manifest(number: int) -> dict[str, Any]:
    """One endpoint."""
    return {
        "apiVersion": ENDPOINT.api_version,
        "kind": ENDPOINT.name,
        "metadata": {"name": f"bench-{number}", "namespace": f"bench-{number % NAMESPACES}"},
        "spec": {
            "model": {"huggingFace": {"repo": "acme/tiny"}},
            "engine": {"kind": "llamacpp"},
            "hardware": {"accelerators": ["cpu"], "cpu": "10m", "memory": "64Mi"},
            "access": {"owner": "alice"},
        },
    }


async def create(plane: ControlPlane, count: int) -> None:
    """Create endpoints, 16 at a time."""
    kube, gate = await KubeApi.connect(str(plane.kubeconfig)), asyncio.Semaphore(16)

    async def one(number: int) -> None:
        async with gate:
            await kube.create(manifest(number))

    await asyncio.gather(*(one(number) for number in range(count)))
    await kube.close()


async def building(plane: ControlPlane) -> int:
    """How many endpoints have their Deployment and say so."""
    kube = await KubeApi.connect(str(plane.kubeconfig))
    found = await kube.list(ENDPOINT)
    await kube.close()
    return sum((one.get("status") or {}).get("phase") == "building" and "model" in one["status"] for one in found)


def measure(plane: ControlPlane, hub: str, count: int, folder: Path, profiled: str) -> Figures:
    """One run on an empty cluster. (profiled: the phase that is sampled, if any)"""
    first = Operator(plane, hub, folder / "operator.log", RARELY_S)
    with sampled(first.pid, folder / "create.raw", profiled == "create"):
        cpu_ms, calls, took_s = created(first, plane, count)
    passes = first.passes() / count
    rss = machine.used_by(first.pid).rss_bytes
    first.kill()
    start_s = started(plane, hub, folder, profiled == "start")
    second = Operator(plane, hub, folder / "operator.log", OFTEN_S)
    settle(second)
    before, writes = machine.used_by(second.pid), second.writes()
    time.sleep(3 * OFTEN_S)
    after = machine.used_by(second.pid)
    figures = Figures(
        create_cpu_ms=cpu_ms,
        create_calls=calls,
        create_passes=passes,
        create_s=took_s,
        resync_writes=second.writes() - writes,
        resync_cpu_ms=(after.cpu_s - before.cpu_s) / 3 * 1000,
        start_s=start_s,
        rss_mib=max(rss, after.rss_bytes) / 1024**2,
    )
    second.kill()
    return figures


def created(operator: Operator, plane: ControlPlane, count: int) -> tuple[float, float, float]:
    """CPU in milliseconds and calls per endpoint until nothing is written any more; and the seconds until the last one was building."""
    before, calls = machine.used_by(operator.pid), sum(operator.calls().values())
    began = time.monotonic()
    asyncio.run(create(plane, count))
    while (seen := asyncio.run(building(plane))) < count:
        say(f"{seen} of {count} endpoints are building after {time.monotonic() - began:.0f} s")
        time.sleep(2)
    took_s = time.monotonic() - began
    settle(operator)
    used, asked = machine.used_by(operator.pid).cpu_s - before.cpu_s, sum(operator.calls().values()) - calls
    return used / count * 1000, asked / count, took_s


def started(plane: ControlPlane, hub: str, folder: Path, profiled: bool) -> float:
    """Seconds from the start of an operator to the first time that it says that it acts, with everything present."""
    operator = Operator(plane, hub, folder / "operator.log", RARELY_S, wait=False)
    with sampled(operator.pid, folder / "start.raw", profiled):
        took_s = operator.wait()
    settle(operator)
    operator.kill()
    return took_s


def settle(operator: Operator) -> None:
    """Wait until nothing was written for as long as what is not urgent is held back."""
    count = -1.0
    while count != operator.writes():
        count = operator.writes()
        time.sleep(SETTLED_S)


@contextmanager
def sampled(pid: int, raw: Path, wanted: bool) -> Iterator[None]:
    """Sample a process while this lasts, if wanted."""
    sampler = profile.start(pid, raw) if wanted else None
    yield
    if sampler:
        sampler.send_signal(signal.SIGINT)
        sampler.wait()


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """A hub on loopback, in a thread of its own."""
    import threading

    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        runner = web.AppRunner(hub.app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def once(count: int, folder: Path, profiled: str = "") -> Figures:
    """One run, with a control plane and a hub of its own."""
    models = folder / "models" / "acme" / "tiny"
    models.mkdir(parents=True)
    (models / "tiny.gguf").write_bytes(b"x" * 1024)
    with start_control_plane(folder / "plane", controllers=True) as plane, serving(Hub(folder / "models")) as hub:
        prepare(plane)
        return measure(plane, hub, count, folder, profiled)


def prepare(plane: ControlPlane) -> None:
    """The custom resource, the system's namespace, and those of the endpoints."""
    run = [str(tools.path("kubectl")), f"--kubeconfig={plane.kubeconfig}"]
    subprocess.run([*run, "apply", f"--filename={REPO / 'crds'}"], check=True, stdout=subprocess.DEVNULL)
    for name in ("dedicated-system", *(f"bench-{number}" for number in range(NAMESPACES))):
        subprocess.run([*run, "create", "namespace", name], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        [*run, "wait", "--for=condition=Established", "crd/inferenceendpoints.inference.dedicated.dev"], check=True, stdout=subprocess.DEVNULL
    )
    time.sleep(1)


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=1000, help="endpoints")
    options.add_argument("--runs", type=int, default=3, help="runs that are measured")
    options.add_argument("--profile", action="store_true", help="one more run under a sampler: where the CPU goes")
    asked = options.parse_args()
    print(f"{asked.count} endpoints in {NAMESPACES} namespaces; {machine.described()}")
    runs = []
    for number in range(asked.runs):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(once(asked.count, Path(folder)))
            print(f"run {number + 1}: {runs[-1]}", flush=True)
    for name in vars(runs[0]) if runs else ():
        values = [getattr(run, name) for run in runs]
        target = f"  (target: at most {TARGETS[name]:g})" if name in TARGETS else ""
        print(f"{name:>14}: median {statistics.median(values):.1f}, {min(values):.1f} to {max(values):.1f}{target}")
    if asked.profile:
        for phase, what in (("create", "they are created"), ("start", "it starts with all of them present")):
            with tempfile.TemporaryDirectory() as folder:
                once(asked.count, Path(folder), profiled=phase)
                print(f"where the operator's CPU goes while {what} (samples of its stack):")
                print("\n".join(profile.table(Path(folder) / f"{phase}.raw")))


if __name__ == "__main__":
    main()
