"""
Which accelerators a replica runs on: the planner's answer, narrowed to what the cluster has, and what follows where that has no room.

Theory of operation. A plan is made once for what is asked for (`Plan.inputs_hash`) and kept on the status: no restart, resync or new node changes
no plan. Classes that the cluster has, or that a provisioner could add, go before classes that it has not. Where a pod of the planned class finds no
room until the class's own deadline, the plan becomes the next one: that class is among the rejected then, so that nothing else must be remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dedicated.api import names
from dedicated.api.accelerator import AcceleratorSpec
from dedicated.api.endpoint import ANY_ACCELERATOR, CPU, EndpointSpec, EngineKind
from dedicated.api.errors import DedicatedError, DoesNotFit, NoAcceleratorAllowed, PriceAboveLimit
from dedicated.api.reasons import Reason
from dedicated.api.status import Plan, PlanMemory, RejectedClass
from dedicated.core.quantities import stable_hash
from dedicated.lifecycle.observation import Observation
from dedicated.planner.accelerators import Accelerator, accelerator_of
from dedicated.planner.answer import SizingPlan
from dedicated.planner.discovery import ClassState
from dedicated.planner.model_facts import ModelFacts
from dedicated.planner.request import PlanRequest, of_spec
from dedicated.planner.size import plan as sized

MOST_REJECTED = 16
"""Rejections on the status."""


@dataclass(frozen=True)
class Inventory:
    """The classes of a cluster, and what it has of each."""

    classes: Mapping[str, AcceleratorSpec] = field(default_factory=dict)
    states: Mapping[str, ClassState] = field(default_factory=dict)

    def exists(self, name: str) -> bool:
        """Whether there are such nodes, or a provisioner could add them."""
        return self.states.get(name, ClassState()).exists

    def accelerator(self, name: str) -> Accelerator:
        """The class as the planner sees it; where no provisioner adds nodes, no larger than the largest that there is."""
        found, state = accelerator_of(name, self.classes[name]), self.states.get(name, ClassState())
        if state.provisionable or not state.most_per_node:
            return found
        here = {count for count in found.per_node if count < state.most_per_node} | {state.most_per_node}
        return replace(found, per_node=tuple(sorted(here)))


@dataclass(frozen=True)
class Planned:
    """A plan, or why there is none. A refused plan still tells which classes were rejected."""

    plan: Plan
    problem: DedicatedError | None = None


def plan_inputs(spec: EndpointSpec, annotations: Mapping[str, str], commit: str | None) -> str:
    """Names what is planned for."""
    asked = {
        "engine": spec.engine.to_dict(),
        "hardware": spec.hardware.to_dict(),
        "commit": commit,
        "model": spec.model.to_dict() if spec.model else None,
    }
    return stable_hash({**asked, "marks": [annotations.get(mark) for mark in (names.ANNOTATION_REFRESH, names.ANNOTATION_UPDATE)]})


def is_sized(spec: EndpointSpec) -> bool:
    """Whether the model's facts matter to the plan: a custom engine's memory is its own affair."""
    return spec.model is not None and spec.engine.kind is not EngineKind.CUSTOM


def served_len(seen: Observation) -> int:
    """Context length of what serves: an endpoint never comes back with less. (tokens)"""
    serves = seen.serving is not None and seen.status.plan is not None
    return (seen.status.plan.max_model_len or 0) if serves and seen.status.plan and not seen.spec.engine.max_model_len else 0


def wants_next(seen: Observation, inventory: Inventory) -> bool:
    """Whether another plan is worth making: the planned class had no room in time; or the cluster has none of it, and room came elsewhere."""
    finding, plan = seen.finding, seen.plan
    if (
        finding is None
        or finding.reason not in (Reason.NO_CAPACITY, Reason.NODE_COMING)
        or plan is None
        or plan.accelerator in (None, ANY_ACCELERATOR)
    ):
        return False
    return (finding.elsewhere and bool(plan.alternatives)) or _other_room(seen, inventory)


def _other_room(seen: Observation, inventory: Inventory) -> bool:
    waiting = [pod for pod in seen.pods if pod.revision == seen.target and pod.scheduled is False]
    absent = seen.plan is not None and seen.plan.accelerator is not None and not inventory.exists(seen.plan.accelerator)
    return absent and any(seen.capacity_grew_at > pod.created_at for pod in waiting)


def follow(seen: Observation, inventory: Inventory) -> Plan | None:
    """The plan that a next one must differ from: where the class had its time and found no room, it is not tried again."""
    return None if _other_room(seen, inventory) else seen.plan


def starts_anew(seen: Observation) -> bool:
    """Whether another attempt begins after one that found no room: then every class is weighed again."""
    old = seen.status.diagnosis
    begun = any(found.replicas for revision, found in seen.workloads.items() if revision != seen.serving)
    return old is not None and old.reason is Reason.NO_CAPACITY and not begun


def plan_for(
    spec: EndpointSpec, facts: ModelFacts | None, inventory: Inventory, inputs_hash: str, old: Plan | None = None, served_len: int = 0
) -> Planned:
    """
    What one replica runs on.

    Args:
        facts: Of the model; None where its size does not matter or is not known.
        old: The plan that found no room: its class, and those before it, are not tried again.
        served_len: Context length that was served before: a plan with less is none. (tokens)
    """
    tried = _tried(old)
    found = _planned(spec, facts, inventory, {one.accelerator for one in tried}, served_len)
    rejected = [*tried, *(one for one in found.plan.rejected if one.accelerator not in {that.accelerator for that in tried})]
    return Planned(found.plan.model_copy(update={"inputs_hash": inputs_hash, "rejected": rejected[:MOST_REJECTED]}), found.problem)


def _tried(old: Plan | None) -> list[RejectedClass]:
    if old is None or old.accelerator is None:
        return []
    before = [one for one in old.rejected if one.reason is Reason.NO_CAPACITY]
    return [*before, RejectedClass(accelerator=old.accelerator, reason=Reason.NO_CAPACITY, message="no node had room for it in time")]


def _planned(spec: EndpointSpec, facts: ModelFacts | None, inventory: Inventory, without: Collection[str], served_len: int) -> Planned:
    asked = spec.hardware.accelerators
    if asked == [CPU]:
        return _on_cpu(spec, facts)
    if not inventory.classes:
        return _any_gpu(spec)
    unknown = [name for name in asked if name not in inventory.classes]
    if unknown:
        known = ", ".join(sorted(inventory.classes))
        return Planned(
            Plan(), NoAcceleratorAllowed(f"spec.hardware.accelerators names {', '.join(unknown)}, but the cluster's AcceleratorClasses are {known}.")
        )
    allowed = [name for name in asked or inventory.classes if name not in without]
    here = [name for name in allowed if inventory.exists(name)]
    # What found no room makes way only for a class that the cluster has: waiting for one that it has not is no better.
    attempts = [here] if without else [found for found in (here, allowed) if found] or [[]]
    answers = [_among(spec, facts, inventory, found, served_len) for found in attempts]
    return next((answer for answer in answers if answer.problem is None), answers[0])


def _on_cpu(spec: EndpointSpec, facts: ModelFacts | None) -> Planned:
    """In host memory: planned where it is not given; what is given is the user's own judgement."""
    if facts is None:
        return Planned(Plan(accelerator=CPU, count=0))
    return _as_status(sized(facts, [], _request(spec, (CPU,), 0)))


