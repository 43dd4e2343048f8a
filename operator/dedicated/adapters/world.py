"""One endpoint's world: what a pass observes, applies and reports."""

from __future__ import annotations

import asyncio
import logging

from dedicated.adapters.apply import Applier
from dedicated.adapters.kinds import ENDPOINT
from dedicated.adapters.observe import Observer
from dedicated.adapters.sources import source_of
from dedicated.adapters.view import Clients, EndpointView, Manifest
from dedicated.api import names
from dedicated.api.errors import DedicatedError, Stalled
from dedicated.api.status import EndpointStatus, ModelStatus, Plan, SleepStatus
from dedicated.core.patches import merge_patch
from dedicated.lifecycle.decide import Decision, Life
from dedicated.lifecycle.fetched import fetch_of
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.records import runs_to_keep
from dedicated.lifecycle.status import is_urgent, report
from dedicated.lifecycle.transitions import Transition, is_news, transition
from dedicated.lifecycle.wake import durations
from dedicated.planner.measured import errors
from dedicated.telemetry import metrics

NOT_URGENT_S = 10.0
"""How long a change of the status that nobody waits for may be held back. (seconds)"""

ACCESS_S = 2.0
"""How long a wake waits for the hub's word on access, beside the start of its pods. (seconds)"""
log = logging.getLogger(__name__)


class EndpointWorld:
    """The world of one endpoint in one pass."""

    def __init__(self, clients: Clients, endpoint: Manifest) -> None:
        self._c = clients
        self._v = EndpointView(clients, endpoint)

    async def observe(self) -> Observation:
        """Everything that is known about the endpoint, now."""
        return await Observer(self._c, self._v).observe()

    async def apply(self, seen: Observation, decision: Decision) -> Stalled | None:
        """Make the cluster as decided. Where a wake begins, access to the model is proven beside it: answers the refusal, if it is refused."""
        if decision.life is not Life.WAKING or seen.model is None or (seen.status.wake and seen.status.wake.current):
            await Applier(self._c, self._v).apply(seen, decision)
            return None
        proving = asyncio.create_task(self._refusal(seen.model))
        try:
            await Applier(self._c, self._v).apply(seen, decision)
            await asyncio.wait({proving}, timeout=ACCESS_S)
            return proving.result() if proving.done() else None
        finally:
            proving.cancel()

    async def _refusal(self, model: ModelStatus) -> Stalled | None:
        """Why the model may not be read any more. A hub that does not answer refuses nothing: it was proven before."""
        try:
            await source_of(self._c, self._v).prove(model)
        except Stalled as refused:
            return refused
        except DedicatedError as unknown:
            log.info("access not proven at a wake", extra={"endpoint": self._v.meta["name"], "error": str(unknown)})
        return None

    async def report(self, seen: Observation, decision: Decision) -> tuple[Transition | None, float | None]:
        """
        Write the status if it differs; what is not urgent at most each 10 s.

        Returns:
            The transition that was told, if one was, and when to come back for what was held back.
        """
        await self._c.records.keep(self._c.kube, self._v.raw, runs_to_keep(seen, decision))
        self._count_fetches(seen)
        if self._c.witnesses is not None:
            self._c.witnesses.waiting(names.endpoint_id(seen.uid), () if seen.deleting else decision.waits_for)
        held_back = self._c.store.held_back_since
        new = report(seen, decision)
        patch = merge_patch(self._v.old_status, new.to_dict())
        if seen.deleting or not patch:
            held_back.pop(seen.uid, None)
            return None, None
        tell_at = held_back.setdefault(seen.uid, seen.now) + NOT_URGENT_S
        if seen.now < tell_at and not is_urgent(self._v.status, new):
            return None, tell_at
        held_back.pop(seen.uid, None)
        body = {"metadata": {"resourceVersion": self._v.meta["resourceVersion"]}, "status": patch}
        stored = await self._c.kube.patch(ENDPOINT, seen.namespace, seen.name, body, "status")
        self._c.store.put(ENDPOINT, stored)
        _count_plan_errors(self._v.status.plan, new.plan)
        if is_news(self._v.status.diagnosis, new.diagnosis):
            metrics.DIAGNOSES.labels(new.diagnosis.reason if new.diagnosis else "").inc()
        _count_sleep_and_wake(self._v.status, new)
        return transition(self._v.status, new), None

    def _count_fetches(self, seen: Observation) -> None:
        """Each pod's bytes once."""
        told = {pod.name: found for pod in seen.pods if (found := fetch_of(pod))}
        counted = self._c.store.counted_fetches.get(seen.uid, frozenset())
        for name, (fetch, at) in told.items():
            if name not in counted and at >= self._c.store.watching_since:
                for source, count in fetch.by_source.items():
                    metrics.WEIGHTS_FETCHED_BYTES.labels(source).inc(count)
        self._c.store.counted_fetches[seen.uid] = frozenset(told)


def _count_sleep_and_wake(old: EndpointStatus, new: EndpointStatus) -> None:
    """A wake that has ended, and what a sleep that has ended has saved."""
    last = new.wake.last if new.wake else None
    if last is not None and last != (old.wake.last if old.wake else None):
        metrics.WAKES.labels(last.reason or "").inc()
        for stage, seconds in durations(last) if last.succeeded else ():
            metrics.WAKE_SECONDS.labels(stage).observe(seconds)
    before, after = old.sleep or SleepStatus(), new.sleep or SleepStatus()
    metrics.SLEPT_SECONDS.inc(max(0.0, after.seconds - before.seconds))
    metrics.SAVED_ACCELERATOR_SECONDS.inc(max(0.0, after.accelerator_seconds - before.accelerator_seconds))
    metrics.SAVED_USD.inc(max(0.0, (after.saved_usd or 0.0) - (before.saved_usd or 0.0)))


def _count_plan_errors(old: Plan | None, new: Plan | None) -> None:
    """Once for each engine that told what it takes."""
    if new is None or new.memory is None or new.measured is None or (old and old.measured):
        return
    for what, error in errors({"weight_bytes": new.memory.weight_bytes}, new.measured).items():
        metrics.PLAN_ERROR.labels(what).observe(error)
