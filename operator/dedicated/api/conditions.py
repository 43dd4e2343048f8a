"""The merge rule of conditions: `lastTransitionTime` moves only when `status` does."""

from __future__ import annotations

from collections.abc import Iterable

from dedicated.api.status import Condition, ConditionType
from dedicated.core.clock import rfc3339


def merge(old: Iterable[Condition], new: Iterable[Condition], *, now: float, generation: int) -> list[Condition]:
    """The new conditions, each with the transition time it deserves. (now: seconds since the epoch)"""
    before = {condition.type: condition for condition in old}
    told_at = rfc3339(now)
    return [_stamped(condition, before.get(condition.type), told_at, generation) for condition in new]


def _stamped(condition: Condition, before: Condition | None, now: str, generation: int) -> Condition:
    unchanged = before is not None and before.status == condition.status and before.last_transition_time
    return condition.model_copy(
        update={
            "observed_generation": generation,
            "last_transition_time": before.last_transition_time if before is not None and unchanged else now,
        }
    )


def find(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """The condition of this type, if it is present."""
    return next((condition for condition in conditions if condition.type == kind), None)
