"""One question at a time for each key; answers for a while, refusals briefly, all of it bounded."""

from __future__ import annotations

import asyncio

import pytest

from dedicated.adapters.hub.cache import REFUSED_S, Cache
from dedicated.api.errors import HubRateLimited, HubUnavailable, ModelNotFound


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock):
    return Cache(60.0, most=3, clock=clock)


class Question:
    """Counts how often it was asked; answers with a text, or raises."""

    def __init__(self, answer="answer"):
        self.answer, self.asked = answer, 0

    async def __call__(self):
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_thousand_who_ask_at_once_are_one_question(cache):
    question = Question()
    assert set(await asyncio.gather(*(cache.of("key", question) for _ in range(1000)))) == {"answer"}
    assert question.asked == 1


async def test_an_answer_is_good_for_a_while_and_then_asked_anew(cache, clock):
    question = Question()
    for ago_s, asked in ((0, 1), (59.9, 1), (0.1, 2)):
        clock.now += ago_s
        await cache.of("key", question)
        assert question.asked == asked


async def test_another_key_is_another_question(cache):
    question = Question()
    await cache.of("a", question)
    await cache.of("b", question)
    assert question.asked == 2


@pytest.mark.parametrize("refusal", [ModelNotFound("No."), HubUnavailable("Away.")], ids=["for good", "for now"])
async def test_a_refusal_is_kept_briefly_and_each_gets_its_own(cache, clock, refusal):
    question = Question(refusal)
    caught = []
    for _ in range(2):
        with pytest.raises(type(refusal), match=refusal.message) as raised:
            await cache.of("key", question)
        caught.append(raised.value)
    assert caught[0] is not caught[1] and question.asked == 1
    clock.now += REFUSED_S
    with pytest.raises(type(refusal)):
        await cache.of("key", question)
    assert question.asked == 2


async def test_a_refusal_that_names_its_own_wait_is_not_kept(cache):
    question = Question(HubRateLimited("Wait.", retry_after_s=1.0))
    for _ in range(2):
        with pytest.raises(HubRateLimited):
            await cache.of("key", question)
    assert question.asked == 2


async def test_who_is_cancelled_takes_the_question_away_from_nobody_else(cache):
    question = Question()
    first = asyncio.create_task(cache.of("key", question))
    second = asyncio.create_task(cache.of("key", question))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "answer"
    assert question.asked == 1


async def test_the_least_recently_used_goes_first(cache):
    question = Question()
    for key in ("a", "b", "c", "a", "d"):
        await cache.of(key, question)
    asked = question.asked
    await cache.of("a", question)
    assert question.asked == asked
    await cache.of("b", question)
    assert question.asked == asked + 1


async def test_what_is_kept_is_bounded_by_its_cost(clock):
    cache = Cache(60.0, most=100, most_cost=10, cost=len, clock=clock)
    question = Question("12345678")
    for key in ("a", "b"):
        await cache.of(key, question)
    assert list(cache._known) == ["b"]
    await cache.of("c", Question("x" * 11))
    assert list(cache._known) == []


async def test_a_question_that_is_a_bug_is_asked_again(cache):
    question = Question(ZeroDivisionError())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await cache.of("key", question)
    assert question.asked == 2


async def test_a_cache_that_is_closed_leaves_no_question_open(cache):
    asking = asyncio.create_task(cache.of("key", lambda: asyncio.sleep(60)))
    await asyncio.sleep(0)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
