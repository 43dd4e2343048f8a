"""
Which logs outlive their pods: of each run that failed, and of the run with which a revision first answered.

A run that has ended never changes, so its mark says whether it was recorded; one that hangs is recorded when it is given up. Of all records of a
cluster the oldest go first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dedicated.api import names
from dedicated.api.endpointlog import MAX_TOTAL, Moment
from dedicated.api.reasons import Reason
from dedicated.diagnosis.evidence import ContainerFacts, PodFacts
from dedicated.lifecycle.decide import Decision
from dedicated.lifecycle.observation import Observation

PER_ENDPOINT = 2


@dataclass(frozen=True)
class Run:
    """One run of a container, of which the log is worth keeping. Times are seconds since the epoch; 0 where unknown."""

    moment: Moment
    pod: str
    container: str
    revision: str
    attempt: int = 1
    started_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    log: str | None = None
    """None where it has yet to be read."""

    @property
    def mark(self) -> str:
        """Names the run."""
        return f"{self.pod}/{self.container}/{self.started_at:.0f}/{self.ended_at:.0f}"


def runs_to_keep(seen: Observation, decision: Decision) -> Iterator[Run]:
    """What this pass has a reason to keep; the same again for as long as it sees the same."""
    if seen.deleting:
        return
    if failed := _failed(seen, decision):
        yield failed
    if ready := _first_ready(seen, decision):
        yield ready


def _failed(seen: Observation, decision: Decision) -> Run | None:
    finding = seen.finding
    if finding is None or finding.container is None:
        return None
    for pod in seen.pods:
        found = pod.container(finding.container)
        if found and found.log_tail and not pod.ready and (found.failure or finding.final):
            return _run(Moment.FAILED, pod, found, _attempt(seen, decision))
    return None


def _attempt(seen: Observation, decision: Decision) -> int:
    if decision.diagnosis:
        return decision.diagnosis.attempts
    old = seen.status.diagnosis
    return old.attempts + 1 if old and old.inputs_hash == seen.inputs_hash else 1


def _first_ready(seen: Observation, decision: Decision) -> Run | None:
    recorded = seen.status.revisions.serving if seen.status.revisions else None
    if decision.reason is not Reason.ALL_READY or decision.serving is None or decision.serving == recorded:
        return None
    pod = next((found for found in seen.pods if found.ready and found.revision == decision.serving), None)
    engine = pod.container(names.ENGINE_CONTAINER) if pod else None
    return _run(Moment.READY, pod, engine, _attempt(seen, decision)) if pod and engine else None


def _run(moment: Moment, pod: PodFacts, found: ContainerFacts, attempt: int) -> Run:
    ended = found.failure if moment is Moment.FAILED else None
    return Run(
        moment,
        pod.name,
        found.name,
        pod.revision,
        attempt,
        started_at=ended.started_at if ended else found.running_since or 0.0,
        ended_at=ended.finished_at if ended else 0.0,
        exit_code=ended.exit_code if ended else None,
        log=found.log_tail if moment is Moment.FAILED else None,
    )


@dataclass(frozen=True)
class Kept:
    """A record that exists. (size: bytes; at: seconds since the epoch)"""

    namespace: str
    name: str
    uid: str
    endpoint_id: str
    size: int
    at: float
    mark: str = ""


def too_many(kept: Iterable[Kept], limit: int = MAX_TOTAL) -> list[Kept]:
    """Which records go: beyond two of an endpoint, and then the oldest of all until the rest is within the limit. (bytes)"""
    of: dict[str, int] = defaultdict(int)
    total, gone = 0, list[Kept]()
    for one in sorted(kept, key=lambda found: (-found.at, found.name)):
        of[one.endpoint_id] += 1
        surplus = of[one.endpoint_id] > PER_ENDPOINT
        total += 0 if surplus else one.size
        if surplus or total > limit:
            gone.append(one)
    return gone[::-1]
