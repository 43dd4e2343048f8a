"""What an engine says of its own requests: running and queued, from its /metrics."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable

import httpx

from dedicated.api.endpoint import EngineKind
from dedicated.diagnosis.evidence import PodFacts
from dedicated.lifecycle.observation import Load

TIMEOUT_S = 2.0
PORTS = {EngineKind.VLLM: 8000, EngineKind.SGLANG: 30000, EngineKind.LLAMACPP: 8080}
"""Where each kind listens (render/engines.py)."""
METRICS = {
    EngineKind.VLLM: ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    EngineKind.SGLANG: ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    EngineKind.LLAMACPP: ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
}
"""Gauges of vllm/v1/metrics/loggers.py, sglang/srt/observability/metrics_collector.py, llama.cpp tools/server (--metrics)."""


class EngineLoads:
    """Asks engines, and remembers since when one has not answered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mute_since: dict[str, float] = {}

    async def ask(self, kind: EngineKind, key: str, pods: Iterable[PodFacts]) -> Load:
        """The load of these replicas together."""
        found = list(pods)
        async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False, headers={"Authorization": f"Bearer {key}"}) as client:
            said = await asyncio.gather(*(self._one(client, kind, pod) for pod in found))
        mute_s = max((self._mute_s(pod.name, answer is None) for pod, answer in zip(found, said, strict=True)), default=0.0)
        told = [answer for answer in said if answer is not None]
        return Load(sum(told) if len(told) == len(said) and told else None, mute_s)

    def _mute_s(self, pod: str, mute: bool) -> float:
        if not mute:
            self._mute_since.pop(pod, None)
            return 0.0
        now = self._clock()
        if len(self._mute_since) > 10_000:
            self._mute_since.clear()
        return now - self._mute_since.setdefault(pod, now)

    async def _one(self, client: httpx.AsyncClient, kind: EngineKind, pod: PodFacts) -> int | None:
        if pod.address is None:
            return None
        host = f"[{pod.address}]" if ":" in pod.address else pod.address
        try:
            answer = await client.get(f"http://{host}:{PORTS[kind]}/metrics")
        except httpx.HTTPError:
            return None
        return requests(kind, answer.text) if answer.status_code == 200 else None


def requests(kind: EngineKind, text: str) -> int | None:
    """Running and queued requests by a /metrics page; None where the page does not tell both."""
    sums = [_sum(name, text) for name in METRICS[kind]]
    return None if any(one is None for one in sums) else round(sum(one or 0.0 for one in sums))


def _sum(name: str, text: str) -> float | None:
    found = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})?[ \t]+([0-9.eE+-]+)", text, re.MULTILINE)
    try:
        return sum(map(float, found)) if found else None
    except ValueError:
        return None
