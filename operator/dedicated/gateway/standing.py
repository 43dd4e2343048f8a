"""
How an endpoint stands, read from its conditions alone: the contract's table, backwards. `status.phase` is for people.

| Ready | Active | Stalled | reason of | state |
|---|---|---|---|---|
| True | True | - | - | up |
| True | False | - | Active: Waking | waking |
| True | False | - | - | sleeping |
| False | - | - | Ready: Suspended | paused |
| False | - | - | Ready: WakeFailed | sleeping |
| False | - | True | - | failed |
| False or absent | - | - | - | building |
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

SUSPENDED, WAKING, WAKE_FAILED = "Suspended", "Waking", "WakeFailed"


class State(StrEnum):
    """What a caller meets."""

    UP = "up"
    BUILDING = "building"
    SLEEPING = "sleeping"
    WAKING = "waking"
    FAILED = "failed"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Standing:
    """The state, and the reason that the conditions give for it."""

    state: State
    reason: str


def standing(conditions: Iterable[dict[str, Any]]) -> Standing:
    """The state that conditions tell."""
    by_type = {condition.get("type"): condition for condition in conditions}
    ready, active = by_type.get("Ready", {}), by_type.get("Active", {})
    reason = str(ready.get("reason") or "")
    if ready.get("status") == "True":
        return _answering(active, reason)
    if reason == SUSPENDED:
        return Standing(State.PAUSED, reason)
    if reason == WAKE_FAILED:
        return Standing(State.SLEEPING, reason)
    stalled = by_type.get("Stalled", {}).get("status") == "True"
    return Standing(State.FAILED if stalled else State.BUILDING, reason)


def _answering(active: dict[str, Any], reason: str) -> Standing:
    if active.get("status") == "True":
        return Standing(State.UP, reason)
    why = str(active.get("reason") or "")
    return Standing(State.WAKING if why == WAKING else State.SLEEPING, why)
