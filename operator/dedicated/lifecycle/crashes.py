"""
Crashes of an engine that serves: remembered on the status, so that one that comes back each time is not called healthy.

Theory of operation. The kubelet starts an engine again by itself and forgets its back-off after ten good minutes; a new pod forgets everything. So
the times of crashes are kept on the status for as long as they matter: an hour. Once there are three the endpoint says so while it answers, and its
diagnosis stays, with the number of attempts. It is not given up for that: it answers most of the time. Only crashes in quick succession, without
ten good minutes between them, give the hardware back (`diagnose`), each time for longer.
"""

from __future__ import annotations

from collections.abc import Sequence

from dedicated.api import names
from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.api.status import MAX_CRASHES, Diagnosis
from dedicated.core.clock import from_rfc3339, rfc3339
from dedicated.core.quantities import human_seconds
from dedicated.diagnosis.evidence import Finding, Termination
from dedicated.lifecycle.observation import Observation

REMEMBERED_S = 3600.0
"""How long an engine must serve without a crash to be called healthy again. (seconds)"""
FLAPPING = 3
"""Crashes within that time that are no accident any more."""
MAX_MESSAGE = 1024


def crash_times(seen: Observation) -> tuple[float, ...]:
    """When what serves has crashed, as far as it still matters; oldest first. (seconds since the epoch)"""
    old = seen.status.diagnosis
    known = {from_rfc3339(at) for at in old.crashes} if old and old.inputs_hash == seen.inputs_hash else set()
    serving = seen.status.revisions.serving if seen.status.revisions else None
    known |= {float(int(ended.finished_at)) for ended in _crashes(seen, serving)}
    return tuple(sorted(at for at in known if seen.now - REMEMBERED_S < at)[-MAX_CRASHES:])


def _crashes(seen: Observation, serving: str | None) -> Sequence[Termination]:
    """Ends of runs of the revision that serves; an engine that is told to go does not crash."""
    stays = [pod for pod in seen.pods if serving and pod.revision == serving and not pod.deleting]
    engines = [pod.container(names.ENGINE_CONTAINER) for pod in stays]
    return [ended for engine in engines if engine for ended in (engine.terminated, engine.last) if ended and ended.bad]


def remembered(seen: Observation, decided: Diagnosis | None) -> Diagnosis | None:
    """The diagnosis with the crashes in it; where nothing else is diagnosed, the last of them."""
    times = crash_times(seen)
    if not times or seen.spec.suspend:
        return decided
    crashes = [rfc3339(at) for at in times]
    if decided is not None:
        return decided.model_copy(update={"crashes": crashes})
    old = seen.status.diagnosis
    known = old if old and old.inputs_hash == seen.inputs_hash else None
    if known and known.crashes == crashes:
        return known.model_copy(update={"given_up": False, "next_attempt_at": None})
    return _of_crash(seen, crashes, known)


def _of_crash(seen: Observation, crashes: list[str], known: Diagnosis | None) -> Diagnosis | None:
    """A crash that is not given up: it was started again at once."""
    finding = seen.finding if seen.finding and seen.finding.exit_code is not None else None
    if finding is None and known:
        return known.model_copy(update={"given_up": False, "next_attempt_at": None, "crashes": crashes})
    finding = finding or Finding(Reason.ENGINE_EXITED, CATALOGUE[Reason.ENGINE_EXITED].sentence, final=False, retryable=True)
    return Diagnosis(
        reason=finding.reason,
        message=finding.message[:MAX_MESSAGE],
        next_step=(finding.next_step or CATALOGUE[finding.reason].next_step)[:512],
        retryable=True,
        evidence=[line[:512] for line in finding.evidence],
        container=finding.container,
        exit_code=finding.exit_code,
        log_tail=finding.log_tail or None,
        attempts=known.attempts if known else 1,
        observed_at=crashes[-1],
        inputs_hash=seen.inputs_hash,
        given_up=False,
        crashes=crashes,
    )


def is_flapping(seen: Observation) -> bool:
    """Whether what serves crashes again and again."""
    return len(crash_times(seen)) >= FLAPPING


def words(seen: Observation) -> str:
    """What is said of an endpoint that answers and crashes again and again."""
    times, old = crash_times(seen), seen.status.diagnosis
    why = f" The last cause: {old.message}" if old and old.message else ""
    return f"It answers, but has crashed {len(times)} times in the last {human_seconds(seen.now - times[0])}.{why}"[:MAX_MESSAGE]
