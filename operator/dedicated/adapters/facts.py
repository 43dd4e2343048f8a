"""Kubernetes objects (plain dicts) -> facts. The only place that knows where a Pod keeps what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dedicated.api.names import LABEL_REVISION
from dedicated.core.clock import from_rfc3339
from dedicated.diagnosis.evidence import ContainerFacts, ContainerLog, EventFacts, PodFacts, Termination
from dedicated.lifecycle.observation import Workload

Manifest = dict[str, Any]


def workload(deployment: Manifest) -> Workload:
    """Facts of one revision's Deployment."""
    status, meta = deployment.get("status", {}), deployment["metadata"]
    failed = _condition(status, "ReplicaFailure")
    refused = failed.get("message", "") if failed.get("status") == "True" else ""
    return Workload(
        revision=meta["labels"].get(LABEL_REVISION, ""),
        replicas=deployment["spec"].get("replicas", 1),
        created_at=_time(meta.get("creationTimestamp")) or 0.0,
        refused=refused if deployment["spec"].get("replicas", 1) else "",
    )


def pod(obj: Manifest, logs: Mapping[str, ContainerLog] | None = None, events: tuple[EventFacts, ...] = ()) -> PodFacts:
    """Facts of one pod, with the log tails of its containers by name and its events, where they were asked for."""
    meta, status = obj["metadata"], obj.get("status", {})
    scheduled, disrupted = _condition(status, "PodScheduled"), _condition(status, "DisruptionTarget")
    ready = _condition(status, "Ready")
    placed = {"True": True, "False": False}.get(scheduled.get("status", ""))
    gated = scheduled.get("reason") == "SchedulingGated"
    placed = None if gated else placed
    return PodFacts(
        name=meta["name"],
        revision=(meta.get("labels") or {}).get(LABEL_REVISION, ""),
        created_at=_time(meta.get("creationTimestamp")) or 0.0,
        phase=status.get("phase", "Pending"),
        node=obj.get("spec", {}).get("nodeName"),
        address=status.get("podIP"),
        ready=ready.get("status") == "True",
        ready_at=_time(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None,
        deleting="deletionTimestamp" in meta or status.get("phase") in ("Failed", "Succeeded"),
        scheduled=placed,
        scheduled_at=_time(scheduled.get("lastTransitionTime")) if placed else None,
        gated=gated,
        unschedulable_message=scheduled.get("message", "") if placed is False else "",
        reason=status.get("reason") or disrupted.get("reason", ""),
        message=status.get("message") or disrupted.get("message", ""),
        containers=_containers(status, logs or {}),
        events=events,
    )


def has_failed(obj: Manifest) -> bool:
    """Whether a container of a pod is not ready and has failed before."""
    status = obj.get("status", {})
    found = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    ended = [(one.get(key) or {}).get("terminated") or {} for one in found if not one.get("ready") for key in ("state", "lastState")]
    return any(one.get("exitCode") or one.get("reason") == "OOMKilled" for one in ended)


def node_silent_since(node: Manifest | None) -> float | None:
    """Since when a node is not ready; None while it is, or where nobody knows. (seconds since the epoch)"""
    if node is None:
        return None
    ready = _condition(node.get("status", {}), "Ready")
    return None if ready.get("status") in ("True", None) else _time(ready.get("lastTransitionTime")) or 0.0


def loose_pod(obj: Any, told: tuple[EventFacts, ...] = ()) -> PodFacts:
    """Facts of what a person pasted: a Pod, a list with one, its status, or a part of that. Raises ValueError with what it should have been."""
    if isinstance(obj, dict) and isinstance(obj.get("items"), list) and obj["items"]:
        obj = obj["items"][0]
    if not isinstance(obj, dict):
        raise ValueError("it holds no object; a Pod, its status or its containerStatuses is needed")
    status = obj["status"] if isinstance(obj.get("status"), dict) else obj
    for key in ("containerStatuses", "initContainerStatuses", "conditions"):
        if not _objects(status.get(key)):
            raise ValueError(f"{key} is no list of objects")
    for found in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        if not all(_states(found.get(key)) for key in ("state", "lastState")):
            raise ValueError(f"the state of container {found.get('name', '')} is no object")
    meta = obj["metadata"] if isinstance(obj.get("metadata"), dict) else {}
    return pod({**obj, "metadata": {"name": "", **meta}, "status": status}, events=told)


def _objects(found: Any) -> bool:
    return found is None or (isinstance(found, list) and all(isinstance(item, dict) for item in found))


def _states(found: Any) -> bool:
    return found is None or (isinstance(found, dict) and all(isinstance(state, dict) for state in found.values()))


def _containers(status: Manifest, logs: Mapping[str, ContainerLog]) -> tuple[ContainerFacts, ...]:
    first = [(True, found) for found in status.get("initContainerStatuses") or []]
    then = [(False, found) for found in status.get("containerStatuses") or []]
    return tuple(_container(found, init, logs.get(found.get("name", ""), ContainerLog())) for init, found in first + then)


def _container(found: Manifest, init: bool, log: ContainerLog) -> ContainerFacts:
    state, waiting = found.get("state") or {}, (found.get("state") or {}).get("waiting") or {}
    return ContainerFacts(
        name=found.get("name", ""),
        init=init,
        started=bool(found.get("started")),
        ready=bool(found.get("ready")),
        restarts=found.get("restartCount", 0),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        running_since=_time((state.get("running") or {}).get("startedAt")),
        terminated=_termination(state),
        last=_termination(found.get("lastState") or {}),
        log_tail=log.tail,
        earlier_log=log.earlier,
        progressed_at=log.progressed_at,
    )


def _termination(state: Manifest) -> Termination | None:
    ended = state.get("terminated")
    if not ended:
        return None
    return Termination(
        exit_code=ended.get("exitCode", 0),
        reason=ended.get("reason", ""),
        message=ended.get("message", ""),
        started_at=_time(ended.get("startedAt")) or 0.0,
        finished_at=_time(ended.get("finishedAt")) or 0.0,
    )


def event(obj: Manifest) -> EventFacts:
    """Facts of a core Event."""
    at = obj.get("lastTimestamp") or obj.get("eventTime") or (obj.get("metadata") or {}).get("creationTimestamp")
    return EventFacts(obj.get("reason") or "", obj.get("message") or obj.get("note") or "", obj.get("type") == "Warning", _time(at) or 0.0)


def events(obj: Any) -> tuple[EventFacts, ...]:
    """Facts of an EventList, of a plain list of Events, or of one Event; oldest first. Raises ValueError with what it should have been."""
    items = obj.get("items", [obj]) if isinstance(obj, dict) else obj
    if not isinstance(items, list) or not _objects(items):
        raise ValueError("it holds no list of Events")
    return tuple(sorted(map(event, items), key=lambda told: told.at))


def _condition(status: Manifest, kind: str) -> Manifest:
    return next((found for found in status.get("conditions") or [] if found.get("type") == kind), {})


def _time(text: str | None) -> float | None:
    return from_rfc3339(text) if text else None
