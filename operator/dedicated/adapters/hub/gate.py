"""
Holds calls back while the hub asked for it, or while it cannot be reached.

Theory of operation: a quota is one caller's for one kind of request, so the key is (kind, caller); a hub that cannot be reached is so for all. While
a key is held every call for it fails at once with what holds it, and nothing is sent. When the time is over one call goes ahead and the others wait
for what it finds: its success opens the gate, its failure holds it again, and should it never come back the next one goes two seconds later. So ten
thousand endpoints that wait for one quota do not spend the next one on asking whether it is there.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from dedicated.api.errors import DedicatedError

AHEAD_S = 2.0
"""How long the others wait for the one that goes ahead. (seconds)"""
MOST = 4096
"""Keys that are held at a time; beyond that the oldest is let go."""


@dataclass
class _Held:
    until: float
    why: DedicatedError
    tell_wait: bool


class Gate:
    """What is held, and until when."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[Hashable, _Held] = {}

    def check(self, *keys: Hashable) -> None:
        """Raise what holds one of the keys; return for the one call that goes ahead after its time."""
        held = [found for key in keys if (found := self._held.get(key))]
        now = self._clock()
        for found in held:
            if now < found.until:
                raise _again(found, found.until - now)
        for found in held:
            found.until = now + AHEAD_S

    def hold(self, key: Hashable, seconds: float, why: DedicatedError) -> None:
        """Let nothing of this key through for so long. Where `why` names a wait, those who are held are told what is left of it."""
        self._held.pop(key, None)
        self._held[key] = _Held(self._clock() + seconds, why, why.retry_after_s is not None)
        if len(self._held) > MOST:
            del self._held[next(iter(self._held))]

    def open(self, *keys: Hashable) -> None:
        """What was asked was answered."""
        for key in keys:
            self._held.pop(key, None)


class NoGate(Gate):
    """Holds nothing back: for a process that asks for one model and has its own patience."""

    def hold(self, key: Hashable, seconds: float, why: DedicatedError) -> None:
        """Nothing is held."""


def _again(held: _Held, left_s: float) -> DedicatedError:
    """The error anew: each caller has its own, since a traceback belongs to one."""
    error = copy.copy(held.why)
    if held.tell_wait:
        error.retry_after_s = left_s
    return error
