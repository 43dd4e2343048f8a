"""(Observation, Decision) -> the status: conditions, counts, and the phase that is derived from them."""

from __future__ import annotations

from dedicated.api import conditions, names
from dedicated.api.reasons import Reason
from dedicated.api.status import Condition, ConditionType, Diagnosis, EndpointStatus, Phase, PodStatus, Revisions
from dedicated.core.clock import from_rfc3339, rfc3339
from dedicated.lifecycle import crashes
from dedicated.lifecycle.access import accessible
from dedicated.lifecycle.decide import Decision, Life, Verb
from dedicated.lifecycle.fetched import weights_cached
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.size import within
from dedicated.lifecycle.wake import building, slept, wakes

T = ConditionType
MAX_PODS = 20
"""Pods on the status: enough to see, bounded for large replica counts."""


def report(seen: Observation, decision: Decision) -> EndpointStatus:
    """The status that tells this observation and this decision."""
    own_pods = [pod for pod in seen.pods if not pod.deleting]
    current = _conditions(seen, decision)
    timeline = building(seen, decision)
    told = EndpointStatus(
        id=names.endpoint_id(seen.uid),
        url=f"{seen.gateway_url}/api/d/{names.endpoint_id(seen.uid)}/v1" if seen.gateway_url else None,
        phase=phase(current, decision),
        observed_generation=seen.generation,
        conditions=conditions.merge(seen.status.conditions, current, now=seen.now, generation=seen.generation),
        model=seen.model or seen.status.model,
        plan=decision.plan or seen.plan or seen.status.plan,
        replicas=len(own_pods),
        ready_replicas=sum(pod.ready for pod in own_pods),
        selector=f"{names.LABEL_ENDPOINT_ID}={names.endpoint_id(seen.uid)}",
        pods=[_pod(seen, index) for index in range(min(len(seen.pods), MAX_PODS))],
        revisions=Revisions(serving=decision.serving, target=seen.target) if decision.serving or seen.target else None,
        diagnosis=crashes.remembered(seen, _diagnosis(seen, decision)),
        drain=decision.drain or seen.status.drain,
        timeline=timeline,
        wake=wakes(seen, decision, timeline),
        sleep=slept(seen, decision),
    )
    return within(told.model_copy(update={"last_activity_time": _last_activity(seen, told)}))


ACTIVITY_EACH_S = 300.0
"""How often the time of the last call is told where nothing else is. (seconds)"""


def _last_activity(seen: Observation, told: EndpointStatus) -> str | None:
    """The last call, told at transitions and every now and then: the Lease has it to the second."""
    before, at = seen.status.last_activity_time, seen.activity.renewed_at
    if at is None or (before and at <= from_rfc3339(before)):
        return before
    due = before is None or at - from_rfc3339(before) >= ACTIVITY_EACH_S or told.phase != seen.status.phase
    return rfc3339(at) if due else before


PLAN_REASONS = {
    Reason.DOES_NOT_FIT,
    Reason.UNSUPPORTED_ARCHITECTURE,
    Reason.UNSUPPORTED_QUANTIZATION,
    Reason.UNSUPPORTED_DTYPE,
    Reason.PARALLELISM_INVALID,
    Reason.CONTEXT_TOO_LONG,
    Reason.NO_ACCELERATOR_ALLOWED,
    Reason.PRICE_ABOVE_LIMIT,
}
_SUMMARY = {T.READY, T.RECONCILING, T.STALLED, T.ACTIVE}


def is_urgent(old: EndpointStatus, new: EndpointStatus) -> bool:
    """Whether a person or a gateway waits for this change. Names of pods and the like may wait, and mostly ride along with the next urgent one."""
    return _urgent(old) != _urgent(new)


def _urgent(status: EndpointStatus) -> object:
    # What a fetch has told is written before its engine comes up, so that each of the two is told.
    summary = [(c.type, c.status, c.reason, c.message) for c in status.conditions if c.type in (*_SUMMARY, T.WEIGHTS_CACHED)]
    handover = (status.drain.epoch, status.drain.pods, status.drain.reason) if status.drain else None
    life = (status.sleep and status.sleep.since, status.wake and status.wake.current is None)
    counted = (status.model, status.revisions, status.ready_replicas)
    return (status.phase, status.observed_generation, summary, status.diagnosis, counted, handover, life)


