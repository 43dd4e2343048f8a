"""
What a wake costs beside what the cluster and the engine need anyway, on a real cluster with a real gateway and the stub engine.

    .venv/bin/python -m hack.bench.wake [--pairs 30] [--start 0 2] [--together 10] [--rounds 3] [--gemma 10]

Each pair is a held call at a sleeping endpoint until the first byte of its answer, and the floor: a plain Deployment with the same pod, scaled
from 0 to 1 by one call to the API server, until a direct request to the pod's address succeeds. The two of a pair follow each other, in turns the
one and the other first. Prints medians, the paired difference with a bootstrapped 95 % interval, and where a wake's time goes. `--together` wakes
that many at once, beside as many Deployments that are scaled at once. Needs a bare or kind cluster, to whose pods this machine is given a route
while it runs. `--gemma` wakes that many endpoints of the demo's real model, one after another, until the first token. It takes a minute and a half
until endpoints sleep; everything is removed at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import aiohttp
import yaml

from dedicated.adapters.kinds import DEPLOYMENT, ENDPOINT, SECRET, Kind
from dedicated.adapters.kube import KubeApi
from dedicated.api.names import LABEL_ENDPOINT
from hack.bench import machine
from hack.demo import key_of
from hack.install import Installation, install, sample
from hack.tools import say

NAMESPACE = "bench-wake"
FLOOR = Kind("Pod", "v1", "pods", selector="bench.dedicated.dev/floor", within=NAMESPACE)
IDLE = "60s"
ASLEEP_S, CALL_S, PROBE_S = 240, 90, 0.005
REST_S = 1.5
"""Between two measurements: what the one before has left to do is done by then."""
SHARES = 10_000
Manifest = dict[str, Any]


@dataclass
class Cluster:
    """What the measurements share."""

    kube: KubeApi
    session: aiohttp.ClientSession
    gateway: str
    key: str
    ids: dict[str, str] = field(default_factory=dict)
    """By endpoint."""
    engine_keys: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, asyncio.Future[str]] = field(default_factory=dict)
    """Of the floor's pods, by endpoint, as soon as they are known."""

    async def wake(self, name: str) -> float:
        """Seconds from a call at a sleeping endpoint to the first byte of its answer."""
        began = time.monotonic()
        headers = {"Authorization": f"Bearer {self.key}", "Prefer": f"wait={CALL_S}"}
        await self._asked(f"{self.gateway}/api/d/{self.ids[name]}/v1/chat/completions", name, headers)
        return time.monotonic() - began

    async def first_token(self, name: str) -> float:
        """Seconds from a call at a sleeping endpoint of a real model to the first token of the streamed answer."""
        began = time.monotonic()
        headers = {"Authorization": f"Bearer {self.key}", "Prefer": f"wait={CALL_S}"}
        body = {"model": self.ids[name], "prompt": "The capital of France is", "max_tokens": 4, "temperature": 0, "stream": True}
        async with self.session.post(f"{self.gateway}/api/d/{self.ids[name]}/v1/completions", json=body, headers=headers) as response:
            async for line in response.content:
                if response.status != 200:
                    raise SystemExit(f"{name} answered {response.status}: {line[:300].decode(errors='replace')}")
                if line.startswith(b"data:") and json.loads(line[5:])["choices"][0].get("text"):
                    return time.monotonic() - began
        raise SystemExit(f"{name} answered without a token")

    async def floor(self, name: str) -> float:
        """Seconds from the scaling of a Deployment to the first byte of its pod's answer."""
        self.addresses[name] = asyncio.get_running_loop().create_future()
        began = time.monotonic()
        await self.kube.patch(DEPLOYMENT, NAMESPACE, f"floor-{name}", {"spec": {"replicas": 1}})
        address = await self.addresses[name]
        headers = {"Authorization": f"Bearer {self.engine_keys[name]}"}
        while True:
            try:
                await self._asked(f"http://{address}:8000/v1/chat/completions", name, headers, starts=True)
                return time.monotonic() - began
            except (aiohttp.ClientError, Unready):
                await asyncio.sleep(PROBE_S)

    async def _asked(self, url: str, name: str, headers: dict[str, str], *, starts: bool = False) -> None:
        body = {"model": self.ids[name], "max_tokens": 1, "messages": [{"role": "user", "content": "hello"}]}
        async with self.session.post(url, json=body, headers=headers) as response:
            if response.status == 503 and starts:
                raise Unready
            said = await response.read()
            if response.status != 200:
                raise SystemExit(f"{url} answered {response.status}: {said[:300].decode(errors='replace')}")

    async def watch(self) -> None:
        """Tell the addresses of the floor's pods, for ever."""
        _, version = await self.kube.snapshot(FLOOR, lambda _: None)
        async for event in self.kube.watch(FLOOR, version, 600):
            pod = event["object"]
            known = self.addresses.get(pod["metadata"].get("labels", {}).get(FLOOR.selector or "", ""))
            address = (pod.get("status") or {}).get("podIP")
            if known and address and not known.done() and "deletionTimestamp" not in pod["metadata"]:
                known.set_result(address)


