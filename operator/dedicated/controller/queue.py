"""
The keyed queue, in the manner of client-go's workqueue.

Theory of operation: a key is *dirty* when somebody asked for it and *running* while a worker has it. Adding a dirty key changes nothing
(coalescing); adding a running
one marks it dirty, and it is handed out again only when its worker is done (single flight), so no wake is lost. Changes go before resyncs.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 300.0


class KeyQueue:
    """Keys that want a pass; each is with at most one worker."""

    def __init__(self) -> None:
        self._lanes: tuple[deque[str], deque[str]] = (deque(), deque())
        self._dirty: set[str] = set()
        self._running: set[str] = set()
        self._failures: dict[str, int] = {}
        self._wakeup = asyncio.Condition()
        self._pending: set[asyncio.Task[None]] = set()

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
        self._lanes[0 if hurry else 1].append(key)
        task = asyncio.get_running_loop().create_task(self._notify())
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _notify(self) -> None:
        async with self._wakeup:
            self._wakeup.notify()

    async def take(self) -> str:
        """The next key, for this worker alone until `done`."""
        async with self._wakeup:
            await self._wakeup.wait_for(lambda: any(self._lanes))
            key = next(lane for lane in self._lanes if lane).popleft()
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
