"""What is worth an Event: a change of phase, or another reason to stand still. Told in the past tense, once."""

from __future__ import annotations

from dataclasses import dataclass

from dedicated.api.conditions import find
from dedicated.api.reasons import Reason
from dedicated.api.status import ConditionType, Diagnosis, EndpointStatus, Phase


@dataclass(frozen=True)
class Transition:
    """From one phase to another, or from one reason of standing still to another."""

    before: Phase
    after: Phase
    reason: str
    message: str
    warning: bool


def is_news(old: Diagnosis | None, new: Diagnosis | None) -> bool:
    """Whether a failure was diagnosed that the status did not tell yet."""
    if new is None:
        return False
    return old is None or (old.reason, old.observed_at, old.inputs_hash) != (new.reason, new.observed_at, new.inputs_hash)


_TOLD: dict[Phase, str] = {
    Phase.BUILDING: "Started building",
    Phase.UP: "Came up",
    Phase.FAILED: "Failed",
    Phase.SLEEPING: "Went to sleep",
    Phase.WAKING: "Started waking",
    Phase.PAUSED: "Was paused",
}


def transition(old: EndpointStatus, new: EndpointStatus) -> Transition | None:
    """The transition between two statuses; None where nothing changed that a person would want to be told, and at the first status of all."""
    if old.phase is None or new.phase is None:
        return None
    stalled_before, stalled = find(old.conditions, ConditionType.STALLED), find(new.conditions, ConditionType.STALLED)
    why_before, why = (stalled_before.reason if stalled_before else None), (stalled.reason if stalled else None)
    if old.phase == new.phase and why_before == why:
        return _of_the_cache(old, new)
    summary = stalled or find(new.conditions, ConditionType.READY)
    reason, message = (summary.reason, summary.message) if summary else (Reason.ALL_READY.value, "")
    warning = stalled is not None or reason == Reason.WAKE_FAILED
    told = "The update failed" if stalled and new.phase is Phase.UP else _TOLD[new.phase]
    return Transition(old.phase, new.phase, reason, f"{told}: {message}"[:1024] if message else f"{told}.", warning=warning)


def _of_the_cache(old: EndpointStatus, new: EndpointStatus) -> Transition | None:
    """The cache was found wrong, or could not be used."""
    before, after = (find(status.conditions, ConditionType.WEIGHTS_CACHED) for status in (old, new))
    if after is None or new.phase is None or after.reason == Reason.ALL_READY or (before and before.message == after.message):
        return None
    return Transition(new.phase, new.phase, after.reason, f"Fetched weights all the same: {after.message}"[:1024], warning=True)
