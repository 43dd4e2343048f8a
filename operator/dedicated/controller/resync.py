"""
The look at everything: at the start, and every ten minutes.

Theory of operation: Kopf's watch loses what was deleted while it was down (it lists anew after a 410 and tells no deletion), and a dead watch looks
like a quiet one. So metadata of every kind is listed; what the store has and the list has not is dropped; what the list has newer than the store must
arrive by its watch within a minute, else the watch is dead and the process ends. No pass runs before the first lists are complete: a half-known world
must not be decided on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from dedicated.adapters.kinds import ENDPOINT, SERVICE_ACCOUNT, WATCHED, Kind
from dedicated.adapters.kube import KubeApi, Manifest
from dedicated.adapters.store import Store, version
from dedicated.api.errors import DedicatedError
from dedicated.controller.feed import NAMESPACE_KEY, Feed
from dedicated.controller.queue import KeyQueue

BEHIND_S = 60.0
POLL_S = 0.05
CHECK_S = 2.0
"""How often those that are still missing are asked for one by one: they may have been deleted right after the list."""
log = logging.getLogger(__name__)


class DeadWatch(Exception):
    """A watch tells nothing any more, though there is something to tell."""


class Resync:
    """Compares the store with what the API server lists."""

    def __init__(
        self,
        kube: KubeApi,
        store: Store,
        feed: Feed,
        queue: KeyQueue,
        every_s: float,
        sweep: Callable[[KubeApi], Awaitable[None]] | None = None,
    ) -> None:
        self._kube, self._store, self._feed, self._queue, self._every_s = kube, store, feed, queue, every_s
        self._sweep = sweep
        """What else is looked at every now and then."""
        self.good_at = time.monotonic()
        """When the last look ended well."""

    async def first(self, listed: Iterable[asyncio.Event]) -> None:
        """Wait until the watches have told everything that exists; then the operator may act. Raises DeadWatch."""
        await self._look((ENDPOINT,))
        for informer in listed:
            await informer.wait()
        self._feed.live = True
        self._ask_for_all()

    async def run(self) -> None:
        """Look every now and then, for ever. Raises DeadWatch."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._look(WATCHED)
                if self._sweep:
                    await self._sweep(self._kube)
            except DedicatedError as failure:
                log.warning("resync failed", extra={"error": str(failure)})
                continue
            self._ask_for_all()

    def _ask_for_all(self) -> None:
        for endpoint in self._store.all(ENDPOINT):
            self._queue.add(endpoint["metadata"]["uid"], hurry=False)
        for account in self._store.all(SERVICE_ACCOUNT):
            self._queue.add(NAMESPACE_KEY + account["metadata"]["namespace"], hurry=False)

    async def _look(self, kinds: Sequence[Kind]) -> None:
        known_before = {kind.name: {obj["metadata"]["uid"] for obj in self._store.all(kind)} for kind in kinds}
        behind: list[tuple[Kind, Manifest]] = []
        for kind in kinds:  # one after another, and of each no more than what the watch has yet to tell: what is held at once is what it costs
            late: list[Manifest] = []

            def compare(obj: Manifest, kind: Kind = kind, late: list[Manifest] = late) -> None:
                if self._is_behind(kind, obj):
                    late.append({"metadata": {key: obj["metadata"].get(key) for key in ("uid", "namespace", "name", "resourceVersion")}})

            existing, _ = await self._kube.snapshot(replace(kind, metadata_only=True), compare)
            for uid in known_before[kind.name] - existing:
                log.info("dropped what a watch had lost", extra={"kind": kind.name, "uid": uid})
                self._feed.gone(kind, uid)
            behind += [(kind, obj) for obj in late]
        await self._caught_up(behind)
        self.good_at = time.monotonic()

    async def _caught_up(self, behind: list[tuple[Kind, Manifest]]) -> None:
        """Wait until the store is as new as what was listed; an object may also have been deleted since."""
        began = time.monotonic()
        checked = began
        while behind := [(kind, obj) for kind, obj in behind if self._is_behind(kind, obj)]:
            if time.monotonic() - checked >= CHECK_S:
                behind = [(kind, obj) for kind, obj in behind if await self._still_exists(kind, obj)]
                checked = time.monotonic()
            if behind and time.monotonic() - began >= BEHIND_S:
                raise DeadWatch(f"the watch of {behind[0][0].plural} is {BEHIND_S:.0f} s behind the list")
            await asyncio.sleep(POLL_S)

    def _is_behind(self, kind: Kind, obj: Manifest) -> bool:
        known = self._store.get(kind, obj["metadata"]["uid"])
        return known is None or version(known) < version(obj)

    async def _still_exists(self, kind: Kind, obj: Manifest) -> bool:
        meta = obj["metadata"]
        try:
            found = await self._kube.get(kind, meta.get("namespace"), meta["name"])
        except DedicatedError:
            return False
        return bool(found["metadata"]["uid"] == meta["uid"])
