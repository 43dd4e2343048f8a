"""What is told of starts and wakes: phases, expectation, savings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dedicated.api.reasons import Reason
from dedicated.api.status import EndpointStatus, PhaseTiming, Plan, SleepStatus, Timeline, WakeStatus, WakeSummary
from dedicated.core.clock import rfc3339
from dedicated.diagnosis.evidence import ContainerFacts, Termination
from dedicated.lifecycle.decide import Decision, Life, Verb
from dedicated.lifecycle.timeline import phases
from dedicated.lifecycle.wake import expected_s, slept
from tests.support.builders import NOW, TARGET, a_finding, a_model, a_pod, a_spec, an_engine, an_observation

FETCHED = ContainerFacts("fetch", init=True, terminated=Termination(0, started_at=NOW - 50, finished_at=NOW - 30))
LOADED = an_engine(running_since=NOW - 25)
ON_GPU = Plan(accelerator="l4", count=2, price_per_hour=3.6)


def timings(pod, before=(), **changes):
    return [(one.phase, one.seconds, one.bytes) for one in phases(an_observation(pods=(pod,), **changes), TARGET, before)]


def test_a_start_is_told_by_phases_that_add_up():
    pod = a_pod(ready=True, created_at=NOW - 60, scheduled_at=NOW - 58, ready_at=NOW - 5, containers=(FETCHED, LOADED))
    assert timings(pod) == [("schedule", 2, None), ("image", 13, None), ("fetch", 20, 1024**3), ("load", 20, None)]
    assert sum(seconds for _, seconds, _ in timings(pod)) == 55


@pytest.mark.parametrize(
    ("pod", "told"),
    [
        (a_pod(node=None, scheduled=False, scheduled_at=None), [("schedule", None)]),
        (a_pod(), [("schedule", 0), ("image", None)]),
        (a_pod(containers=(ContainerFacts("fetch", init=True, running_since=NOW),)), [("schedule", 0), ("image", None), ("fetch", None)]),
        (a_pod(containers=(LOADED,)), [("schedule", 0), ("image", 35), ("load", None)]),
    ],
    ids=["no node yet", "the image comes", "the weights come", "the engine starts"],
)
def test_what_goes_on_has_no_duration_yet(pod, told):
    assert [(phase, seconds) for phase, seconds, _ in timings(replace(pod, created_at=NOW - 60, scheduled_at=pod.scheduled_at and NOW - 60))] == told


def test_a_node_that_was_waited_for_is_remembered_when_it_is_there():
    waiting = a_pod(node=None, scheduled=False, scheduled_at=None)
    coming = an_observation(pods=(waiting,), finding=a_finding(Reason.NODE_COMING, final=False))
    before = phases(coming, TARGET, ())
    assert [one.phase for one in before] == ["node"]
    assert timings(a_pod(), before)[0][0] == "node"
    assert timings(a_pod())[0][0] == "schedule"


def past(seconds, succeeded=True, tier="hub"):
    return WakeSummary(at=rfc3339(NOW), tier=tier, seconds=seconds, succeeded=succeeded)


BUILT = Timeline(building=[PhaseTiming(phase=name, started_at=rfc3339(NOW), seconds=s) for name, s in (("schedule", 1), ("image", 300), ("load", 9))])
VLLM = a_spec(engine={"kind": "vllm"}, hardware={})


@pytest.mark.parametrize(
    ("history", "timeline", "spec", "expected"),
    [
        ([past(10), past(30), past(20)], None, a_spec(), 20),
        ([past(10), past(500, succeeded=False)], None, a_spec(), 10),
        ([past(10, tier="node")], BUILT, a_spec(), 10),
        ([], BUILT, a_spec(), 10),
        ([], None, VLLM, 42.5),
        ([], None, a_spec(), None),
    ],
    ids=[
        "the median of its own",
        "a failed one tells nothing",
        "another tier tells nothing",
        "its last start, without the image",
        "a seed",
        "unknown",
    ],
)
def test_how_long_a_wake_takes(history, timeline, spec, expected):
    assert expected_s(WakeStatus(history=history), timeline, spec, a_model()) == expected


def test_a_sleep_that_ends_is_counted_in_accelerators_and_money():
    status = EndpointStatus(sleep=SleepStatus(since=rfc3339(NOW - 1800), seconds=100, accelerator_seconds=200, saved_usd=1.0))
    seen = an_observation(status=status, plan=ON_GPU)
    waking = Decision(Verb.ROLL, Reason.WAKING, "", {}, TARGET, life=Life.WAKING)
    assert slept(seen, waking) == SleepStatus(seconds=1900, accelerator_seconds=200 + 3600, saved_usd=2.8)
    assert slept(seen, replace(waking, life=Life.ASLEEP)) == status.sleep
    assert slept(an_observation(), replace(waking, life=Life.AWAKE)) is None
