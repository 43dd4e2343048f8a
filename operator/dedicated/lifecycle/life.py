"""
The whole decision: asleep or awake, then whether to sleep, then the handover before anything that serves is taken away.

Each part has its table: sleep.py, decide.py, idle.py, drain.py.
"""

from __future__ import annotations

from dataclasses import replace

from dedicated.api.reasons import Reason
from dedicated.diagnosis.evidence import Finding
from dedicated.lifecycle import decide as awake
from dedicated.lifecycle.decide import MAX_MESSAGE, Decision, Life, Verb, diagnosed, say
from dedicated.lifecycle.drain import handed_over
from dedicated.lifecycle.idle import MUTE_S, idle
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.sleep import resting


def decide(seen: Observation) -> Decision:
    """What to do next."""
    if seen.deleting:
        return awake.decide(seen)
    found = resting(seen)
    if found is not None:
        return _wake_lost(seen, found) if found.drain else handed_over(seen, found)
    found = awake.decide(seen)
    if not _may_sleep(seen, found):
        return handed_over(seen, found)
    if seen.load is not None and seen.load.mute_s >= MUTE_S:
        return handed_over(seen, _mute(seen, found))
    verdict = idle(seen)
    if verdict.sleep:
        return handed_over(seen, _asleep(found), found)
    later = [at for at in (found.look_again_at, verdict.look_again_at) if at is not None]
    return handed_over(seen, replace(found, look_again_at=min(later, default=None)))


def _wake_lost(seen: Observation, found: Decision) -> Decision:
    """A wake that failed: its epoch is over at once; pods that may answer all the same go by a handover of this new one."""
    held = handed_over(seen, replace(found, drain=None))
    return held if held.drain and held.drain.epoch == (found.drain.epoch if found.drain else 0) else replace(held, drain=found.drain)


def _may_sleep(seen: Observation, found: Decision) -> bool:
    """Whether it answers, and nothing is about to change: an update that was given up changes nothing."""
    drain = seen.status.drain
    if drain is not None and drain.pods and drain.reason != Reason.NO_TRAFFIC:
        return False
    settled = found.reason is Reason.ALL_READY and found.verb is Verb.ROLL and seen.serving in (None, found.serving)
    return bool(seen.ready(found.serving)) and (settled or found.verb is Verb.STALL)


def _asleep(found: Decision) -> Decision:
    """What is put to sleep keeps its Deployments, and a failed update stays failed until somebody changes it."""
    return Decision(
        Verb.SCALE_TO, Reason.NO_TRAFFIC, say(Reason.NO_TRAFFIC), {revision: 0 for revision in found.replicas}, found.serving, life=Life.ASLEEP
    )


def _mute(seen: Observation, found: Decision) -> Decision:
    """An engine that does not even tell its load is no idle engine: it is started anew."""
    message = f"The engine has not answered the question for its load for {MUTE_S / 60:.0f} min."
    record = diagnosed(seen, Finding(Reason.ENGINE_MUTE, message, final=True, retryable=True))
    told = f"{record.message} {record.next_step}"[:MAX_MESSAGE]
    return Decision(Verb.STALL, Reason.ENGINE_MUTE, told, {revision: 0 for revision in found.replicas}, None, record)
