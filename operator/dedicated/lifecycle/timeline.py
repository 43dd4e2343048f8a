"""
Where the time of a start goes: phases of one pod, with seconds, from its conditions and container states.

| phase    | from                          | to                          |
|----------|-------------------------------|-----------------------------|
| schedule | the pod is made               | a node takes it             |
| node     | the same, where a node had to be added                      ||
| image    | a node takes it               | its containers start, less the fetch between them |
| fetch    | the fetch starts              | it ends; bytes, and where they came from, as it has told |
| load     | the engine starts             | it is healthy for the first time |

The kubelet tells whole seconds, so a phase may be a second off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from dedicated.api.names import ENGINE_CONTAINER, FETCH_CONTAINER
from dedicated.api.reasons import Reason
from dedicated.api.status import PhaseTiming
from dedicated.core.clock import rfc3339
from dedicated.diagnosis.evidence import PodFacts
from dedicated.lifecycle.fetched import fetch_of
from dedicated.lifecycle.observation import Observation

Name = Literal["schedule", "node", "image", "fetch", "load"]


def phases(seen: Observation, revision: str | None, before: Sequence[PhaseTiming]) -> list[PhaseTiming]:
    """Phases of the replica that is furthest. (before: what was told of the same start, so that a node that was waited for is remembered)"""
    pods = [pod for pod in seen.pods if pod.revision == revision and not pod.deleting]
    if not pods:
        return []
    pod = min(pods, key=lambda one: (one.ready_at is None, one.ready_at or 0.0, one.scheduled_at is None, one.created_at, one.name))
    made = rfc3339(pod.created_at)
    coming = seen.finding is not None and seen.finding.reason is Reason.NODE_COMING
    came = any(one.phase == "node" and one.started_at == made for one in before)
    return list(_of(pod, "node" if coming or came else "schedule", seen.model.weight_bytes if seen.model else None))


def _of(pod: PodFacts, first: Name, weight_bytes: int | None) -> Iterator[PhaseTiming]:
    yield _phase(first, pod.created_at, pod.scheduled_at)
    if pod.scheduled_at is None:
        return
    fetch_from, fetch_to = _fetch(pod)
    engine = pod.container(ENGINE_CONTAINER)
    loads_from = engine.running_since if engine else None
    fetched_s = (fetch_to - fetch_from) if fetch_from is not None and fetch_to is not None else 0.0
    yield _phase("image", pod.scheduled_at, None if loads_from is None else max(pod.scheduled_at, loads_from - fetched_s))
    if fetch_from is not None:
        told = fetch_of(pod)
        yield _phase("fetch", fetch_from, fetch_to, told[0].bytes if told else weight_bytes, told[0].tier if told else None)
    if loads_from is not None:
        yield _phase("load", loads_from, pod.ready_at)


def _fetch(pod: PodFacts) -> tuple[float | None, float | None]:
    found = pod.container(FETCH_CONTAINER)
    if found is None:
        return None, None
    if found.terminated is not None:
        return found.terminated.started_at, found.terminated.finished_at
    return found.running_since, None


def _phase(name: Name, began: float, ended: float | None, moved: int | None = None, tier: str | None = None) -> PhaseTiming:
    seconds = None if ended is None else max(0.0, ended - began)
    return PhaseTiming(phase=name, started_at=rfc3339(began), seconds=seconds, bytes=moved, tier=tier)
