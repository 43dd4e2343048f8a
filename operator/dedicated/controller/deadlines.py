"""One heap of times at which a key wants a pass by itself."""

from __future__ import annotations

import heapq


class Deadlines:
    """At most one deadline a key; setting it anew replaces it. Times are on the event loop's clock. (seconds)"""

    def __init__(self) -> None:
        self._heap: list[tuple[float, str]] = []
        self._at: dict[str, float] = {}

    def set(self, key: str, at: float | None) -> None:
        """Wake this key then; None forgets it."""
        if at is None:
            self._at.pop(key, None)
            return
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))

    def due(self, now: float) -> list[str]:
        """Keys whose time has come, once each."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._at.get(key) == at:
                del self._at[key]
                found.append(key)
        return found

    def next(self) -> float | None:
        """The earliest deadline."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