def phase(current: list[Condition], decision: Decision) -> Phase:
    """One word for people."""
    by_type = {condition.type: condition.status == "True" for condition in current}
    if decision.reason is Reason.SUSPENDED:
        return Phase.PAUSED
    if decision.life is not Life.AWAKE:
        return Phase.WAKING if decision.life is Life.WAKING else Phase.SLEEPING
    if by_type.get(T.READY):
        return Phase.UP
    return Phase.FAILED if by_type.get(T.STALLED) else Phase.BUILDING


def _conditions(seen: Observation, decision: Decision) -> list[Condition]:
    """The contract's table, row by row."""
    if decision.life is not Life.AWAKE:
        return _resting(seen, decision)
    answers = bool(seen.ready(decision.serving)) and decision.reason is not Reason.SUSPENDED
    stalled = decision.verb is Verb.STALL
    reason, message = decision.reason, decision.message
    ready_reason, ready_message = reason, message
    if answers and stalled:
        ready_reason, ready_message = Reason.UPDATE_FAILED, f"Revision {decision.serving} still serves; the update failed: {message}"[:1024]
    elif answers and reason is Reason.ALL_READY and crashes.is_flapping(seen):
        ready_reason, ready_message = Reason.CRASH_LOOP, crashes.words(seen)
    found = [_condition(T.READY, answers, ready_reason, ready_message), _condition(T.ACTIVE, answers, ready_reason, "")]
    if stalled:
        found.append(_condition(T.STALLED, True, reason, message))
    elif reason not in (Reason.ALL_READY, Reason.SUSPENDED):
        found.append(_condition(T.RECONCILING, True, reason, message))
    return found + _facts(seen, answers, reason)


def _resting(seen: Observation, decision: Decision) -> list[Condition]:
    """Asleep or waking: Ready, since a call wakes it, but for a wake that has just failed; never Reconciling: GitOps has nothing to wait for."""
    ready = decision.reason is not Reason.WAKE_FAILED
    found = [_condition(T.READY, ready, decision.reason, decision.message), _condition(T.ACTIVE, False, decision.reason, "")]
    return found + _facts(seen, False, decision.reason)


def _facts(seen: Observation, answers: bool, reason: Reason) -> list[Condition]:
    """What is known besides the summary."""
    found = _planned(seen)
    if seen.spec.model:
        found.append(accessible(seen, answers, reason))
        if (cached := weights_cached(seen)) is not None:
            found.append(cached)
    if seen.pods:
        placed = {pod.scheduled for pod in seen.pods}
        if None not in placed:
            found.append(_condition(T.SCHEDULED, False not in placed, reason if False in placed else Reason.ALL_READY, ""))
        found.append(_condition(T.ENGINE_READY, answers, Reason.ALL_READY if answers else reason, ""))
    return found


def _planned(seen: Observation) -> list[Condition]:
    """Which hardware was chosen, or why none can be."""
    if seen.problem is not None and seen.problem.reason in PLAN_REASONS:
        return [_condition(T.PLANNED, False, seen.problem.reason, f"{seen.problem.message} {seen.problem.next_step}"[:1024])]
    plan = seen.plan
    if plan is None or plan.accelerator is None:
        return []
    return [_condition(T.PLANNED, True, Reason.ALL_READY, plan.message or f"{plan.count or 0} x {plan.accelerator}.")]


def _condition(kind: ConditionType, value: bool, reason: Reason, message: str) -> Condition:
    return Condition(type=kind, status="True" if value else "False", reason=reason, message=message)


def _pod(seen: Observation, index: int) -> PodStatus:
    pod = seen.pods[index]
    return PodStatus(name=pod.name, node=pod.node, address=pod.address, ready=pod.ready, revision=pod.revision)


def _diagnosis(seen: Observation, decision: Decision) -> Diagnosis | None:
    """The new one; else the old one for as long as the same thing is tried again, or an update that failed must not be tried by a mere resume."""
    old = seen.status.diagnosis
    if decision.diagnosis or old is None:
        return decision.diagnosis
    if decision.life is Life.ASLEEP:
        # A failed update: what is asleep is woken by any call, and the update is not tried by that.
        return old.model_copy(update={"next_attempt_at": None}) if old.inputs_hash == seen.inputs_hash else None
    failed_update = decision.serving not in (None, seen.target)
    kept = failed_update if decision.reason is Reason.SUSPENDED else decision.reason is not Reason.ALL_READY
    return old if kept and old.inputs_hash == seen.inputs_hash else None
