"""Writes what was seen: activity of endpoints, wakes that calls ask for, last use of keys. Coarse, and never in a call's way."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable

from dedicated.adapters.activity import Activity
from dedicated.adapters.kinds import API_KEY
from dedicated.adapters.kube import KubeApi
from dedicated.api.activity import renewal_period_s
from dedicated.api.errors import DedicatedError
from dedicated.core.clock import rfc3339
from dedicated.core.quantities import seconds
from dedicated.gateway.handover import wake_to_write, wakes
from dedicated.gateway.keyring import Key
from dedicated.gateway.ledger import Ledger
from dedicated.gateway.standing import State
from dedicated.gateway.table import Endpoint
from dedicated.gateway.watching import Watched
from dedicated.telemetry import metrics

EVERY_S = 1.0
WRITES_AT_ONCE = 8
DAY_S = 86_400.0
KEYS_PER_PASS = 20
log = logging.getLogger(__name__)


class Reporter:
    """Tells the API server what this gateway saw."""

    def __init__(self, kube: KubeApi, activity: Activity, watched: Watched, ledger: Ledger, namespace: str, renewal_s: float) -> None:
        self._renewal_s = renewal_s
        self._kube, self._activity, self._watched, self._ledger, self._namespace = kube, activity, watched, ledger, namespace
        self._wanted: dict[str, int] = {}
        """Epochs that calls want to end, by endpoint id, until that is written."""
        self._waking: dict[str, tuple[int, asyncio.Task[None]]] = {}
        self._renewing: set[str] = set()
        self._used: dict[str, float] = {}
        self._told: dict[str, float] = {}
        """Activity that this gateway wrote, by endpoint id; what is written once is not written again where somebody deletes the Lease."""
        self._gate = asyncio.Semaphore(WRITES_AT_ONCE)

    async def run(self) -> None:
        """Report, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.report()

    async def report(self) -> None:
        """One pass over everything that was active."""
        now = time.monotonic()
        self._ledger.sweep(now)
        metrics.GATEWAY_IN_FLIGHT.set(self._ledger.total())
        called = self._ledger.known()
        endpoints = self._watched.table.active(called)
        due = [self._renew(endpoint, at) for endpoint in endpoints if (at := self._due(endpoint, now)) is not None]
        used = [self._mark(name, at) for name, at in list(self._used.items())[:KEYS_PER_PASS]]
        await asyncio.gather(*due, *used)
        self._forget(called - {endpoint.id for endpoint in endpoints})
        self._wake_again()

    def _forget(self, deleted: set[str]) -> None:
        self._ledger.forget(deleted)
        for endpoint_id in deleted:
            self._told.pop(endpoint_id, None)

    def used(self, key: Key) -> None:
        """A key was used."""
        now = self._kube.now()
        if key.last_used is None or now - key.last_used >= DAY_S:
            self._used.setdefault(key.name, now)

    def wake_soon(self, endpoint: Endpoint) -> None:
        """Ask for an endpoint to be woken, without waiting for it: once per epoch however many ask, and again each second while it is not written."""
        self._wanted[endpoint.id] = endpoint.drain.epoch
        self._begin_wake(endpoint.id)

    async def wake(self, endpoint: Endpoint) -> bool:
        """The same; answers whether it is written."""
        self.wake_soon(endpoint)
        if under_way := self._waking.get(endpoint.id):
            await asyncio.wait([under_way[1]])
        return self._watched.wakes.get(endpoint.id, -1) >= endpoint.drain.epoch

    def unwritten(self, endpoint: Endpoint) -> bool:
        """Whether the Lease lacks something that this gateway knows, or may lack it: activity that is due, a wake that is wanted."""
        return endpoint.id in self._wanted or endpoint.id in self._renewing or self._due(endpoint, time.monotonic()) is not None

    def _begin_wake(self, endpoint_id: str) -> None:
        writing = self._waking.get(endpoint_id)
        wanted = self._wanted.get(endpoint_id)
        epoch = wake_to_write(wanted, self._watched.wakes.get(endpoint_id), writing[0] if writing else None)
        if epoch is not None:
            self._waking[endpoint_id] = epoch, asyncio.get_running_loop().create_task(self._wake(endpoint_id, epoch))
        elif writing is None:
            self._wanted.pop(endpoint_id, None)  # it stands there

    async def _wake(self, endpoint_id: str, epoch: int) -> None:
        try:
            written = await self._written("wake", self._activity.wake(endpoint_id, epoch))
        finally:
            del self._waking[endpoint_id]
        if written:
            log.info("wake asked for", extra={"endpoint": endpoint_id, "epoch": epoch})
            self._watched.wakes[endpoint_id] = max(epoch, self._watched.wakes.get(endpoint_id, epoch))
            self._begin_wake(endpoint_id)

    def _wake_again(self) -> None:
        """Wakes that could not be written, where they still mean something."""
        for endpoint_id, epoch in list(self._wanted.items()):
            endpoint = self._watched.table.by_id(endpoint_id)
            asleep = endpoint is not None and wakes(endpoint.drain, endpoint.standing.state is State.SLEEPING)
            if endpoint is None or not asleep or endpoint.drain.epoch != epoch:
                del self._wanted[endpoint_id]
            else:
                self._begin_wake(endpoint_id)

    def _due(self, endpoint: Endpoint, now: float) -> float | None:
        """The activity to be written, where the Lease does not tell of it well enough. (seconds since the epoch, API server's clock)"""
        last = now if self._ledger.in_flight(endpoint.id) else self._ledger.last(endpoint.id)
        if last is None:
            return None
        at = self._kube.now() - (now - last)
        told = max(self._watched.renewed.get(endpoint.id, 0.0), self._told.get(endpoint.id, 0.0))
        return at if at - told >= renewal_period_s(seconds(endpoint.idle_after), self._renewal_s) else None

    async def _renew(self, endpoint: Endpoint, at: float) -> None:
        self._renewing.add(endpoint.id)
        try:
            if await self._written("activity", self._activity.renew(endpoint.id, at)):
                self._told[endpoint.id] = at
        finally:
            self._renewing.discard(endpoint.id)

    async def _mark(self, name: str, at: float) -> None:
        body = {"status": {"lastUsedTime": rfc3339(at)}}
        await self._written("key", self._kube.patch(API_KEY, self._namespace, name, body, "status"))
        self._used.pop(name, None)

    async def acknowledge(self, endpoint_id: str, word: str) -> None:
        """Say a word of a drain."""
        if await self._written("acknowledgement", self._activity.acknowledge(endpoint_id, word)):
            self._watched.said[endpoint_id] = word

    async def _written(self, what: str, writing: Awaitable[object]) -> bool:
        """Whether a write worked; one that did not is tried again when it is due again."""
        try:
            async with self._gate:
                await writing
        except DedicatedError as failure:
            metrics.GATEWAY_ACTIVITY_WRITES.labels(what, "failed").inc()
            log.warning("not written", extra={"what": what, "error": str(failure)})
            return False
        metrics.GATEWAY_ACTIVITY_WRITES.labels(what, "written").inc()
        return True
