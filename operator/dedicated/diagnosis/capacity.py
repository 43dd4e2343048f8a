"""Why a pod has no node: it waits in a queue, a node is coming, or there is no room."""

from __future__ import annotations

from dedicated.api.reasons import Reason
from dedicated.core.quantities import human_seconds
from dedicated.diagnosis.evidence import EventFacts, Finding, Limits, PodFacts
from dedicated.diagnosis.words import first_sentence

_COMING = {"TriggeredScaleUp", "Nominated"}
"""Events by which a provisioner says that it adds a node: cluster-autoscaler (core/scaleup), Karpenter (pkg/controllers/provisioning/scheduling)."""
_NOT_COMING = {"NotTriggerScaleUp"}
"""cluster-autoscaler says so when it looks again and finds nothing that it could add."""


def no_room(pod: PodFacts, limits: Limits, now: float) -> Finding | None:
    """No node takes the pod: waiting until the placement deadline, then given up. Another class is worth a try before that."""
    if pod.gated:
        return Finding(Reason.QUEUED, f"Pod {pod.name} waits for its turn in the queue.", final=False, retryable=True)
    if pod.scheduled is not False:
        return None
    coming = _coming(pod)
    waited_s, deadline_s = now - pod.created_at, placement_s(pod, limits)
    said = first_sentence(f"{coming.reason}: {coming.message}" if coming else pod.unschedulable_message)
    final = waited_s >= deadline_s
    patience = "given up after" if final else "waiting up to"
    begins = f"A node is coming for pod {pod.name}" if coming else f"No node has room for pod {pod.name}"
    return Finding(
        Reason.NODE_COMING if coming and not final else Reason.NO_CAPACITY,
        f"{begins} ({patience} {human_seconds(deadline_s)}): {said}",
        final=final,
        retryable=True,
        evidence=(said,),
        elsewhere=waited_s >= class_s(pod, limits),
    )


def _coming(pod: PodFacts) -> EventFacts | None:
    """What a provisioner said last, where it said that a node is coming."""
    told = [event for event in pod.events if event.reason in _COMING | _NOT_COMING]
    return told[-1] if told and told[-1].reason in _COMING else None


def class_s(pod: PodFacts, limits: Limits) -> float:
    """How long the pod may wait before another class of accelerator is tried. (seconds)"""
    return limits.coming_s if _coming(pod) else limits.capacity_s


def placement_s(pod: PodFacts, limits: Limits) -> float:
    """How long the pod may wait at all. (seconds)"""
    return max(limits.placement_s, limits.coming_s) if _coming(pod) else limits.placement_s
