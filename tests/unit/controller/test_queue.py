"""Who is looked at, and when: coalescing, single flight, no lost wake, deadlines."""

from __future__ import annotations

import asyncio

from dedicated.controller.deadlines import Deadlines
from dedicated.controller.queue import LONG_AT_ONCE, KeyQueue


async def test_many_wakes_before_a_pass_are_one_pass():
    queue = KeyQueue()
    for _ in range(10):
        queue.add("a")
    assert await queue.take() == "a" and len(queue) == 0


async def test_a_wake_during_a_pass_is_a_pass_after_it_and_never_beside_it():
    queue = KeyQueue()
    queue.add("a")
    key = await queue.take()
    queue.add("a")
    queue.add("b")
    assert await queue.take() == "b"
    queue.done(key)
    assert await asyncio.wait_for(queue.take(), 1) == "a"


async def test_changes_go_before_resyncs():
    queue = KeyQueue()
    queue.add("slow", hurry=False)
    queue.add("fast")
    assert [await queue.take(), await queue.take()] == ["fast", "slow"]


async def test_no_key_is_ever_with_two_workers_and_none_is_lost():
    queue, running, seen = KeyQueue(), set(), {}

    async def worker():
        while True:
            key = await queue.take()
            assert key not in running
            running.add(key)
            await asyncio.sleep(0)
            seen[key] = wanted[key]
            running.remove(key)
            queue.done(key)

    wanted = {}
    workers = [asyncio.create_task(worker()) for _ in range(4)]
    for number in range(500):
        key = str(number % 7)
        wanted[key] = number
        queue.add(key)
        if number % 3 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    for task in workers:
        assert not task.done()
        task.cancel()
    assert seen == wanted


def test_failures_back_off_up_to_five_minutes_and_success_forgets():
    queue = KeyQueue()
    waits = [queue.failed("a") for _ in range(12)]
    assert 0.8 <= waits[0] <= 1.2 and 240 <= waits[-1] <= 360
    queue.succeeded("a")
    assert queue.failed("a") <= 1.2


def test_a_deadline_that_is_set_anew_replaces_the_old_one():
    deadlines = Deadlines()
    deadlines.set("a", 10)
    deadlines.set("b", 5)
    deadlines.set("a", 3)
    assert deadlines.next() == 3
    assert deadlines.due(6) == ["a", "b"]
    assert deadlines.due(20) == [] and deadlines.next() is None


def test_a_deadline_can_be_forgotten():
    deadlines = Deadlines()
    deadlines.set("a", 1)
    deadlines.set("a", None)
    assert deadlines.due(9) == []


async def test_keys_whose_pass_takes_long_leave_workers_to_the_others():
    queue = KeyQueue(lambda key: key.startswith("long"))
    for number in range(100):
        queue.add(f"long-{number}")
    out = [await queue.take() for _ in range(LONG_AT_ONCE)]
    queue.add("other")
    assert await asyncio.wait_for(queue.take(), 1) == "other"
    queue.add("resync", hurry=False)
    assert await asyncio.wait_for(queue.take(), 1) == "resync"
    waiting = asyncio.create_task(queue.take())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    queue.done(out[0])
    assert await asyncio.wait_for(waiting, 1) == f"long-{LONG_AT_ONCE}"
