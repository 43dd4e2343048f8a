"""A pod without a node: how long it is waited for, and for what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dedicated.api.reasons import Reason
from dedicated.diagnosis.capacity import no_room
from dedicated.diagnosis.diagnose import next_deadline
from dedicated.diagnosis.evidence import EventFacts, Limits
from tests.support.builders import NOW, a_pod

LIMITS = Limits(placement_s=1800, start_s=300, capacity_s=60, coming_s=600)
COMES = EventFacts("TriggeredScaleUp", "pod triggered scale-up: [{pool 0->1 (max: 3)}]", False, NOW)
NOMINATED = EventFacts("Nominated", "Pod should schedule on: nodeclaim/default-x", False, NOW)
COMES_NOT = EventFacts("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached", False, NOW)


def waiting(age_s, *events):
    return a_pod(
        node=None, scheduled=False, scheduled_at=None, created_at=NOW - age_s, unschedulable_message="0/3 nodes are available", events=events
    )


@pytest.mark.parametrize(
    ("age_s", "events", "reason", "final", "elsewhere"),
    [
        pytest.param(59, (), Reason.NO_CAPACITY, False, False, id="a second before another class"),
        pytest.param(60, (), Reason.NO_CAPACITY, False, True, id="time for another class"),
        pytest.param(1799, (), Reason.NO_CAPACITY, False, True, id="a second before the end"),
        pytest.param(1800, (), Reason.NO_CAPACITY, True, True, id="the end"),
        pytest.param(599, (COMES,), Reason.NODE_COMING, False, False, id="a node is coming"),
        pytest.param(599, (NOMINATED,), Reason.NODE_COMING, False, False, id="Karpenter has chosen one"),
        pytest.param(600, (COMES,), Reason.NODE_COMING, False, True, id="it does not come"),
        pytest.param(60, (COMES, COMES_NOT), Reason.NO_CAPACITY, False, True, id="it will not come after all"),
        pytest.param(60, (COMES_NOT, COMES), Reason.NODE_COMING, False, False, id="it comes after all"),
        pytest.param(1800, (COMES,), Reason.NO_CAPACITY, True, True, id="it came too late"),
    ],
)
def test_how_long_a_pod_waits_for_its_node(age_s, events, reason, final, elsewhere):
    found = no_room(waiting(age_s, *events), LIMITS, NOW)
    assert (found.reason, found.final, found.elsewhere) == (reason, final, elsewhere)


def test_a_node_that_is_coming_is_told_in_the_provisioners_words():
    assert "A node is coming" in no_room(waiting(5, COMES), LIMITS, NOW).message
    assert "TriggeredScaleUp: pod triggered scale-up" in no_room(waiting(5, COMES), LIMITS, NOW).message


def test_a_pod_in_a_queue_waits_without_an_end():
    queued = replace(waiting(10**6), scheduled=None, gated=True)
    found = no_room(queued, LIMITS, NOW)
    assert (found.reason, found.final) == (Reason.QUEUED, False) and next_deadline([queued], LIMITS, NOW) is None


def test_the_next_deadline_is_that_of_the_class_then_that_of_the_placement():
    assert next_deadline([waiting(5)], LIMITS, NOW) == NOW + 55
    assert next_deadline([waiting(61)], LIMITS, NOW) == NOW - 61 + 1800
