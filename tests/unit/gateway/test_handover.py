"""What a gateway says before pods are removed, and the one wake that its callers need."""

from __future__ import annotations

import pytest

from dedicated.api.names import ack_annotation
from dedicated.gateway.addresses import Replica
from dedicated.gateway.handover import BUSY, Drain, Seen, acknowledgement, drain_of, routable, to_write, wake_to_write, wakes

DRAIN = Drain(7, frozenset({"a", "b"}), "NoTraffic")


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (Seen(knows=False, in_flight=0, unwritten=False), None),
        (Seen(knows=True, in_flight=1, unwritten=False), BUSY),
        (Seen(knows=True, in_flight=0, unwritten=True), BUSY),
        (Seen(knows=True, in_flight=0, unwritten=False), "7"),
    ],
    ids=["just started", "a stream is open", "activity is not written yet", "nothing is there"],
)
def test_an_epoch_is_acknowledged_only_when_nothing_is_there_and_everything_is_written(seen, says):
    assert acknowledgement(DRAIN, seen) == says


def test_without_pods_there_is_nothing_to_say():
    assert acknowledgement(Drain(7), Seen(knows=True, in_flight=0, unwritten=False)) is None


@pytest.mark.parametrize(("says", "stands", "written"), [("7", None, "7"), ("7", BUSY, "7"), ("7", "7", None), (BUSY, "6", BUSY), (None, "6", None)])
def test_a_word_is_written_once_per_change(says, stands, written):
    assert to_write(says, stands) == written


def test_nothing_new_goes_to_a_pod_that_is_drained():
    replicas = [Replica("10.0.0.1:80", "a"), Replica("10.0.0.2:80", "c")]
    assert routable(replicas, DRAIN) == replicas[1:]
    assert routable(replicas, Drain(7)) == replicas
    assert routable(replicas, Drain(7, gone=frozenset({"c"}))) == replicas[:1]


@pytest.mark.parametrize(
    ("wanted", "stands", "writing", "written"),
    [
        (None, None, None, None),
        (3, None, None, 3),
        (3, 2, None, 3),
        (3, 3, None, None),
        (3, None, 3, None),
        (3, 2, 2, None),
        (3, 4, None, None),
    ],
    ids=[
        "nobody calls",
        "the first",
        "after an earlier one",
        "it stands there",
        "it is on its way",
        "another is on its way",
        "a later one stands there",
    ],
)
def test_a_wake_is_written_once_per_epoch(wanted, stands, writing, written):
    assert wake_to_write(wanted, stands, writing) == written


def test_a_call_wakes_what_sleeps_and_what_is_being_put_to_sleep():
    assert wakes(Drain(7), sleeping=True) and wakes(DRAIN, sleeping=False) and wakes(Drain(7, reason="NoTraffic"), sleeping=False)
    assert not wakes(Drain(7), sleeping=False) and not wakes(Drain(8, frozenset("a"), "Updating"), sleeping=False)


def test_a_status_without_a_drain_drains_nothing():
    assert drain_of({}) == Drain()
    assert drain_of({"drain": {"epoch": 3}}) == Drain(3)
    told = {"epoch": 4, "pods": ["a"], "gone": ["b"], "reason": "NoTraffic"}
    assert drain_of({"drain": told}) == Drain(4, frozenset("a"), "NoTraffic", frozenset("b"))


def test_the_annotation_of_a_gateway_has_room_for_any_pods_name():
    assert ack_annotation("gateway-0") == "inference.dedicated.dev/ack-gateway-0"
    long = [ack_annotation("g" * 80 + end) for end in "ab"]
    assert all(len(name.split("/")[1]) <= 63 for name in long) and long[0] != long[1]
