"""Rules that every status obeys, whichever test produced it (Flux lints its conditions in the same spirit)."""

from __future__ import annotations

from dedicated.api.conditions import find
from dedicated.api.reasons import Reason
from dedicated.api.status import ConditionType, EndpointStatus

T = ConditionType


def broken_rules(status: EndpointStatus, generation: int) -> list[str]:
    """Which rules this status breaks."""
    by_type = {kind: find(status.conditions, kind) for kind in T}
    ready, stalled, reconciling = by_type[T.READY], by_type[T.STALLED], by_type[T.RECONCILING]
    is_ready = ready is not None and ready.status == "True"
    serves = status.revisions is not None and status.revisions.serving is not None
    rules = {
        "Ready is present": ready is not None,
        "Ready is not True while Stalled, but for a failed update whose old revision serves": not (stalled and is_ready and not serves),
        "at most one of Reconciling and Stalled": not (stalled and reconciling),
        "Reconciling and Stalled are present only when true": all(c is None or c.status == "True" for c in (stalled, reconciling)),
        "observedGeneration is not ahead": (status.observed_generation or 0) <= generation,
        "reasons are in the catalogue": all(c.reason in set(Reason) for c in status.conditions),
        "a stalled endpoint has a diagnosis": stalled is None or status.diagnosis is not None,
        "a Stalled message ends with the next step": not (stalled and status.diagnosis) or stalled.message.endswith(status.diagnosis.next_step[-40:]),
        "every diagnosis ends in a next step": status.diagnosis is None
        or (status.diagnosis.next_step.endswith((".", "!", "?")) and len(status.diagnosis.next_step.split()) > 1),
        "no field is null": None not in _leaves(status.to_dict()),
    }
    return [rule for rule, holds in rules.items() if not holds]


def _leaves(value: object) -> list[object]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
