"""A status stays small whatever the world says: what matters least goes first."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

from dedicated.api.status import Condition, Diagnosis, EndpointStatus, Plan

MAX_STATUS = 16 * 1024
"""Bytes of a status, as the API server stores it."""
FEW = 5
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SHORT = 256


def within(status: EndpointStatus, limit: int = MAX_STATUS) -> EndpointStatus:
    """The status, cut down as far as it must be: pods, rejected classes, evidence, the log tail, and at last the messages. (limit: bytes)"""
    if (
        status.diagnosis is None
        and len(status.pods) <= FEW
        and len(status.conditions) < FEW * 2
        and (status.plan is None or not status.plan.rejected)
    ):
        return status  # nothing in it is long
    for cut in (status, *_smaller(status)):
        if _bytes(cut) <= limit:
            return cut
    return cut


def _bytes(status: EndpointStatus) -> int:
    return len(json.dumps(status.to_dict(), ensure_ascii=False, separators=(",", ":")).encode(errors="replace"))


def _smaller(status: EndpointStatus) -> Iterator[EndpointStatus]:
    for step in (_fewer_pods, _fewer_rejected, _less_evidence, _shorter_tail, _short_messages):
        status = step(status)
        yield status


def _fewer_pods(status: EndpointStatus) -> EndpointStatus:
    return status.model_copy(update={"pods": status.pods[:FEW]})


def _fewer_rejected(status: EndpointStatus) -> EndpointStatus:
    def fewer(plan: Plan) -> Plan:
        return plan.model_copy(update={"rejected": plan.rejected[:FEW]})

    return status.model_copy(update={"plan": fewer(status.plan)}) if status.plan else status


def _diagnosed(status: EndpointStatus, change: Callable[[Diagnosis], dict[str, object]]) -> EndpointStatus:
    found = status.diagnosis
    return status.model_copy(update={"diagnosis": found.model_copy(update=change(found))}) if found else status


def _less_evidence(status: EndpointStatus) -> EndpointStatus:
    return _diagnosed(status, lambda found: {"evidence": [line[:SHORT] for line in found.evidence[:2]]})


def _shorter_tail(status: EndpointStatus) -> EndpointStatus:
    return _diagnosed(status, lambda found: {"log_tail": found.log_tail[-SHORT:] if found.log_tail else None})


def _short_messages(status: EndpointStatus) -> EndpointStatus:
    def short(one: Condition) -> Condition:
        return one.model_copy(update={"message": _middle_out(one.message)})

    status = status.model_copy(update={"conditions": [short(one) for one in status.conditions]})
    if status.plan:
        status = status.model_copy(update={"plan": status.plan.model_copy(update={"message": _middle_out(status.plan.message)})})
    return _diagnosed(status, lambda found: {"message": _middle_out(found.message)})


def _middle_out(text: str) -> str:
    """The beginning and the end, where the next step stands, in few bytes."""
    raw = _CONTROL.sub("", text).encode(errors="replace")
    if len(raw) <= 2 * SHORT:
        return raw.decode()
    return f"{raw[:SHORT].decode(errors='ignore')} ... {raw[5 - SHORT :].decode(errors='ignore')}"