class Unready(Exception):
    """The engine says that it has not started yet."""


def endpoint(name: str, image: str, start_s: float, idle: str) -> Manifest:
    """One endpoint of the stub engine."""
    env = [{"name": "STUB_SERVED_MODEL_NAME", "value": "$(DEDICATED_MODEL_NAME)"}]
    engine = {"kind": "custom", "image": image, "port": 8000, "healthPath": "/health", "args": [f"--start-delay={start_s:g}s"], "env": env}
    spec = {
        "engine": engine,
        "hardware": {"accelerators": ["cpu"], "cpu": "10m", "memory": "64Mi"},
        "access": {"owner": "alice"},
        "scaling": {"idleAfter": idle, "minAwake": "0s"},
        "wake": {"hold": f"{CALL_S}s"},
        "update": {"drain": "1s"},
    }
    return {"apiVersion": ENDPOINT.api_version, "kind": ENDPOINT.name, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def floor_of(deployment: Manifest) -> tuple[str, Manifest]:
    """The name of an endpoint, and a Deployment of the same pod that nobody but this benchmark knows."""
    name = deployment["metadata"]["labels"][LABEL_ENDPOINT]
    template, labels = deployment["spec"]["template"], {FLOOR.selector: name}
    spec = {**deployment["spec"], "replicas": 0, "selector": {"matchLabels": labels}, "template": {**template, "metadata": {"labels": labels}}}
    meta = {"name": f"floor-{name}", "namespace": NAMESPACE}
    return name, {"apiVersion": DEPLOYMENT.api_version, "kind": DEPLOYMENT.name, "metadata": meta, "spec": spec}


def gemma(name: str) -> Manifest:
    """One endpoint of the demo's real model."""
    found = yaml.safe_load(sample("gemma").read_text())
    found["metadata"] = {"name": name, "namespace": NAMESPACE}
    found["spec"]["hardware"]["cpu"] = "100m"
    found["spec"] |= {"scaling": {"idleAfter": IDLE, "minAwake": "0s"}, "wake": {"hold": f"{CALL_S}s"}, "update": {"drain": "1s"}}
    return dict(found)


async def prepare(found: Cluster, image: str, start_s: float, names: Sequence[str]) -> None:
    """Endpoints that have served and sleep, and the floor's Deployments without pods."""
    say(f"{len(names)} endpoints, engines that start in {start_s:g} s: coming up")
    for name in names:
        await found.kube.create(endpoint(name, image, start_s, IDLE))
    await _until(found, names, "up", ASLEEP_S)
    await _floors(found)
    await fall_asleep(found, names)


async def _floors(found: Cluster) -> None:
    for deployment in await found.kube.list(DEPLOYMENT, namespace=NAMESPACE):
        name, floor = floor_of(deployment)
        await found.kube.create(floor)
        secret = await found.kube.get(SECRET, NAMESPACE, _key_secret(deployment))
        found.engine_keys[name] = base64.b64decode(secret["data"]["key"]).decode()


async def fall_asleep(found: Cluster, names: Sequence[str]) -> None:
    """Wait until all sleep; who is woken from then on stays up."""
    say("falling asleep")
    found.ids |= {name: status["id"] for name, status in (await _until(found, names, "sleeping", ASLEEP_S)).items()}
    for name in names:  # so that nothing goes on beside the measurements
        await found.kube.patch(ENDPOINT, NAMESPACE, name, {"spec": {"scaling": {"idleAfter": "0s"}}})
    await asyncio.sleep(10)


def _key_secret(deployment: Manifest) -> str:
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    return str(next(one["valueFrom"]["secretKeyRef"]["name"] for one in env if one["name"] == "DEDICATED_ENGINE_KEY"))


async def _until(found: Cluster, names: Sequence[str], phase: str, timeout_s: float) -> dict[str, Manifest]:
    deadline = time.monotonic() + timeout_s
    while True:
        seen = {one["metadata"]["name"]: one.get("status") or {} for one in await found.kube.list(ENDPOINT, namespace=NAMESPACE)}
        there = [name for name in names if seen.get(name, {}).get("phase") == phase]
        if len(there) == len(names):
            return {name: seen[name] for name in names}
        if time.monotonic() > deadline:
            raise SystemExit(f"only {len(there)} of {len(names)} endpoints are {phase} after {timeout_s:.0f} s")
        await asyncio.sleep(1)


async def pairs(found: Cluster, names: Sequence[str]) -> tuple[list[float], list[float]]:
    """Seconds of each wake, and of the floor beside it."""
    wakes: list[float] = []
    floors: list[float] = []
    for number, name in enumerate(names):
        for what, into in ((found.wake, wakes), (found.floor, floors))[:: 1 if number % 2 else -1]:
            into.append(await what(name))
            await asyncio.sleep(REST_S)
    return wakes, floors


async def together(found: Cluster, names: Sequence[str], wakes_first: bool) -> tuple[float, float]:
    """Seconds until the last of all is there: of wakes, and of Deployments."""
    took: dict[str, float] = {}
    for what in ("wake", "floor") if wakes_first else ("floor", "wake"):
        took[what] = max(await asyncio.gather(*(getattr(found, what)(name) for name in names)))
        await asyncio.sleep(3 * REST_S)
    return took["wake"], took["floor"]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the median, bootstrapped."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(SHARES))
    return medians[int(0.025 * SHARES)], medians[int(0.975 * SHARES)]


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values the one below which that share lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def stages(found: Cluster, names: Sequence[str]) -> dict[str, list[float]]:
    """What each wake's record says of its phases. (seconds)"""
    told: dict[str, list[float]] = {}
    for one in await found.kube.list(ENDPOINT, namespace=NAMESPACE):
        last = ((one.get("status") or {}).get("wake") or {}).get("last")
        if one["metadata"]["name"] in names and last:
            for phase in [*last["phases"], {"phase": "total, as the operator sees it", "seconds": last["seconds"]}]:
                told.setdefault(phase["phase"], []).append(phase.get("seconds") or 0.0)
    return told


def print_pairs(start_s: float, wakes: Sequence[float], floors: Sequence[float], told: dict[str, list[float]]) -> None:
    """The figures of one kind of engine."""
    over = [1000 * (wake - floor) for wake, floor in zip(wakes, floors, strict=True)]
    low, high = interval(over)
    print(f"engine that starts in {start_s:g} s, {len(over)} pairs:")
    for what, values in (("call to first byte", wakes), ("floor", floors)):
        print(f"  {what:>20}: median {statistics.median(values):.3f} s, p90 {percentile(values, 0.9):.3f} s")
    print(
        f"  {'over the floor':>20}: median {statistics.median(over):.0f} ms [{low:.0f}, {high:.0f}], p90 {percentile(over, 0.9):.0f} ms", flush=True
    )
    print("  as the wakes' records tell (s): " + ", ".join(f"{phase} {statistics.median(seconds):.3f}" for phase, seconds in told.items()))


async def measure(asked: argparse.Namespace, found: Installation, gateway: str) -> None:
    """All of it."""
    kube = await KubeApi.connect(str(found.target.kubeconfig))
    limit = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=limit, timeout=aiohttp.ClientTimeout(total=CALL_S + 10)) as session:
        cluster = Cluster(kube, session, gateway, key_of(found, "alice"))
        watch = asyncio.create_task(cluster.watch())
        for start_s in asked.start:
            names = [f"w{start_s:g}-{number}" for number in range(asked.pairs)]
            await prepare(cluster, found.references["stub-engine"], start_s, names)
            wakes, floors = await pairs(cluster, names)
            await asyncio.sleep(5)
            print_pairs(start_s, wakes, floors, await stages(cluster, names))
            await empty(cluster)
        for number in range(asked.rounds if asked.together else 0):
            names = [f"t{number}-{one}" for one in range(asked.together)]
            await prepare(cluster, found.references["stub-engine"], 0, names)
            last, floor = await together(cluster, names, bool(number % 2))
            print(
                f"{asked.together} at once: the last answers after {last:.2f} s, of plain Deployments after {floor:.2f} s: {last / floor:.2f}x",
                flush=True,
            )
            await empty(cluster)
        if asked.gemma:
            await measure_gemma(cluster, asked.gemma)
        watch.cancel()
    await kube.close()


