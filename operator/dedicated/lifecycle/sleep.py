"""
Asleep and waking: what is done while nothing is meant to answer yet. Comes before every policy of an endpoint that is awake, but deletion and pause.

| seen                                            | decision                                                  | reason      |
|-------------------------------------------------|-----------------------------------------------------------|-------------|
| asleep, nobody called, the last wake failed     | no pods                                                   | WakeFailed  |
| asleep, nobody called                           | no pods                                                   | NoTraffic   |
| asleep, called before the next attempt          | no pods; look again then                                  | WakeFailed  |
| asleep, called by the epoch of this sleep       | what served last, with all replicas                       | Waking      |
| waking, nothing answers yet                     | the same                                                  | Waking      |
| waking, a replica answers                       | none: it is up, and the other policies go on              | -           |
| waking, a cause that may pass                   | no pods; a new epoch, so that only a later call wakes it  | WakeFailed  |
| waking, no room in time                         | the same                                                  | WakeFailed  |
| waking, a cause that stays; access refused      | failed                                                    | the cause's |

A changed spec waits for the wake: that starts what served last, and then the update begins.
"""

from __future__ import annotations

from dedicated.api.errors import Stalled
from dedicated.api.messages import waking_up
from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.api.status import Drain
from dedicated.core.clock import from_rfc3339, precise, rfc3339
from dedicated.diagnosis.evidence import Finding
from dedicated.lifecycle.access_reasons import SOURCE_REASONS
from dedicated.lifecycle.decide import MAX_MESSAGE, Decision, Life, Verb, attempt_number, diagnosed, say
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.retries import wait_s

MOST_GONE = 32
"""Names of pods that have gone, on the status."""
STAYS_S = 10.0
"""A pod that is still there so long after its Deployment was scaled up again was never removed. (seconds)"""
ROOM = (Reason.NO_CAPACITY, Reason.NODE_COMING)


def rests(seen: Observation) -> bool:
    """Whether it is asleep or wakes: by the status; or it has just been scaled to zero and nobody has told yet."""
    if seen.deleting or seen.spec.suspend:
        return False
    sleep, wake, drain = seen.status.sleep, seen.status.wake, seen.status.drain
    if (sleep is not None and sleep.since) or (wake is not None and wake.current):
        return True
    scaled = seen.serving is not None and seen.workloads[seen.serving].replicas == 0
    return drain is not None and drain.reason == Reason.NO_TRAFFIC and scaled


def starts(seen: Observation) -> str | None:
    """The revision that a wake starts: what served last."""
    return seen.serving or seen.target


def is_waking(seen: Observation) -> bool:
    """Whether somebody wants it awake, and it may be tried."""
    wake, drain = seen.status.wake, seen.status.drain
    if wake is not None and wake.current:
        return True
    asked = drain is not None and seen.activity.wake == drain.epoch
    due = next_attempt_at(seen)
    return asked and (due is None or seen.now >= due)


def next_attempt_at(seen: Observation) -> float | None:
    """Before which no call wakes it, since the last wake failed."""
    diagnosis, wake = seen.status.diagnosis, seen.status.wake
    failed = wake is not None and wake.last is not None and wake.last.succeeded is False
    return from_rfc3339(diagnosis.next_attempt_at) if failed and diagnosis and diagnosis.next_attempt_at else None


def resting(seen: Observation) -> Decision | None:
    """Asleep or waking; None where it is neither, or where a wake has succeeded."""
    if not rests(seen):
        return None
    revision = starts(seen)
    if not is_waking(seen):
        return _asleep(seen, revision)
    finding = _lost(seen)
    if finding is not None:
        return _failed(seen, revision, finding)
    if revision is None or _answers(seen, revision):
        return None
    wake = seen.status.wake
    message = waking_up(wake.expected_seconds if wake else None)
    return Decision(
        Verb.ROLL,
        Reason.WAKING,
        message,
        {**_none(seen), revision: seen.spec.replicas},
        revision,
        look_again_at=min(seen.deadline or seen.now + STAYS_S, seen.now + STAYS_S),
        life=Life.WAKING,
    )


def _answers(seen: Observation, revision: str) -> bool:
    """Whether a replica of the wake answers. One that was told to go may still look ready: it counts only once it has plainly stayed."""
    drain, wake = seen.status.drain or Drain(), seen.status.wake
    begun = from_rfc3339(wake.current.started_at) if wake and wake.current else seen.now
    told_to_go = {*drain.pods, *drain.gone} if seen.now - begun < STAYS_S else set()
    return any(pod.ready and not pod.deleting and pod.name not in told_to_go for pod in seen.pods if pod.revision == revision)


def _asleep(seen: Observation, revision: str | None) -> Decision:
    due, diagnosis = next_attempt_at(seen), seen.status.diagnosis
    asked = seen.status.drain is not None and seen.activity.wake == seen.status.drain.epoch
    if due is None or diagnosis is None:
        return Decision(Verb.SCALE_TO, Reason.NO_TRAFFIC, say(Reason.NO_TRAFFIC), _none(seen), revision, life=Life.ASLEEP)
    message = f"The last wake failed ({diagnosis.reason}): {diagnosis.message} {diagnosis.next_step}"[:MAX_MESSAGE]
    return Decision(Verb.SCALE_TO, Reason.WAKE_FAILED, message, _none(seen), revision, diagnosis, due if asked else None, life=Life.ASLEEP)


def _none(seen: Observation) -> dict[str, int]:
    """No pods of anything; what served last and what is wanted stay as empty Deployments."""
    return {revision: 0 for revision in (seen.serving, seen.target) if revision and (revision in seen.workloads or revision == starts(seen))}


def _lost(seen: Observation) -> Finding | None:
    """Why this wake cannot succeed."""
    if isinstance(seen.problem, Stalled) and seen.problem.reason in SOURCE_REASONS:
        return Finding(seen.problem.reason, seen.problem.message, final=True, retryable=CATALOGUE[seen.problem.reason].retryable)
    finding = seen.finding
    if finding is None:
        return None
    return finding if finding.final or (finding.reason in ROOM and finding.elsewhere) else None


def _failed(seen: Observation, revision: str | None, finding: Finding) -> Decision:
    record = diagnosed(seen, finding)
    message = f"{record.message} {record.next_step}"[:MAX_MESSAGE]
    if not finding.retryable:
        return Decision(Verb.STALL, finding.reason, message, _none(seen), None, record)
    due = rfc3339(seen.now + wait_s(finding.reason, attempt_number(seen)))
    old = seen.status.drain or Drain()
    gone = [*old.gone, *sorted(pod.name for pod in seen.pods)][-MOST_GONE:]
    return Decision(
        Verb.SCALE_TO,
        Reason.WAKE_FAILED,
        f"The wake failed ({finding.reason}): {message}"[:MAX_MESSAGE],
        _none(seen),
        revision,
        record.model_copy(update={"next_attempt_at": due}),
        life=Life.ASLEEP,
        drain=Drain(epoch=old.epoch + 1, gone=gone, reason=Reason.NO_TRAFFIC, at=precise(seen.now)),
    )
