"""Who may wait, who is let go, and when."""

from __future__ import annotations

import pytest

from dedicated.gateway.table import Hold
from dedicated.gateway.waitroom import Caps, Full, WaitRoom, hold_s, pause_s

HOLD = Hold(default_s=5, longest_s=60, requests=3, bytes=1000)


@pytest.fixture
def room():
    return WaitRoom(Caps(requests=5, bytes=1500))


def test_calls_are_let_go_in_the_order_in_which_they_came(room):
    held = [room.enter("e", 1, HOLD, 10, now) for now in (3.0, 1.0, 2.0)]
    other = room.enter("other", 1, HOLD, 10, 0.0)
    assert room.let_go("e") == held
    assert room.let_go("e") == [] and (len(room), room.bytes, room.endpoints()) == (1, 1, ["other"])
    room.leave(other)
    assert (len(room), room.bytes, room.endpoints()) == (0, 0, [])


def test_a_call_whose_time_is_over_is_let_go_and_the_others_stay(room):
    short, long = room.enter("e", 1, HOLD, 1, 0.0), room.enter("e", 1, HOLD, 10, 0.0)
    assert room.expire(0.9) == []
    assert room.expire(1.0) == [short] and room.let_go("e") == [long]


def test_a_caller_that_leaves_frees_its_place_once(room):
    held = [room.enter("e", 100, HOLD, 10, 0.0) for _ in range(3)]
    assert isinstance(room.enter("e", 100, HOLD, 10, 0.0), Full)
    room.leave(held[1])
    room.leave(held[1])
    assert (len(room), room.bytes) == (2, 200)
    assert not isinstance(room.enter("e", 100, HOLD, 10, 0.0), Full)


@pytest.mark.parametrize(
    ("before", "call", "sentence"),
    [
        ([("e", 1)] * 3, ("e", 1), "Too many calls already wait for this endpoint: at most 3 at once."),
        ([("e", 900)], ("e", 101), "The calls that wait for this endpoint are too large together: at most 1000 bytes."),
        ([("e", 1)] * 3 + [("f", 1)] * 2, ("g", 1), "Too many calls already wait at this gateway."),
        ([("e", 900), ("f", 600)], ("g", 1), "Too many calls already wait at this gateway."),
    ],
    ids=["calls of one endpoint", "bytes of one endpoint", "calls of the gateway", "bytes of the gateway"],
)
def test_a_full_room_says_why(room, before, call, sentence):
    for endpoint, size in before:
        assert not isinstance(room.enter(endpoint, size, HOLD, 10, 0.0), Full)
    assert room.enter(*call, HOLD, 10, 0.0) == Full(sentence)
    assert len(room) == len(before)


def test_what_is_exactly_at_the_limit_comes_in(room):
    assert not isinstance(room.enter("e", 1000, HOLD, 10, 0.0), Full)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 5),
        ({"x-scale-up-timeout": "30"}, 30),
        ({"x-scale-up-timeout": " 2.5s "}, 2.5),
        ({"x-scale-up-timeout": "0"}, 0),
        ({"x-scale-up-timeout": "900"}, 60),
        ({"x-scale-up-timeout": "-1"}, 5),
        ({"x-scale-up-timeout": "soon"}, 5),
        ({"x-scale-up-timeout": "1e9"}, 5),
        ({"prefer": "wait=10"}, 10),
        ({"prefer": "respond-async, Wait = 10"}, 10),
        ({"prefer": "wait=10; x=y, handling=lenient"}, 10),
        ({"prefer": "nowait=10"}, 5),
        ({"prefer": "wait=forever"}, 5),
        ({"x-scale-up-timeout": "7", "prefer": "wait=10"}, 7),
    ],
)
def test_a_call_is_held_as_long_as_it_asks_and_its_endpoint_allows(headers, seconds):
    assert hold_s(headers, HOLD) == seconds


def test_where_no_call_may_be_held_none_is():
    assert hold_s({"prefer": "wait=10"}, Hold(requests=0)) == 0


def test_probes_are_fast_at_first_and_slower_where_many_wake_together():
    assert pause_s(0, 1) == pause_s(1.9, 20) == 0.05
    assert pause_s(2.0, 1) == 0.25
    assert pause_s(0, 200) == 0.5
