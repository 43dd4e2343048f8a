"""
Answers that many endpoints share: one question at a time for each key, kept for a while, bounded in number and in cost.

A refusal is kept too, but briefly: it is an answer, and whoever mends its cause should not wait for us. A refusal that names its own wait is not
kept, since the gate keeps it.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dedicated.api.errors import DedicatedError

T = TypeVar("T")
REFUSED_S = 5.0
"""How long a refusal is kept. (seconds)"""


@dataclass(frozen=True)
class _Answer(Generic[T]):
    value: T | None
    refusal: DedicatedError | None
    until: float
    cost: int

    def take(self) -> T:
        """The value; or the refusal anew, since a traceback belongs to one caller."""
        if self.refusal is not None:
            raise copy.copy(self.refusal)
        return self.value  # type: ignore[return-value]  # None only where T allows it


class Cache(Generic[T]):
    """Answers by key. (keep_s: how long an answer is good; most, most_cost: bounds, the least recently used goes first)"""

    def __init__(
        self,
        keep_s: float,
        *,
        most: int,
        most_cost: int = 0,
        cost: Callable[[T], int] = lambda _: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keep_s, self._most, self._most_cost, self._cost, self._clock = keep_s, most, most_cost, cost, clock
        self._known: OrderedDict[Hashable, _Answer[T]] = OrderedDict()
        self._asking: dict[Hashable, asyncio.Task[_Answer[T]]] = {}
        self._spent = 0

    async def of(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """
        The answer that is known for this key; else it is asked for, once for all who want it now.

        Raises:
            DedicatedError: What asking raised, now or a few seconds ago.
        """
        known = self._known.get(key)
        if known and self._clock() < known.until:
            self._known.move_to_end(key)
            return known.take()
        if key not in self._asking:
            self._asking[key] = asyncio.get_running_loop().create_task(self._ask(key, ask))
        # Who is cancelled takes the question away from nobody else.
        return (await asyncio.shield(self._asking[key])).take()

    def know(self, key: Hashable, value: T) -> None:
        """Take in an answer that came with another one."""
        self._keep(key, _Answer(value, None, self._clock() + self._keep_s, self._cost(value)))

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> _Answer[T]:
        try:
            value = await ask()
            answer = _Answer(value, None, self._clock() + self._keep_s, self._cost(value))
        except DedicatedError as refusal:
            keep_s = REFUSED_S if refusal.retry_after_s is None else 0.0
            answer = _Answer(None, refusal, self._clock() + keep_s, 0)
        finally:
            del self._asking[key]
        self._keep(key, answer)
        return answer

    def _keep(self, key: Hashable, answer: _Answer[T]) -> None:
        self._forget(key)
        self._known[key] = answer
        self._spent += answer.cost
        while len(self._known) > self._most or (self._most_cost and self._spent > self._most_cost):
            self._forget(next(iter(self._known)))

    def _forget(self, key: Hashable) -> None:
        gone = self._known.pop(key, None)
        self._spent -= gone.cost if gone else 0

    async def close(self) -> None:
        """Ask no more."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
