"""Holds calls: the room of `waitroom` with futures, timers and probes around it. What it knows of the cluster it is told by `changed`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from dedicated.adapters.health import Health
from dedicated.gateway.access import Wait, not_now
from dedicated.gateway.activity import Reporter
from dedicated.gateway.standing import State
from dedicated.gateway.table import Endpoint, Table
from dedicated.gateway.waitroom import Full, Held, WaitRoom, pause_s
from dedicated.telemetry import metrics

EVERY_S = 1.0
"""Between two looks at what held calls need, beside those that events bring: a wake that could not be written is asked for again."""

TIMER_S = 0.01
"""A timer may go off a little early."""


class Holding:
    """The calls that this gateway holds."""

    def __init__(self, room: WaitRoom, table: Table, reporter: Reporter, health: Health, now: Callable[[], float]) -> None:
        self._room, self._table, self._reporter, self._health, self._now = room, table, reporter, health, now
        self._futures: dict[Held, asyncio.Future[None]] = {}
        self._probing: dict[str, asyncio.Task[None]] = {}

    async def hold(self, endpoint: Endpoint, size: int, hold_s: float) -> Full | None:
        """Come back when the call should be judged again; Full where it may not be held. A caller that leaves cancels this."""
        held = self._room.enter(endpoint.id, size, endpoint.hold, hold_s, time.monotonic())
        if isinstance(held, Full):
            return held
        loop = asyncio.get_running_loop()
        future = self._futures[held] = loop.create_future()
        timer = loop.call_later(hold_s, self._expire)
        metrics.GATEWAY_WAITING.set(len(self._room))
        self._look(endpoint.id)
        try:
            await future
        finally:
            timer.cancel()
            self._room.leave(held)
            self._futures.pop(held, None)
            metrics.GATEWAY_WAITING.set(len(self._room))
        return None

    async def run(self) -> None:
        """Look after what is held, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            for endpoint_id in self._room.endpoints():
                self._look(endpoint_id)

    def endpoint_changed(self, endpoint_id: str) -> None:
        """An endpoint is another than it was, or gone."""
        if self._room.holds(endpoint_id):
            self._look(endpoint_id)

    def addresses_changed(self) -> None:
        """Some endpoint's addresses are other ones."""
        for endpoint_id in self._room.endpoints():
            self._look(endpoint_id)

    def _look(self, endpoint_id: str) -> None:
        """Let the calls of an endpoint go, or see to what they wait for."""
        endpoint = self._table.by_id(endpoint_id)
        wait = self._wait(endpoint)
        if endpoint is None or wait is None or not wait.passes:
            self._let_go(self._room.let_go(endpoint_id))
            return
        if wait.wakes:
            self._reporter.wake_soon(endpoint)
        if endpoint_id not in self._probing and endpoint.standing.state is not State.SLEEPING and self._table.unproven(endpoint):
            task = self._probing[endpoint_id] = asyncio.get_running_loop().create_task(self._probe(endpoint_id))
            task.add_done_callback(lambda _task: self._probing.pop(endpoint_id, None))

    def _wait(self, endpoint: Endpoint | None) -> Wait | None:
        """Why an endpoint does not answer; None where it does or is no more."""
        if endpoint is None or (endpoint.standing.state in (State.UP, State.WAKING) and self._table.usable(endpoint)):
            return None
        return not_now(endpoint, self._now())

    async def _probe(self, endpoint_id: str) -> None:
        """Ask the engine itself whether it is healthy, until it is or nobody waits any more."""
        began = time.monotonic()
        while (endpoint := self._table.by_id(endpoint_id)) and self._room.holds(endpoint_id):
            replicas = self._table.unproven(endpoint)
            if not replicas or endpoint.standing.state is State.SLEEPING:
                return
            asked_at = time.monotonic()
            answers = await asyncio.gather(*(self._health.healthy(replica.address, endpoint.health_path) for replica in replicas))
            for replica in (replica for replica, healthy in zip(replicas, answers, strict=True) if healthy):
                self._table.prove(replica)
            if any(answers):
                self._look(endpoint_id)
                return
            pause = pause_s(asked_at - began, len(self._probing))
            await asyncio.sleep(max(0.0, pause - (time.monotonic() - asked_at)))

    def _expire(self) -> None:
        self._let_go(self._room.expire(time.monotonic() + TIMER_S))

    def _let_go(self, calls: list[Held]) -> None:
        for held in calls:
            future = self._futures.get(held)
            if future is not None and not future.done():
                future.set_result(None)
