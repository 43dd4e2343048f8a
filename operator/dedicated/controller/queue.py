"""
The keyed queue, in the manner of client-go's workqueue.

Theory of operation: a key is *dirty* when somebody asked for it and *running* while a worker has it. Adding a dirty key changes nothing
(coalescing); adding a running
one marks it dirty, and it is handed out again only when its worker is done (single flight), so no wake is lost. Changes go before resyncs.
"""

from __future__ import annotations

import asyncio
import itertools
import random

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 300.0


class KeyQueue:
    """Keys that want a pass; each is with at most one worker."""

    def __init__(self) -> None:
        self._waiting: asyncio.PriorityQueue[tuple[bool, int, str]] = asyncio.PriorityQueue()
        """Those that hurry come first, then who came first."""
        self._numbers = itertools.count()
        self._dirty: set[str] = set()
        self._running: set[str] = set()
        self._failures: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._dirty)

    def add(self, key: str, *, hurry: bool = True) -> None:
        """Ask for a pass over this key; `hurry` puts it before the resyncs."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._running:
            self._enqueue(key, hurry)

    def _enqueue(self, key: str, hurry: bool) -> None:
        self._waiting.put_nowait((not hurry, next(self._numbers), key))

    async def take(self) -> str:
        """The next key, for this worker alone until `done`."""
        _, _, key = await self._waiting.get()
        self._dirty.discard(key)
        self._running.add(key)
        return key

    def done(self, key: str) -> None:
        """The worker is done; what was asked for meanwhile is handed out again."""
        self._running.discard(key)
        if key in self._dirty:
            self._enqueue(key, hurry=True)

    def failed(self, key: str) -> float:
        """Count a failure; answers how long to wait before the next try. (seconds)"""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(BACKOFF_FIRST_S * 2 ** (count - 1), BACKOFF_LONGEST_S) * random.uniform(0.8, 1.2))

    def succeeded(self, key: str) -> None:
        """Forget the failures of this key."""
        self._failures.pop(key, None)
