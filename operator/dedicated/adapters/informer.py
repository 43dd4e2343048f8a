"""
What one kind's objects are, and every change of them: a list, then a watch that goes on where it stopped.

Kopf watches the endpoints themselves. What belongs to them is ten times as much, and Kopf costs half a millisecond for each event of it and tells no
deletion after a new list (hack/adr/0004); so their children are watched here. Whatever breaks is begun again after a pause, for ever: a lost
connection from the last version, a version that is gone (410) or an error of the API server's from a new list.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Protocol

from dedicated.adapters.kinds import Kind
from dedicated.adapters.kube import KubeApi, Manifest
from dedicated.api.errors import DedicatedError

PAUSE_FIRST_S, PAUSE_LONGEST_S = 0.5, 15.0
_one_list = asyncio.Semaphore(1)
"""Kinds are listed one after another: together they take no less time, and what is read at once is held at once."""
log = logging.getLogger(__name__)


class Known(Protocol):
    """Where what was told is kept."""

    def uids(self, kind: Kind) -> set[str]:
        """All objects of a kind that are known."""
        ...


class Informer:
    """Tells of one kind: `seen` for each object that is there or changed, `gone` for each that is there no more."""

    def __init__(
        self, kube: KubeApi, kind: Kind, known: Known, seen: Callable[[Kind, str | None, Manifest], None], gone: Callable[[Kind, str], None]
    ) -> None:
        self.kind = kind
        self.listed = asyncio.Event()
        """Set when the first list has been told."""
        self._kube, self._known, self._seen, self._gone = kube, known, seen, gone
        self._failures = 0

    async def run(self, silence_s: float) -> None:
        """List and watch, for ever. (silence_s: after so long without a word a watch is opened anew)"""
        version = ""
        while True:
            try:
                version = version or await self._list()
                version = await self._watch(version, silence_s)
            except DedicatedError as failure:
                version = ""
                await self._pause(failure)

    async def _list(self) -> str:
        """Tell everything that there is, and what is missing of what was known before; answers the version to watch from."""
        before = self._known.uids(self.kind)
        async with _one_list:
            listed, version = await self._kube.snapshot(self.kind, lambda obj: self._seen(self.kind, None, obj))
        for uid in before - listed:
            self._gone(self.kind, uid)
        self.listed.set()
        return version

    async def _watch(self, version: str, silence_s: float) -> str:
        """Tell what changes until the watch ends; answers the version that the next one begins from."""
        try:
            async for event in self._kube.watch(self.kind, version, silence_s):
                self._failures = 0
                version = event["object"]["metadata"].get("resourceVersion", version)
                if event["type"] != "BOOKMARK":
                    self._seen(self.kind, event["type"], event["object"])
        except ConnectionError as lost:
            await self._pause(lost)
        return version

    async def _pause(self, failure: Exception) -> None:
        self._failures += 1
        seconds = min(PAUSE_FIRST_S * 2 ** (self._failures - 1), PAUSE_LONGEST_S) * random.uniform(0.8, 1.2)
        log.info("watch begins again", extra={"kind": self.kind.name, "error": str(failure), "in_s": round(seconds, 1)})
        await asyncio.sleep(seconds)
