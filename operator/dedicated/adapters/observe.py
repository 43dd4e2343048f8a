"""
Observing one endpoint: reads the store; the hub is asked once per change of the model, and logs and events only of pods that are in trouble, so that
a pass over a healthy endpoint makes no call at all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dedicated.adapters import facts
from dedicated.adapters.kinds import DEPLOYMENT, EVENT, NAMESPACE, NODE, POD, SECRET
from dedicated.adapters.logs import beside, logs_of
from dedicated.adapters.sources import source_of
from dedicated.adapters.view import Clients, EndpointView, Manifest
from dedicated.api import names
from dedicated.api.errors import DedicatedError, Transient
from dedicated.api.status import ModelStatus, Plan
from dedicated.core.clock import from_rfc3339
from dedicated.diagnosis.diagnose import diagnose, next_deadline
from dedicated.diagnosis.evidence import Limits, PodFacts
from dedicated.lifecycle import placement, revision
from dedicated.lifecycle.access import wants_proof, was_proven
from dedicated.lifecycle.decide import failed_and_nothing_changed
from dedicated.lifecycle.drain import wants_last_word
from dedicated.lifecycle.idle import wants_load
from dedicated.lifecycle.observation import Activity, Observation
from dedicated.lifecycle.sleep import rests, starts
from dedicated.lifecycle.validate import problem_before_model, problem_with_engine, problem_with_secrets, secrets_of_engine, secrets_of_model
from dedicated.lifecycle.wanted import wanted
from dedicated.planner.measured import measured
from dedicated.render.isolation import engine_key

START_LINES, START_BYTES = 4000, 512 * 1024
"""What is read of the log of an engine that has just started: more than the start of any that was seen."""


class Observer:
    """The world of one endpoint in one pass, as far as it is seen."""

    def __init__(self, clients: Clients, view: EndpointView) -> None:
        self._c, self._v = clients, view
        self._source = source_of(clients, view)
        self._pods = list(clients.store.children(POD, view.raw))

    async def observe(self) -> Observation:
        """Everything that is known about the endpoint, now."""
        meta = self._v.meta
        deployments = list(self._c.store.children(DEPLOYMENT, self._v.raw))
        witnesses, own_id = self._c.witnesses, names.endpoint_id(meta["uid"])
        base = Observation(
            now=self._c.kube.now(),
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            generation=meta.get("generation", 1),
            spec=self._v.spec,
            status=self._v.status,
            inputs_hash=self._inputs_hash(),
            workloads={found.revision: found for found in map(facts.workload, deployments)},
            capacity_grew_at=self._c.store.capacity_grew_at,
            lacks_token=self._source.lacks_token(),
            queue=(meta.get("labels") or {}).get(names.LABEL_QUEUE),
            namespace_uid=await self._namespace_uid(),
            deleting="deletionTimestamp" in meta,
            activity=witnesses.activity(own_id) if witnesses else Activity(),
            gateways=witnesses.gateways() if witnesses else (),
            gateway_url=self._c.platform.gateway_url,
            renewal_s=self._c.renewal_s,
        )
        base = await self._with_plan(await self._with_model(base))
        base = await self._with_next_plan(await self._with_pods(self._with_target(base)))
        return await self._with_access(await self._with_witnesses(base))

    async def _namespace_uid(self) -> str:
        """Where there is a cache, which keeps namespaces apart by it."""
        if self._c.platform.weights is None:
            return ""
        name = self._v.meta["namespace"]
        found = self._c.store.named(NAMESPACE, None, name) or await self._c.kube.get(NAMESPACE, None, name, metadata_only=True)
        return str(found["metadata"]["uid"])

    def _inputs_hash(self) -> str:
        secrets = self._secrets_version()
        return self._v.once("inputs", (self._v.marks, secrets), lambda: revision.inputs_hash(self._v.spec, self._v.annotations, secrets))

    def _secrets_version(self) -> str | None:
        """Names the state of every Secret that the spec refers to."""
        referred = secrets_of_engine(self._v.spec) | secrets_of_model(self._v.spec)
        found = [self._c.store.named(SECRET, self._v.meta["namespace"], name) for name in sorted(referred)]
        return ",".join(f"{secret['metadata']['uid']}/{secret['metadata']['resourceVersion']}" if secret else "-" for secret in found) or None

    def _labelled(self) -> dict[str, str]:
        """The use of each Secret that the engine refers to, by name."""
        found = (self._c.store.named(SECRET, self._v.meta["namespace"], name) for name in secrets_of_engine(self._v.spec))
        return {secret["metadata"]["name"]: secret["metadata"]["labels"].get(names.LABEL_USE, "") for secret in found if secret}

    # the model and the plan

    def _is_settled(self, base: Observation) -> bool:
        """Whether nothing new is started whatever the hub would say: then it is not asked."""
        if base.deleting or self._v.spec.suspend or failed_and_nothing_changed(base) is not None:
            return True
        return rests(base) and not any(facts.pod(pod).ready for pod in self._pods)

    async def _with_model(self, base: Observation) -> Observation:
        """The model as resolved, or the problem that stands before it."""
        problem: DedicatedError | None = problem_before_model(self._v.spec, self._c.platform) or problem_with_secrets(self._v.spec, self._labelled())
        model = self._known_model()
        if problem is None and model is None and self._v.spec.model and not self._is_settled(base):
            try:
                model = await self._source.resolve(self._source_hash())
            except DedicatedError as failure:
                problem = failure
        return replace(base, model=model, problem=problem)

    def _known_model(self) -> ModelStatus | None:
        known = self._v.status.model
        return known if known and known.source_hash == self._source_hash() else None

    def _source_hash(self) -> str:
        return self._v.once("source", (self._v.marks,), lambda: revision.source_hash(self._v.spec, self._v.annotations))

    async def _with_plan(self, base: Observation) -> Observation:
        """What one replica runs on: as it was planned, while the same is asked for; or why it cannot be planned."""
        if base.problem is not None or (base.model is None and self._v.spec.model is not None):
            return base
        known = self._known_plan(base)
        if known is not None or self._is_settled(base):
            return self._on(base, known or self._v.status.plan)
        try:
            planned = await self._planned(base, None)
        except DedicatedError as failure:
            return replace(base, problem=failure)
        return replace(self._on(base, planned.plan), problem=planned.problem)

    def _on(self, base: Observation, plan: Plan | None) -> Observation:
        name = plan.accelerator if plan else None
        return replace(base, plan=plan, accelerator_class=self._c.inventory.classes().get(name) if name else None)

    def _known_plan(self, base: Observation) -> Plan | None:
        known = self._v.status.plan
        if known is None or known.accelerator is None or known.inputs_hash != self._plan_inputs(base):
            return None
        return None if placement.starts_anew(base) else known

    def _plan_inputs(self, base: Observation) -> str:
        commit = base.model.revision if base.model else None
        return self._v.once("plan inputs", (self._v.marks, commit), lambda: placement.plan_inputs(self._v.spec, self._v.annotations, commit))

    async def _planned(self, base: Observation, old: Plan | None) -> placement.Planned:
        sized = placement.is_sized(self._v.spec) and base.model is not None
        model = await self._source.facts(base.model) if sized and base.model else None
        inventory = self._c.inventory.read()
        return placement.plan_for(self._v.spec, model, inventory, self._plan_inputs(base), old, placement.served_len(base))

    async def _with_next_plan(self, base: Observation) -> Observation:
        """Where the planned class has no room, and another one would do: the plan with that one."""
        inventory = self._c.inventory.read() if base.finding else None
        if inventory is None or base.plan is None or not placement.wants_next(base, inventory):
            return base
        try:
            planned = await self._planned(base, placement.follow(base, inventory))
        except DedicatedError:
            return base
        is_other = planned.problem is None and planned.plan.accelerator != base.plan.accelerator
        return replace(base, next_plan=planned.plan) if is_other else base

    def _with_target(self, base: Observation) -> Observation:
        """The revision that follows from all that, or the problem that the engine cannot be started so."""
        lacks_model = base.model is None and self._v.spec.model is not None
        if base.problem is not None or lacks_model:
            return base
        seen = replace(base, target=self._target(base))
        problem = self._engine_problem(seen)
        return replace(base, problem=problem) if problem else seen

    def _target(self, base: Observation) -> str:
        commit, plan = base.model.revision if base.model else None, base.plan
        key = (self._v.marks, commit, repr(plan))
        return self._v.once("revision", key, lambda: revision.revision(self._v.spec, self._v.annotations, commit, plan))

    def _engine_problem(self, seen: Observation) -> DedicatedError | None:
        made = wanted(seen)
        return self._v.once("engine", (made.entry, made.weight_bytes, seen.target), lambda: problem_with_engine(made, self._c.platform))

    async def _with_access(self, base: Observation) -> Observation:
        """Before an engine is started from nothing: that its files may be read, or the problem that they may not."""
        if base.model is None or not wants_proof(base):
            return base
        try:
            return replace(base, access=await self._source.prove(base.model))
        except DedicatedError as refused:
            cached = self._c.platform.weights is not None and self._v.spec.model and self._v.spec.model.hugging_face
            if isinstance(refused, Transient) and cached and was_proven(base):
                return base  # the cache may hold it; the container that fetches asks again whether this token may have it
            return replace(base, problem=refused)

    # pods

    async def _with_pods(self, base: Observation) -> Observation:
        pods = tuple([await self._pod(base, obj) for obj in self._pods])
        base = await self._with_measured(replace(base, pods=pods))
        started = starts(base) if rests(base) else base.target
        own, limits = [pod for pod in pods if pod.revision == started], self._limits(base, started)
        has_logs = any(container.log_tail for pod in own for container in pod.containers)
        finding = await beside(diagnose, own, limits, base.now) if has_logs else diagnose(own, limits, base.now)
        return replace(base, finding=finding, deadline=next_deadline(own, limits, base.now))

    async def _with_witnesses(self, base: Observation) -> Observation:
        """Before what serves is taken away: the last word of gateways and engine."""
        if self._c.witnesses is not None and wants_last_word(base):
            activity, gateways = await self._c.witnesses.last_word(self._c.kube, names.endpoint_id(base.uid))
            base = replace(base, activity=activity, gateways=gateways)
        serving = [pod for pod in base.pods if pod.revision == base.serving and pod.ready and not pod.deleting]
        if not serving or not wants_load(base):
            return base
        key = engine_key(self._c.system_key, base.uid)
        return replace(base, load=await self._c.loads.ask(base.spec.engine.kind, key, serving))

    async def _with_measured(self, base: Observation) -> Observation:
        """Once a revision answers: what its engine said of its memory."""
        ready = next((pod for pod in base.pods if pod.ready and pod.revision == base.target), None)
        if ready is None or base.plan is None or base.plan.measured is not None or not placement.is_sized(base.spec):
            return base
        log = await self._c.kube.logs(base.namespace, ready.name, names.ENGINE_CONTAINER, previous=False, lines=START_LINES, limit_bytes=START_BYTES)
        return replace(base, plan=base.plan.model_copy(update={"measured": measured(log)}))

    def _limits(self, base: Observation, which: str | None) -> Limits:
        startup_s = wanted(base).startup_s(self._c.platform.startup_base_s)
        served = self._v.status.revisions is not None and self._v.status.revisions.serving == which
        old, port = self._v.status.diagnosis, self._v.spec.engine.port or 0
        crashes = tuple(map(from_rfc3339, old.crashes)) if served and old else ()
        return replace(self._c.limits, startup_s=startup_s, served=served, crashes=crashes, port=port)

    async def _pod(self, base: Observation, obj: Manifest) -> PodFacts:
        """A pod's facts; of one in trouble with its events and the logs of its failed containers."""
        first = facts.pod(obj)
        if first.ready or first.deleting:
            return first
        limits = self._limits(base, first.revision)
        logs = await logs_of(self._c.kube, base.namespace, first, limits, base.now)
        found = facts.pod(obj, logs, await self._events(obj) if _in_trouble(first, limits, base.now) else ())
        node = self._c.store.named(NODE, None, found.node) if found.node else None
        return replace(found, node_silent_since=facts.node_silent_since(node))

    async def _events(self, obj: Manifest) -> tuple[Any, ...]:
        selector = f"involvedObject.uid={obj['metadata']['uid']}"
        try:
            found = await self._c.kube.list(EVENT, namespace=obj["metadata"]["namespace"], fields=selector)
        except DedicatedError:
            return ()
        return tuple(sorted(map(facts.event, found), key=lambda event: event.at))


def _in_trouble(pod: PodFacts, limits: Limits, now: float) -> bool:
    """Whether the pod's events may tell something that its status does not."""
    waiting = any(c.waiting_reason not in ("", "PodInitializing", "ContainerCreating") or c.failure for c in pod.containers)
    stuck = pod.scheduled_at is not None and now - pod.scheduled_at >= limits.start_s
    return waiting or stuck or pod.scheduled is False
