"""What the gateway answers itself: models, one endpoint's state, recorded logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from dedicated.api.endpointlog import KIND, EndpointLogSpec, unpacked
from dedicated.core.clock import from_rfc3339
from dedicated.gateway.access import not_now
from dedicated.gateway.standing import State
from dedicated.gateway.table import Endpoint, Table

Json = dict[str, Any]


def models(owner: str, table: Table) -> Json:
    """What a caller may name as model: own endpoints by id, and the catalogue by display name, in the form of OpenAI's API."""
    own = [_model(endpoint.id, endpoint) for endpoint in table.owned_by(owner)]
    shared = [_model(name, endpoint) for name, endpoint in table.catalogue()]
    return {"object": "list", "data": own + shared}


def _model(name: str, endpoint: Endpoint) -> Json:
    created = int(from_rfc3339(endpoint.created)) if endpoint.created else 0
    return {"id": name, "object": "model", "created": created, "owned_by": endpoint.owner}


def endpoint_status(endpoint: Endpoint, now: float) -> Json:
    """State, plan, reason and expected wait of one endpoint. (now: seconds since the epoch)"""
    details = orjson.loads(endpoint.details)
    details.pop("diagnosis", None)
    found = {
        "id": endpoint.id,
        "name": endpoint.name,
        "namespace": endpoint.namespace,
        "state": endpoint.standing.state.value,
        "reason": endpoint.standing.reason or None,
        "retryAfterSeconds": None if endpoint.standing.state is State.UP else not_now(endpoint, now).retry_after_s,
        "expectedSeconds": endpoint.expected_s,
        "nextAttemptAt": endpoint.next_attempt_at,
        **details,
    }
    return {name: value for name, value in found.items() if value is not None}


def logs(endpoint: Endpoint, recorded: Sequence[EndpointLogSpec]) -> Json:
    """Recorded log tails, the last failure first; where none could be recorded or read, the few lines that are on the status."""
    entries = [_recorded(one) for one in recorded] or _of_status(endpoint)
    return {"id": endpoint.id, "logs": [{name: value for name, value in entry.items() if value is not None} for entry in entries]}


def _recorded(one: EndpointLogSpec) -> Json:
    try:
        text = unpacked(one.text)
    except ValueError as wrong:
        text = str(wrong)
    return {**one.to_dict(), "encoding": None, "text": text, "source": KIND}


def _of_status(endpoint: Endpoint) -> list[Json]:
    """The last lines of the container that failed last."""
    diagnosis = orjson.loads(endpoint.details).get("diagnosis") or {}
    if not diagnosis.get("logTail"):
        return []
    entry = {"container": diagnosis.get("container"), "exitCode": diagnosis.get("exitCode"), "attempt": diagnosis.get("attempts")}
    return [entry | {"endedAt": diagnosis.get("observedAt"), "text": diagnosis["logTail"], "source": "status.diagnosis.logTail"}]
