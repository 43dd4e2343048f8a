"""When activity is written, and how often."""

from __future__ import annotations

import asyncio
import time

import pytest

from dedicated.api.errors import ApiUnavailable
from dedicated.gateway.activity import Reporter
from dedicated.gateway.addresses import networks
from dedicated.gateway.ledger import Ledger
from dedicated.gateway.table import Table
from dedicated.gateway.watching import Watched
from tests.support.gateway import an_endpoint, id_of

ENDPOINT = an_endpoint("e", "sleeping", drain={"epoch": 3})
ID = id_of(ENDPOINT)


class Writes:
    """Stands in for the adapter and the API server's clock."""

    def __init__(self):
        self.done, self.fails, self.skew_s = [], False, 5000.0

    def now(self):
        return time.time() + self.skew_s

    async def renew(self, endpoint_id, at):
        await self._write(("renew", endpoint_id, at))

    async def wake(self, endpoint_id, epoch):
        await self._write(("wake", endpoint_id, epoch))

    async def _write(self, what):
        if self.fails:
            raise ApiUnavailable("made by a test")
        self.done.append(what)


@pytest.fixture
def seen():
    writes, watched, ledger = Writes(), Watched(Table(networks([]))), Ledger()
    watched.table.put(ENDPOINT)
    return writes, watched, ledger, Reporter(writes, writes, watched, ledger, "dedicated-system", 15.0)


async def test_activity_is_written_in_the_api_servers_time_and_then_not_for_a_period(seen):
    writes, _, ledger, reporter = seen
    ledger.began("r", ID, "a", time.monotonic())
    await reporter.report()
    await reporter.report()
    ((what, endpoint_id, at),) = writes.done
    assert (what, endpoint_id) == ("renew", ID) and abs(at - writes.now()) < 1


async def test_a_renewal_by_anybody_is_as_good_as_our_own(seen):
    writes, watched, ledger, reporter = seen
    watched.renewed[ID] = writes.now() - 40
    ledger.began("r", ID, "a", time.monotonic())
    await reporter.report()
    assert writes.done == []
    watched.renewed[ID] = writes.now() - 46
    await reporter.report()
    assert len(writes.done) == 1


async def test_a_write_that_fails_is_tried_again(seen):
    writes, _, ledger, reporter = seen
    writes.fails = True
    ledger.began("r", ID, "a", time.monotonic())
    await reporter.report()
    writes.fails = False
    await reporter.report()
    assert len(writes.done) == 1


async def test_a_deleted_endpoint_is_forgotten(seen):
    writes, watched, ledger, reporter = seen
    ledger.began("r", ID, "a", time.monotonic())
    watched.table.remove(ENDPOINT["metadata"]["uid"])
    await reporter.report()
    assert writes.done == [] and ledger.known() == set()


async def test_a_wake_is_asked_for_once_per_epoch_and_again_where_it_failed(seen):
    writes, watched, _, reporter = seen
    endpoint = watched.table.by_id(ID)
    writes.fails = True
    assert not await reporter.wake(endpoint)
    writes.fails = False
    assert await reporter.wake(endpoint) and await reporter.wake(endpoint)
    reporter.wake_soon(endpoint)
    assert writes.done == [("wake", ID, 3)] and watched.wakes == {ID: 3}


async def test_a_hundred_calls_are_one_wake(seen):
    writes, watched, _, reporter = seen
    endpoint = watched.table.by_id(ID)
    assert all(await asyncio.gather(*(reporter.wake(endpoint) for _ in range(100))))
    assert writes.done == [("wake", ID, 3)]


async def test_a_wake_that_another_gateway_wrote_is_as_good_as_our_own(seen):
    writes, watched, _, reporter = seen
    watched.wakes[ID] = 3
    assert await reporter.wake(watched.table.by_id(ID))
    assert writes.done == [] and not reporter.unwritten(watched.table.by_id(ID))


async def test_a_wake_that_could_not_be_written_is_asked_for_again_while_it_means_something(seen):
    writes, watched, _, reporter = seen
    writes.fails = True
    assert not await reporter.wake(watched.table.by_id(ID))
    assert reporter.unwritten(watched.table.by_id(ID))
    await reporter.report()
    writes.fails = False
    await reporter.report()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert writes.done == [("wake", ID, 3)] and not reporter.unwritten(watched.table.by_id(ID))
    writes.fails = True
    watched.table.put(an_endpoint("e", "sleeping", drain={"epoch": 4}))
    assert not await reporter.wake(watched.table.by_id(ID))
    watched.table.put(an_endpoint("e", "waking", drain={"epoch": 4}))
    writes.fails = False
    await reporter.report()
    await asyncio.sleep(0)
    assert writes.done == [("wake", ID, 3)]


async def test_activity_that_is_due_is_not_written_yet(seen):
    _, watched, ledger, reporter = seen
    endpoint = watched.table.by_id(ID)
    assert not reporter.unwritten(endpoint)
    ledger.began("r", ID, "a", time.monotonic())
    assert reporter.unwritten(endpoint)
    await reporter.report()
    assert not reporter.unwritten(endpoint)
