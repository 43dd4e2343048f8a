"""What a log, a pod and its events prove together, without a cluster: `dedicated diagnose`. The operator's checks, without their deadlines."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.diagnosis.causes import Coarse, coarse_of
from dedicated.diagnosis.classify import Reading, read
from dedicated.diagnosis.diagnose import diagnose
from dedicated.diagnosis.evidence import ContainerFacts, EventFacts, Finding, Limits, PodFacts
from dedicated.diagnosis.explain import explain
from dedicated.diagnosis.killed import gone

FOREVER = Limits(placement_s=inf, start_s=inf, startup_s=inf, served=True)
"""Without a cluster nobody knows how long it has lasted, nor whether this revision ever served."""
_BY_A_SIGNAL = {130, 143}
"""Exit codes of a process that SIGINT or SIGTERM ended."""
_TOLD_TO_STOP = _BY_A_SIGNAL | {0, 137}
"""Those of a process that was asked to go; SIGKILL comes after the grace period."""
_ONLY_THAT_IT_ENDED = (Reason.ENGINE_EXITED, Reason.CRASH_LOOP)


@dataclass(frozen=True)
class Conclusion:
    """One cause, in words; a reason of None means that nothing failed."""

    reason: Reason | None
    coarse: Coarse
    retryable: bool = False
    message: str = "Nothing in it says that the engine failed."
    next_step: str = "Nothing to do."
    evidence: tuple[str, ...] = ()


HEALTHY = Conclusion(None, Coarse.NONE_HEALTHY)


def conclude(log: str, pod: PodFacts | None = None, events: tuple[EventFacts, ...] = ()) -> Conclusion:
    """The one cause. What the pod's state says goes before the text; the text before the bare fact that a container ended."""
    if pod is None:
        return _of_log(read(log), events)
    if _serves(pod):
        return HEALTHY
    told = gone(pod) or diagnose([_with_log(pod, log)], FOREVER, 0.0)
    if told is None:
        return _of_log(read(log, died=_back_off(pod)), events)
    reading = read(log, died=True)
    if told.reason in _ONLY_THAT_IT_ENDED and told.coarse is None and _went_as_told(pod, reading):
        return HEALTHY
    return _of_finding(told, reading)


def _of_log(reading: Reading, events: tuple[EventFacts, ...]) -> Conclusion:
    """The log's cause; where it names none, one that the events name."""
    verdict = reading.verdict
    if verdict is None or not verdict.certain:
        of_events = read("\n".join(f"{event.reason}: {event.message}" for event in events)).verdict
        verdict = of_events if of_events and of_events.certain else verdict
    if verdict is None:
        return HEALTHY
    words = explain(verdict)
    return Conclusion(verdict.cause.reason, verdict.cause.coarse, verdict.cause.retryable, words.message, words.next_step, words.evidence)


def _of_finding(told: Finding, reading: Reading) -> Conclusion:
    """Seen alone, an attempt has no history: what the log says of trying again holds."""
    from_log = reading.verdict is not None and told.coarse is reading.verdict.cause.coarse
    retryable = reading.verdict.cause.retryable if reading.verdict and from_log else told.retryable
    reason = Reason.ENGINE_EXITED if told.reason is Reason.CRASH_LOOP and from_log else told.reason
    step = told.next_step or CATALOGUE[reason].next_step
    return Conclusion(reason, told.coarse or coarse_of(told.reason), retryable, told.message, step, told.evidence)


def _serves(pod: PodFacts) -> bool:
    """Every container answers and none was ever started again: whatever the log complains of, it serves."""
    own = [container for container in pod.containers if not container.init]
    return bool(own) and all(container.ready and not container.restarts for container in own)


def _back_off(pod: PodFacts) -> bool:
    return any(container.waiting_reason == "CrashLoopBackOff" for container in pod.containers)


def _went_as_told(pod: PodFacts, reading: Reading) -> bool:
    """It was told to stop, by its log or by its exit code, and had nothing to complain of."""
    codes = {ended.exit_code for container in pod.containers if (ended := container.failure)}
    return reading.verdict is None and ((reading.stopped and codes <= _TOLD_TO_STOP) or (reading.served and codes <= _BY_A_SIGNAL))


def _with_log(pod: PodFacts, log: str) -> PodFacts:
    """The pod, its log given to the containers that failed, or to all where none says so."""
    return replace(pod, containers=tuple(_container(found, log) for found in pod.containers))


def _container(found: ContainerFacts, log: str) -> ContainerFacts:
    return found if found.init and found.failure is None else replace(found, log_tail=log)
