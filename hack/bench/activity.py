"""
What activity costs: many endpoints asleep and some that are called all the time, with real reporters of simulated gateways on a real API server.

    .venv/bin/python -m hack.bench.activity [--awake 500] [--asleep 9500] [--gateways 2] [--seconds 120]

Each gateway has one stream in flight at every awake endpoint, from the beginning to the end. Prints writes of activity a second, the operator's CPU
while that goes on (as a share of one core), its passes and its memory. There is no kubelet: pods are told to be ready, and the status says who
sleeps.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from dedicated.adapters.activity import Activity
from dedicated.adapters.informer import Informer
from dedicated.adapters.kinds import ENDPOINT, LEASE, POD
from dedicated.adapters.kube import KubeApi
from dedicated.api.activity import SHORTEST_RENEWAL_S
from dedicated.core.clock import rfc3339
from dedicated.gateway.activity import Reporter
from dedicated.gateway.addresses import networks
from dedicated.gateway.ledger import PERIOD_S, Ledger
from dedicated.gateway.table import Table
from dedicated.gateway.watching import Watched
from dedicated.telemetry import metrics
from hack.bench import machine
from hack.bench.endpoints import NAMESPACES, RARELY_S, Operator, prepare, serving, settle
from hack.cluster import tools
from hack.cluster.controlplane import ControlPlane, start_control_plane
from hack.hub.server import Hub
from hack.tools import say

LEASES = "dedicated-activity"
AT_ONCE = 16
SETTLED_S = 60.0
"""After which each Lease has been made. (seconds)"""
WATCH_SILENCE_S = 70.0
Manifest = dict[str, Any]


def manifest(name: str, number: int) -> Manifest:
    """One endpoint of a custom engine."""
    engine = {"kind": "custom", "image": "localhost/engine:1", "port": 8000, "healthPath": "/health"}
    spec = {"engine": engine, "hardware": {"accelerators": ["cpu"], "cpu": "10m", "memory": "64Mi"}, "access": {"owner": "alice"}}
    meta = {"name": f"{name}-{number}", "namespace": f"bench-{number % NAMESPACES}"}
    return {"apiVersion": ENDPOINT.api_version, "kind": ENDPOINT.name, "metadata": meta, "spec": spec}


def sleeping(now: float) -> Manifest:
    """The status of an endpoint that went to sleep."""
    at = rfc3339(now)
    told = {"Ready": ("True", "NoTraffic"), "Active": ("False", "NoTraffic")}
    conditions = [
        {"type": kind, "status": status, "reason": reason, "message": "It sleeps.", "lastTransitionTime": at}
        for kind, (status, reason) in told.items()
    ]
    drain = {"epoch": 1, "reason": "NoTraffic", "at": at}
    return {"phase": "sleeping", "conditions": conditions, "sleep": {"since": at}, "drain": drain, "observedGeneration": 1}


async def all_of(what: Callable[[Any], Awaitable[object]], items: Iterable[Any]) -> None:
    """Some at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> None:
        async with gate:
            await what(item)

    await asyncio.gather(*map(one, items))


async def populate(kube: KubeApi, awake: int, asleep: int) -> None:
    """Endpoints that sleep, and others that are new."""

    async def put_to_sleep(number: int) -> None:
        made = manifest("asleep", number)
        await kube.create(made)
        await kube.patch(ENDPOINT, made["metadata"]["namespace"], made["metadata"]["name"], {"status": sleeping(kube.now())}, "status")

    say(f"{asleep} endpoints that sleep, {awake} that do not")
    await all_of(put_to_sleep, range(asleep))
    await all_of(lambda number: kube.create(manifest("awake", number)), range(awake))


async def make_ready(kube: KubeApi, awake: int) -> None:
    """Play the kubelet until all that are awake are up."""
    done: set[str] = set()

    async def ready(pod: Manifest) -> None:
        meta = pod["metadata"]
        conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}]
        container = {"name": "engine", "ready": True, "started": True, "restartCount": 0, "image": "x", "imageID": "x"}
        running = {"state": {"running": {"startedAt": rfc3339(kube.now())}}}
        status = {"phase": "Running", "podIP": "10.0.0.9", "conditions": conditions, "containerStatuses": [{**container, **running}]}
        await kube.patch(POD, meta["namespace"], meta["name"], {"status": status}, "status")
        done.add(meta["uid"])

    while True:
        await all_of(ready, [pod for pod in await kube.list(POD) if pod["metadata"]["uid"] not in done])
        up = sum((one.get("status") or {}).get("phase") == "up" for one in await kube.list(ENDPOINT))
        if up >= awake:
            return
        say(f"{up} of {awake} are up")
        await asyncio.sleep(5)