async def measure_gemma(found: Cluster, count: int) -> None:
    """From sleeping to the first token of a real model."""
    names = [f"gemma-{number}" for number in range(count)]
    say(f"{count} endpoints of the demo's model: coming up")
    for name in names:
        await found.kube.create(gemma(name))
    await _until(found, names, "up", ASLEEP_S)
    await fall_asleep(found, names)
    took = []
    for name in names:
        took.append(await found.first_token(name))
        await asyncio.sleep(REST_S)
        await found.kube.patch(ENDPOINT, NAMESPACE, name, {"spec": {"suspend": True}})
    await asyncio.sleep(5)
    print(f"the demo's model, {count} times: sleeping to first token median {statistics.median(took):.2f} s, {min(took):.2f} to {max(took):.2f}")
    told = await stages(found, names)
    print(
        "  as the wakes' records tell (s): " + ", ".join(f"{phase} {statistics.median(seconds):.2f}" for phase, seconds in told.items()), flush=True
    )
    await empty(found)


async def empty(found: Cluster) -> None:
    """Remove endpoints and Deployments, and wait until their pods are gone."""
    for kind in (ENDPOINT, DEPLOYMENT):
        for one in await found.kube.list(Kind(kind.name, kind.api_version, kind.plural), namespace=NAMESPACE):
            await found.kube.delete(kind, NAMESPACE, one["metadata"]["name"], one["metadata"]["uid"])
    while await found.kube.list(Kind("Pod", "v1", "pods"), namespace=NAMESPACE):
        await asyncio.sleep(1)


