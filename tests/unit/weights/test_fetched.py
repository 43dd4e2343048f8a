"""What a fetch tells of itself, and how many streams it uses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedicated.api.reasons import Reason
from dedicated.weights.fetched import Fetched, Tier, fetched
from dedicated.weights.streams import FEWEST, FIRST, Streams, parts_at_once


def test_a_termination_message_is_read_as_it_was_left():
    told = Fetched(Tier.S3, 1000, 2.0, {"s3": 900, "hub": 100}, True, Reason.CACHE_CORRUPT, "one part was wrong")
    assert fetched(told.encoded()) == told and told.bytes_per_s == 500


@pytest.mark.parametrize("message", ["", "{", "[]", "3", '{"reason": "NodeDiskFull"}', '{"tier": "moon", "bytes": 1, "seconds": 1}'])
def test_other_last_words_are_no_fetch(message):
    assert fetched(message) is None


def test_streams_grow_while_that_pays_and_then_stay():
    first = Streams().after(100.0, slowed=False)
    second = first.after(150.0, slowed=False)
    third = second.after(151.0, slowed=False)
    assert (first.count, second.count, third.count) == (12, 16, 12)
    assert third.after(9999.0, slowed=False) == third


def test_a_store_that_asks_for_less_gets_half():
    assert Streams(16).after(1.0, slowed=True).count == 8
    assert Streams(1).after(1.0, slowed=True).count == FEWEST


@given(st.lists(st.tuples(st.floats(0, 1e10), st.booleans()), max_size=50), st.integers(1, 64))
def test_streams_stay_within_their_bounds(intervals, most):
    now = Streams(min(FIRST, most))
    for rate, slowed in intervals:
        now = now.after(rate, slowed=slowed, most=most)
        assert FEWEST <= now.count <= most


def test_requests_are_long_while_streams_are_few():
    assert parts_at_once(8) == 4 and parts_at_once(9) == 1
