"""The workers: take a key, run its pass, say when to look again. The one place where every exception is caught, counted and backed off from."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from dedicated.adapters.events import record
from dedicated.adapters.facts import has_failed
from dedicated.adapters.kinds import ENDPOINT, NETWORK_POLICY, POD, SERVICE_ACCOUNT
from dedicated.adapters.store import Store
from dedicated.adapters.view import Clients
from dedicated.adapters.world import EndpointWorld
from dedicated.api.errors import DedicatedError
from dedicated.controller.deadlines import Deadlines
from dedicated.controller.feed import NAMESPACE_KEY
from dedicated.controller.queue import KeyQueue
from dedicated.controller.reconcile import Outcome, reconcile
from dedicated.telemetry import metrics

WORKERS = 16
log = logging.getLogger(__name__)


class Loop:
    """Queue, deadlines and workers over one set of clients."""

    def __init__(self, clients: Clients, queue: KeyQueue | None = None) -> None:
        self._clients = clients
        self.queue = KeyQueue(takes_long(clients.store)) if queue is None else queue
        self._deadlines = Deadlines()
        self._deadline_set = asyncio.Event()
        self.progress_at = time.monotonic()
        """When a worker last finished something, or had nothing to do."""

    def wake(self, key: str) -> None:
        """Look at this key soon."""
        self.queue.add(key)

    async def work(self) -> None:
        """One worker, for ever."""
        while True:
            key = await self.queue.take()
            try:
                await self._one(key)
            except Exception:
                wait_s = self.queue.failed(key)
                metrics.RECONCILE_BUGS.inc()
                log.exception("pass failed", extra={"key": key, "retry_s": round(wait_s, 1)})
                self._look_again(key, wait_s)
            finally:
                self.progress_at = time.monotonic()
                self.queue.done(key)

    async def _one(self, key: str) -> None:
        if key.startswith(NAMESPACE_KEY):
            await self._namespace(key)
            return
        endpoint = self._clients.store.get(ENDPOINT, key)
        if endpoint is None:
            self._deadlines.set(key, None)
            return
        started = time.perf_counter()
        try:
            outcome = await reconcile(EndpointWorld(self._clients, endpoint))
        except DedicatedError as failure:
            outcome = Outcome(back_off=True, failure=failure)
        metrics.RECONCILE_SECONDS.labels("failed" if outcome.failure else "ok").observe(time.perf_counter() - started)
        self._after(key, endpoint["metadata"], outcome)
        if outcome.told:
            await record(self._clients.kube, endpoint, outcome.told)

    def _after(self, key: str, meta: dict[str, str], outcome: Outcome) -> None:
        name = f"{meta['namespace']}/{meta['name']}"
        if outcome.failure:
            log.warning("pass hindered", extra={"endpoint": name, "error": str(outcome.failure)})
        if outcome.told:
            change = {"from": outcome.told.before.value, "to": outcome.told.after.value, "reason": outcome.told.reason}
            log.info("phase changed", extra={"endpoint": name, **change})
        if outcome.back_off:
            self._look_again(key, self.queue.failed(key))
            return
        self.queue.succeeded(key)
        due = outcome.look_again_at
        self._look_again(key, None if due is None else max(0.2, due - self._clients.kube.now() + 0.2))

    def _look_again(self, key: str, in_s: float | None) -> None:
        self._deadlines.set(key, None if in_s is None else time.monotonic() + in_s)
        self._deadline_set.set()

    async def watch_deadlines(self) -> None:
        """Wake keys when their time has come, for ever."""
        while True:
            for key in self._deadlines.due(time.monotonic()):
                self.queue.add(key)
            if not len(self.queue):
                self.progress_at = time.monotonic()
            nearest = self._deadlines.next()
            wait_s = 5.0 if nearest is None else min(5.0, max(0.0, nearest - time.monotonic()))
            self._deadline_set.clear()
            await _wait(self._deadline_set.wait, wait_s)

    async def _namespace(self, key: str) -> None:
        """Look whether a namespace still needs what it got once; try again where the API server does not answer."""
        try:
            await self._sweep(key.removeprefix(NAMESPACE_KEY))
        except DedicatedError as failure:
            log.warning("namespace not swept", extra={"key": key, "error": str(failure)})
            self._look_again(key, self.queue.failed(key))
            return
        self.queue.succeeded(key)

    async def _sweep(self, namespace: str) -> None:
        """What a namespace got once goes when its last endpoint and its last engine pod are gone."""
        store, kube = self._clients.store, self._clients.kube
        if any(obj["metadata"]["namespace"] == namespace for kind in (ENDPOINT, POD) for obj in store.all(kind)):
            return
        for kind in (NETWORK_POLICY, SERVICE_ACCOUNT):
            for obj in store.all(kind):
                if obj["metadata"]["namespace"] == namespace:
                    await kube.delete(kind, namespace, obj["metadata"]["name"], obj["metadata"]["uid"])


async def _wait(what: Callable[[], object], seconds: float) -> None:
    try:
        await asyncio.wait_for(what(), seconds)  # type: ignore[arg-type]
    except TimeoutError:
        return


def takes_long(store: Store) -> Callable[[str], bool]:
    """Whether the pass over a key reads logs: an engine of it has failed."""

    def judged(key: str) -> bool:
        endpoint = store.get(ENDPOINT, key)
        return endpoint is not None and any(map(has_failed, store.children(POD, endpoint)))

    return judged
