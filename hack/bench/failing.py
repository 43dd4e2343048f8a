"""
Whether endpoints that fail together starve those that do not, on a real API server with real controllers.

    .venv/bin/python -m hack.bench.failing [--failing 1000] [--healthy 100] [--edits 200]

Healthy endpoints are edited one after another (`spec.replicas`), and it is timed until their Deployment says so: first while nothing else happens,
then while all the others fail at once, each with a log of 400 lines that must be read, judged and recorded. There is no kubelet: the pods' statuses
are written here, and their logs come from a server that the API server takes for the node's kubelet.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, ENDPOINT_LOG, POD
from dedicated.adapters.kube import KubeApi
from dedicated.core.clock import rfc3339
from hack.bench import machine
from hack.bench.endpoints import NAMESPACES, RARELY_S, Operator, prepare, serving
from hack.cluster.controlplane import ControlPlane, start_control_plane
from hack.hub.server import Hub
from hack.tools import say

NODE = "bench-node"
LINES = 400
AT_ONCE = 16
BEAT_S = 4.0
"""Less than the 20 s after which a node is taken for lost."""
Manifest = dict[str, Any]


def manifest(name: str, number: int) -> Manifest:
    """One endpoint of a custom engine."""
    engine = {"kind": "custom", "image": "localhost/engine:1", "port": 8000, "healthPath": "/health"}
    return {
        "apiVersion": ENDPOINT.api_version,
        "kind": ENDPOINT.name,
        "metadata": {"name": f"{name}-{number}", "namespace": f"bench-{number % NAMESPACES}"},
        "spec": {
            "engine": engine,
            "hardware": {"accelerators": ["cpu"], "cpu": "10m", "memory": "64Mi"},
            "access": {"owner": "alice"},
        },
    }


def log_of(pod: str) -> str:
    """What an engine says that finds no room for its KV cache, 400 lines of it, in no two pods the same."""
    lines = [f"(EngineCore_DP0 pid=80) INFO 03-01 10:00:{at % 60:02d} [core.py:{at}] {pod} loads layer {at} of {LINES}" for at in range(LINES - 2)]
    error = "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine."
    return "\n".join(
        [*lines, f"(EngineCore_DP0 pid=80) ERROR 03-01 10:01:00 [core.py:708] {error}", "(APIServer pid=1) RuntimeError: Engine core failed."]
    )


async def _answer(request: web.Request) -> web.Response:
    return web.Response(text=log_of(request.path.split("/")[3]))


@contextmanager
def kubelet(plane: ControlPlane) -> Iterator[int]:
    """A server of logs that the API server asks as a node's kubelet; answers its port."""
    import threading

    pair = plane.pki.issue("bench-kubelet", "system:node:bench-node", "system:nodes", ["127.0.0.1"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    loop = asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/containerLogs/{path:.*}", _answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield int(runner.addresses[0][1])
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


async def each(work: Callable[[Any], Awaitable[Any]], items: list[Any]) -> None:
    """Do it for all of them, a few at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(item: Any) -> None:
        async with gate:
            await work(item)

    await asyncio.gather(*(one(item) for item in items))


class Bench:
    """The cluster as seen from outside."""

    def __init__(self, kube: KubeApi) -> None:
        self._kube = kube

    async def node(self, port: int) -> None:
        """A node whose kubelet is ours, and which beats for ever."""
        await self._post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        endpoints = {"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}
        addresses = {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
        while True:
            ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": rfc3339(time.time())}
            await self._patch_status(f"/api/v1/nodes/{NODE}", {**addresses, **endpoints, "conditions": [ready]})
            await asyncio.sleep(BEAT_S)

    async def create(self, name: str, count: int) -> None:
        """Endpoints, and each one's pod bound to the node."""
        await each(lambda number: self._kube.create(manifest(name, number)), list(range(count)))
        while len(found := await self.pods(name)) < count:
            say(f"{len(found)} of {count} pods")
            await asyncio.sleep(2)
        await each(self._bind, found)

    async def pods(self, name: str) -> list[Manifest]:
        """Pods of the endpoints of this name."""
        return [pod for pod in await self._kube.list(POD) if pod["metadata"]["name"].startswith(f"{name}-")]

    async def _bind(self, pod: Manifest) -> None:
        meta = pod["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target}
        await self._post(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/binding", binding)

    async def become(self, name: str, container: Manifest, ready: bool) -> None:
        """All pods of these endpoints say this of their engine."""
        conditions = [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": str(ready)}]
        told = {"name": "engine", "image": "x", "imageID": "x", "containerID": "containerd://1", "ready": ready, "started": ready, **container}
        status = {"phase": "Running", "podIP": "10.0.0.9", "conditions": conditions, "containerStatuses": [told]}
        await each(lambda pod: self._patch_status(self._path(pod), status), await self.pods(name))

    def _path(self, pod: Manifest) -> str:
        return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"

    async def edits(self, healthy: int, count: int) -> list[float]:
        """Seconds from an edit to what it makes of the Deployment, one after another."""
        took = []
        for number in range(count):
            one, replicas = number % healthy, 2 + number // healthy % 2
            began = time.monotonic()
            await self._kube.patch(ENDPOINT, f"bench-{one % NAMESPACES}", f"healthy-{one}", {"spec": {"replicas": replicas}})
            await self._reaches(f"healthy-{one}", f"bench-{one % NAMESPACES}", replicas)
            took.append(time.monotonic() - began)
        return took

    async def _reaches(self, name: str, namespace: str, replicas: int) -> None:
        query = {"labelSelector": f"inference.dedicated.dev/endpoint={name}"}
        while True:
            page = await self._kube._json("GET", DEPLOYMENT.path(namespace), query=query)
            if any(found["spec"]["replicas"] == replicas for found in page["items"]):
                return
            await asyncio.sleep(0.01)

    async def count(self, phase: str, name: str) -> int:
        """Endpoints of this name in this phase."""
        found = await self._kube.list(ENDPOINT)
        return sum((one.get("status") or {}).get("phase") == phase and one["metadata"]["name"].startswith(f"{name}-") for one in found)

    async def recorded(self) -> int:
        """EndpointLogs that there are."""
        return len(await self._kube.list(ENDPOINT_LOG, metadata_only=True))

    async def _post(self, path: str, body: Manifest) -> None:
        await self._kube._json("POST", path, body=body)

    async def _patch_status(self, path: str, status: Manifest) -> None:
        await self._kube._json("PATCH", f"{path}/status", body={"status": status}, content="application/merge-patch+json")


def running() -> Manifest:
    """An engine that serves."""
    return {"restartCount": 0, "state": {"running": {"startedAt": rfc3339(time.time())}}}


def crashed() -> Manifest:
    """An engine that has failed three times and waits to be started again."""
    ended = {
        "exitCode": 1,
        "reason": "Error",
        "startedAt": rfc3339(time.time() - 5),
        "finishedAt": rfc3339(time.time()),
        "containerID": "containerd://1",
    }
    return {"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": ended}}


async def measure(plane: ControlPlane, port: int, failing: int, healthy: int, edits: int) -> tuple[list[float], list[float], float, int]:
    """Latencies in quiet and beside failures; how long until all were named; and how many logs were recorded."""
    kube = await KubeApi.connect(str(plane.kubeconfig))
    bench = Bench(kube)
    beating = asyncio.create_task(bench.node(port))
    await bench.create("healthy", healthy)
    await bench.create("failing", failing)
    await bench.become("healthy", running(), True)
    while (up := await bench.count("up", "healthy")) < healthy:
        say(f"{up} of {healthy} are up")
        await asyncio.sleep(1)
    quiet = await bench.edits(healthy, edits)
    began = time.monotonic()
    breaking = asyncio.create_task(bench.become("failing", crashed(), False))
    beside: list[float] = []
    while await bench.count("failed", "failing") < failing:
        beside += await bench.edits(healthy, 10)
    await breaking
    named_s, recorded = time.monotonic() - began, await bench.recorded()
    beating.cancel()
    await kube.close()
    return quiet, beside, named_s, recorded


def p99(values: list[float]) -> float:
    """In milliseconds."""
    return statistics.quantiles(values, n=100)[98] * 1000 if len(values) > 1 else values[0] * 1000


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--failing", type=int, default=1000, help="endpoints that fail at once")
    options.add_argument("--healthy", type=int, default=100, help="endpoints that are edited")
    options.add_argument("--edits", type=int, default=200, help="edits in quiet")
    asked = options.parse_args()
    print(f"{asked.failing} failing beside {asked.healthy} healthy endpoints; {machine.described()}", flush=True)
    with tempfile.TemporaryDirectory() as name, start_control_plane(Path(name) / "plane", controllers=True, kubelet_client=True) as plane:
        folder = Path(name)
        (folder / "models").mkdir()
        with serving(Hub(folder / "models")) as hub, kubelet(plane) as port:
            prepare(plane)
            operator = Operator(plane, hub, folder / "operator.log", RARELY_S)
            quiet, beside, named_s, recorded = asyncio.run(measure(plane, port, asked.failing, asked.healthy, asked.edits))
            operator.kill()
    print(f"  quiet: median {statistics.median(quiet) * 1000:.0f} ms, p99 {p99(quiet):.0f} ms, {len(quiet)} edits")
    print(f" beside: median {statistics.median(beside) * 1000:.0f} ms, p99 {p99(beside):.0f} ms, {len(beside)} edits")
    print(f"  ratio: {p99(beside) / p99(quiet):.2f}  (target: at most 2)")
    print(f"all {asked.failing} were named after {named_s:.1f} s; {recorded} logs recorded")


if __name__ == "__main__":
    main()
