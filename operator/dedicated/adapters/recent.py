"""Results of pure functions for the endpoints that were looked at last: passes come in bursts, and most of them ask the same again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")
MOST = 512
"""Endpoints that are remembered: enough for a burst, and bounded however many there are."""


class Recent:
    """Of each endpoint the last result of each function, with what it was made from."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._of: dict[str, dict[str, tuple[Hashable, object]]] = {}

    def of(self, what: str, uid: str, key: Hashable, make: Callable[[], T]) -> T:
        """The result that is known for this key; else it is made."""
        known = self._of.pop(uid, {})
        self._of[uid] = known
        if what not in known or known[what][0] != key:
            known[what] = (key, make())
        if len(self._of) > self._most:
            del self._of[next(iter(self._of))]
        found: T = known[what][1]  # type: ignore[assignment]
        return found