@contextmanager
def reachable(found: Installation) -> Iterator[str]:
    """The gateway's address, with a route to the pods while this lasts."""
    (node,) = json.loads(found.kubectl("get", "nodes", "--output=json", "--selector=!kwok.x-k8s.io/node"))["items"]
    address = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
    service = json.loads(found.kubectl("get", "service", "dedicated-gateway", "--namespace=dedicated-system", "--output=json"))
    (pod,) = json.loads(found.kubectl("get", "pods", "--namespace=dedicated-system", "--selector=app.kubernetes.io/component=gateway", "-o=json"))[
        "items"
    ]
    route = [str(ip_network(f"{pod['status']['podIP']}/24", strict=False)), "via", address]
    subprocess.run(["ip", "route", "replace", *route], check=True)
    found.kubectl("create", "namespace", NAMESPACE)
    try:
        yield f"http://{address}:{service['spec']['ports'][0]['nodePort']}"
    finally:
        found.kubectl("delete", "namespace", NAMESPACE, "--wait=true", timeout_s=180)
        subprocess.run(["ip", "route", "del", *route], check=True)


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=30, help="wakes of each kind of engine (%(default)s)")
    options.add_argument("--start", type=float, nargs="*", default=[0.0, 2.0], help="seconds that the engines take to start")
    options.add_argument("--together", type=int, default=10, help="how many are woken at once; 0: none (%(default)s)")
    options.add_argument("--rounds", type=int, default=3, help="how often so (%(default)s)")
    options.add_argument("--gemma", type=int, default=10, help="wakes of the demo's real model; 0: none (%(default)s)")
    asked = options.parse_args()
    found = install(("dedicated", "stub-engine", "demo-hub", "llamacpp"))
    print(machine.described(), flush=True)
    with reachable(found) as gateway:
        asyncio.run(measure(asked, found, gateway))


if __name__ == "__main__":
    main()
