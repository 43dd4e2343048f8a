"""What is worth an Event: told once, in the past tense, never at the first status."""

from __future__ import annotations

import pytest

from dedicated.api.status import Condition, EndpointStatus, Phase
from dedicated.lifecycle.status import is_urgent
from dedicated.lifecycle.transitions import transition


def status(phase, stalled=None, message="It broke."):
    conditions = [Condition(type="Ready", status="False", reason="EngineStarting", message="m")]
    if stalled:
        conditions.append(Condition(type="Stalled", status="True", reason=stalled, message=message))
    return EndpointStatus(phase=phase, conditions=conditions)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (EndpointStatus(), status(Phase.BUILDING), None),
        (status(Phase.BUILDING), status(Phase.BUILDING), None),
        (status(Phase.BUILDING), status(Phase.UP), "Came up: m"),
        (status(Phase.BUILDING), status(Phase.FAILED, "CrashLoop"), "Failed: It broke."),
        (status(Phase.FAILED, "CrashLoop"), status(Phase.FAILED, "CrashLoop", "It broke again."), None),
        (status(Phase.FAILED, "CrashLoop"), status(Phase.FAILED, "NoCapacity"), "Failed: It broke."),
        (status(Phase.UP), status(Phase.UP, "CrashLoop"), "The update failed: It broke."),
        (status(Phase.UP), status(Phase.PAUSED), "Was paused: m"),
    ],
    ids=["the first status", "nothing new", "up", "failed", "failed again alike", "failed otherwise", "an update failed", "paused"],
)
def test_a_transition_is_told_once(old, new, told):
    found = transition(old, new)
    assert (found.message if found else None) == told


def test_the_name_of_a_pod_can_wait_and_a_ready_replica_cannot():
    assert not is_urgent(EndpointStatus(phase=Phase.UP), EndpointStatus(phase=Phase.UP, replicas=1))
    assert is_urgent(EndpointStatus(phase=Phase.UP), EndpointStatus(phase=Phase.UP, ready_replicas=1))


def cached(reason, message, phase=Phase.BUILDING):
    found = status(phase)
    found.conditions.append(Condition(type="WeightsCached", status="True", reason=reason, message=message))
    return found


def test_a_cache_that_was_wrong_is_told_once_and_one_that_was_right_is_not():
    found = transition(status(Phase.BUILDING), cached("CacheCorrupt", "Commit a: one file was wrong."))
    assert (found.reason, found.warning) == ("CacheCorrupt", True) and "one file was wrong" in found.message
    assert transition(cached("CacheCorrupt", "m"), cached("CacheCorrupt", "m")) is None
    assert transition(status(Phase.BUILDING), cached("AllReady", "m")) is None
    assert is_urgent(status(Phase.BUILDING), cached("CacheCorrupt", "m"))