async def gateway(kube: KubeApi, name: str) -> tuple[Reporter, Ledger, list[asyncio.Task[None]]]:
    """A gateway's reporter, which knows everything and carries nothing."""
    seen, ledger = Watched(Table(networks([])), name), Ledger()
    informers = [Informer(kube, kind, seen, seen.seen, seen.gone) for kind in (ENDPOINT, replace(LEASE, within=LEASES))]
    tasks = [asyncio.create_task(informer.run(WATCH_SILENCE_S)) for informer in informers]
    for informer in informers:
        await informer.listed.wait()
    return Reporter(kube, Activity(kube, LEASES, name), seen, ledger, "dedicated-system", SHORTEST_RENEWAL_S), ledger, tasks


async def streams(ledger: Ledger, called: list[str]) -> None:
    """One at every endpoint, for ever, as Envoy's access log tells of streams that last."""
    while True:
        for endpoint in called:
            ledger.began(endpoint, endpoint, "10.0.0.9:8000", time.monotonic())
        await asyncio.sleep(PERIOD_S)


def writes() -> float:
    """Of this process so far."""
    (family,) = metrics.API_REQUESTS.collect()
    return sum(one.value for one in family.samples if one.name.endswith("_total") and one.labels["verb"] in ("PATCH", "POST"))


async def report(plane: ControlPlane, operator: Operator, count: int, seconds: float) -> None:
    """Let simulated gateways report, and print what it costs."""
    kube = await KubeApi.connect(str(plane.kubeconfig))
    called = [one["status"]["id"] for one in await kube.list(ENDPOINT) if one["metadata"]["name"].startswith("awake-")]
    tasks = []
    for number in range(count):
        reporter, ledger, watches = await gateway(kube, f"gateway-{number}")
        tasks += [*watches, asyncio.create_task(reporter.run()), asyncio.create_task(streams(ledger, called))]
    await asyncio.sleep(SETTLED_S)
    before, passes, written = machine.used_by(operator.pid), operator.passes(), writes()
    await asyncio.sleep(seconds)
    after, rate = machine.used_by(operator.pid), (writes() - written) / seconds
    for task in tasks:
        task.cancel()
    print(f"  activity: {rate:.1f} writes/s (target: at most 40)")
    print(f"  operator: {(after.cpu_s - before.cpu_s) / seconds:.1%} of a core (target: at most 10 %), {operator.passes() - passes:.0f} passes")
    print(f"  operator: {after.rss_bytes / 1024**2:.0f} MiB", flush=True)
    await kube.close()


async def fill(plane: ControlPlane, awake: int, asleep: int) -> None:
    """All endpoints, before anybody works."""
    kube = await KubeApi.connect(str(plane.kubeconfig))
    await populate(kube, awake, asleep)
    await kube.close()


async def wake_up(plane: ControlPlane, awake: int) -> None:
    """Those that are to be awake come up."""
    kube = await KubeApi.connect(str(plane.kubeconfig))
    await make_ready(kube, awake)
    await kube.close()


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--awake", type=int, default=500, help="endpoints with calls (%(default)s)")
    options.add_argument("--asleep", type=int, default=9500, help="endpoints that sleep (%(default)s)")
    options.add_argument("--gateways", type=int, default=2, help="simulated gateways (%(default)s)")
    options.add_argument("--seconds", type=float, default=120, help="how long is measured (%(default)s)")
    asked = options.parse_args()
    print(f"{asked.awake} endpoints awake, {asked.asleep} asleep, {asked.gateways} gateways; {machine.described()}", flush=True)
    with tempfile.TemporaryDirectory() as folder, start_control_plane(Path(folder) / "plane", controllers=True) as plane:
        models = Path(folder) / "models"
        models.mkdir()
        with serving(Hub(models)) as hub:
            prepare(plane)
            subprocess.run([str(tools.path("kubectl")), f"--kubeconfig={plane.kubeconfig}", "create", "namespace", LEASES], check=True)
            asyncio.run(fill(plane, asked.awake, asked.asleep))
            operator = Operator(plane, hub, Path(folder) / "operator.log", RARELY_S)
            asyncio.run(wake_up(plane, asked.awake))
            settle(operator)
            asyncio.run(report(plane, operator, asked.gateways, asked.seconds))
            operator.kill()


if __name__ == "__main__":
    main()