def _any_gpu(spec: EndpointSpec) -> Planned:
    if spec.hardware.accelerators:
        wanted = ", ".join(spec.hardware.accelerators)
        return Planned(Plan(), NoAcceleratorAllowed(f"spec.hardware.accelerators names {wanted}, but the cluster has no AcceleratorClass."))
    return Planned(Plan(accelerator=ANY_ACCELERATOR, count=spec.hardware.count or 1))


def _among(spec: EndpointSpec, facts: ModelFacts | None, inventory: Inventory, allowed: Sequence[str], served_len: int) -> Planned:
    if facts is None:
        return _unsized(spec, [inventory.accelerator(name) for name in allowed])
    classes = [inventory.accelerator(name) for name in inventory.classes]
    answer = sized(facts, classes, _request(spec, tuple(allowed) or ("none",), served_len))
    return _as_status(answer)


def _request(spec: EndpointSpec, accelerators: tuple[str, ...], served_len: int) -> PlanRequest:
    """What the spec asks for. Host memory that it gives is its own judgement: it is planned only where it is not given."""
    return replace(of_spec(spec), accelerators=accelerators, least_model_len=served_len, host_memory_bytes=None)


def _unsized(spec: EndpointSpec, classes: Sequence[Accelerator]) -> Planned:
    """As many as asked for, of the cheapest class whose nodes have them."""
    count, limit = spec.hardware.count or 1, spec.hardware.max_price_per_hour
    large = [one for one in classes if one.most_per_node >= count]
    cheap = [one for one in large if limit is None or one.price_per_hour is None or one.price_per_hour * count <= limit]
    if not large:
        return Planned(Plan(), DoesNotFit(f"No allowed AcceleratorClass has nodes with {count} devices; lower spec.hardware.count."))
    if not cheap:
        least = min(one.price_per_hour * count for one in large if one.price_per_hour is not None)
        return Planned(Plan(), PriceAboveLimit(f"{count} accelerators cost {least:.2f} USD per hour at least, the limit is {limit:g}."))
    ranked = sorted(cheap, key=lambda one: (one.price_per_hour is None, one.price_per_hour or 0.0, one.memory_bytes))
    best = ranked[0]
    price = best.price_per_hour * count if best.price_per_hour is not None else None
    return Planned(Plan(accelerator=best.name, count=count, price_per_hour=price, alternatives=[one.name for one in ranked[1:6]]))


def _as_status(answer: SizingPlan) -> Planned:
    rejected = [RejectedClass(accelerator=one.accelerator, reason=one.reason, message=one.message[:256]) for one in answer.rejected]
    problem = answer.error()
    if problem is None and not answer.schedulable:
        problem = DoesNotFit(f"{answer.message}.")
        rejected.append(RejectedClass(accelerator=answer.accelerator or "", reason=Reason.DOES_NOT_FIT, message=answer.message[:256]))
    if problem is not None:
        return Planned(Plan(rejected=rejected), problem)
    plan = Plan(
        accelerator=answer.accelerator,
        count=answer.count,
        tensor_parallel=answer.layout.tp,
        pipeline_parallel=answer.layout.pp,
        max_model_len=answer.max_model_len or None,
        max_num_seqs=answer.batch.max_num_seqs or None,
        memory=PlanMemory.model_validate(answer.memory.to_dict()) if answer.memory else None,
        concurrency=round(answer.concurrency, 2),
        price_per_hour=round(answer.price_per_hour, 4) if answer.price_per_hour is not None else None,
        alternatives=list(answer.alternatives),
        rejected=rejected,
        message=answer.message[:512],
    )
    return Planned(plan)
