"""
The keyed queue, in the manner of client-go's workqueue.

Theory of operation: a key is *dirty* when somebody asked for it and *running* while a worker has it. Adding a dirty key changes nothing
(coalescing); adding a running one marks it dirty, and it is handed out again only when its worker is done (single flight), so no wake is lost.
Changes go before resyncs. Keys whose pass takes long (their engines failed, and logs must be read) have a lane of their own, of which only a few are
out at once: a thousand that fail together leave most workers to the others.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

BACKOFF_FIRST_S = 1.0
BACKOFF_LONGEST_S = 300.0
LONG_AT_ONCE = 4
"""Keys with a long pass that are out at once."""


class KeyQueue:
    """Keys that want a pass; each is with at most one worker."""

    def __init__(self, takes_long: Callable[[str], bool] = lambda _: False) -> None:
        self._takes_long = takes_long
        self._hurry, self._long, self._resync = self._lanes = (deque[str](), deque[str](), deque[str]())
        self._long_out: set[str] = set()
        self._idle: deque[asyncio.Future[None]] = deque()
        """Workers that wait for a key."""
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
        (self._long if self._takes_long(key) else self._hurry if hurry else self._resync).append(key)
        self._wake_worker()

    def _wake_worker(self) -> None:
        while self._idle:
            worker = self._idle.popleft()
            if not worker.done():
                worker.set_result(None)
                return

    async def take(self) -> str:
        """The next key, for this worker alone until `done`."""
        while (lane := next((lane for lane in self._open() if lane), None)) is None:
            worker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(worker)
            await worker
        key = lane.popleft()
        if lane is self._long:
            self._long_out.add(key)
        self._dirty.discard(key)
        self._running.add(key)
        return key

    def _open(self) -> tuple[deque[str], ...]:
        """The lanes from which a key may be taken now, the first one first."""
        return self._lanes if len(self._long_out) < LONG_AT_ONCE else (self._hurry, self._resync)

    def done(self, key: str) -> None:
        """The worker is done; what was asked for meanwhile is handed out again."""
        self._running.discard(key)
        if key in self._long_out:
            self._long_out.discard(key)
            self._wake_worker()
        if key in self._dirty:
            self._enqueue(key, hurry=True)

    def failed(self, key: str) -> float:
        """Count a failure; answers how long to wait before the next try. (seconds)"""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        return float(min(BACKOFF_FIRST_S * 2 ** (count - 1), BACKOFF_LONGEST_S) * random.uniform(0.8, 1.2))

    def succeeded(self, key: str) -> None:
        """Forget the failures of this key."""
        self._failures.pop(key, None)
