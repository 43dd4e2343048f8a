"""Logs of a pod in trouble: of the run that failed, or of the one that hangs; and of the run before, where that one tells nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dedicated.adapters.kube import KubeApi
from dedicated.diagnosis.diagnose import tells_nothing, wants_log
from dedicated.diagnosis.evidence import ContainerFacts, ContainerLog, Limits, PodFacts
from dedicated.diagnosis.progress import stamped

P = ParamSpec("P")
T = TypeVar("T")
_one = asyncio.Semaphore(1)


async def beside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what takes a log's length beside everybody else's passes, one at a time."""
    async with _one:
        return await asyncio.to_thread(work, *args, **kwargs)


async def logs_of(kube: KubeApi, namespace: str, pod: PodFacts, limits: Limits, now: float) -> dict[str, ContainerLog]:
    """By container, of those whose log tells something about a failure."""
    return {found.name: await _log(kube, namespace, pod.name, found, limits, now) for found in pod.containers if wants_log(found, limits, now)}


async def _log(kube: KubeApi, namespace: str, pod: str, found: ContainerFacts, limits: Limits, now: float) -> ContainerLog:
    if found.running_since is not None and now - found.running_since >= limits.startup_s and not found.started:
        text, progressed_at = await beside(stamped, await kube.logs(namespace, pod, found.name, previous=False, timestamps=True))
        return ContainerLog(text, progressed_at=progressed_at)
    failed_now = found.terminated is not None and found.terminated is found.failure
    tail = await kube.logs(namespace, pod, found.name, previous=not failed_now)
    if failed_now and found.last and await beside(tells_nothing, tail):
        return ContainerLog(tail, earlier=await kube.logs(namespace, pod, found.name, previous=True))
    return ContainerLog(tail)
