"""What is told of starts and wakes: phases, expectation, savings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dedicated.api.names import endpoint_id
from dedicated.api.reasons import Reason
from dedicated.api.status import Condition, EndpointStatus, PhaseTiming, Plan, SleepStatus, Timeline, WakeRecord, WakeStatus, WakeSummary
from dedicated.core.clock import rfc3339
from dedicated.diagnosis.evidence import ContainerFacts, Termination
from dedicated.lifecycle.decide import Decision, Life, Verb, decide
from dedicated.lifecycle.status import report
from dedicated.lifecycle.timeline import phases
from dedicated.lifecycle.wake import expected_s, slept, tier_of_next, wakes
from dedicated.weights.fetched import Fetched, Tier
from tests.support.builders import NOW, TARGET, a_finding, a_model, a_pod, a_spec, an_engine, an_observation

ID = endpoint_id(an_observation().uid)
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
    assert expected_s(WakeStatus(history=history), timeline, spec, a_model(), "hub") == expected


def test_a_sleep_that_ends_is_counted_in_accelerators_and_money():
    status = EndpointStatus(sleep=SleepStatus(since=rfc3339(NOW - 1800), seconds=100, accelerator_seconds=200, saved_usd=1.0))
    seen = an_observation(status=status, plan=ON_GPU)
    waking = Decision(Verb.ROLL, Reason.WAKING, "", {}, TARGET, life=Life.WAKING)
    assert slept(seen, waking) == SleepStatus(seconds=1900, accelerator_seconds=200 + 3600, saved_usd=2.8)
    assert slept(seen, replace(waking, life=Life.ASLEEP)) == status.sleep
    assert slept(an_observation(), replace(waking, life=Life.AWAKE)) is None


def ended_wake(told, conditions=()):
    """The record of a wake that succeeds with a pod whose fetch has told this."""
    message = told.encoded() if told else ""
    fetch = ContainerFacts("fetch", init=True, terminated=Termination(0, started_at=NOW - 50, finished_at=NOW - 30, message=message))
    pod = a_pod(ready=True, created_at=NOW - 60, scheduled_at=NOW - 58, ready_at=NOW - 5, containers=(fetch, LOADED))
    current = WakeRecord(epoch=1, tier="hub", started_at=rfc3339(NOW - 61))
    seen = an_observation(pods=(pod,), status=EndpointStatus(wake=WakeStatus(current=current), conditions=list(conditions)))
    return wakes(seen, Decision(Verb.HOLD, Reason.ALL_READY, "", {TARGET: 1}, TARGET, life=Life.AWAKE), None)


def test_a_wake_tells_the_tier_and_the_bytes_that_its_fetch_has_told():
    found = ended_wake(Fetched(Tier.S3, 7 * 1024**3, 4.0, {"s3": 7 * 1024**3}, True))
    assert (found.last.tier, found.history[0].tier) == ("s3", "s3")
    assert [(one.tier, one.bytes) for one in found.last.phases if one.phase == "fetch"] == [("s3", 7 * 1024**3)]
    assert ended_wake(None).last.tier == "hub", "as it was expected"


def test_the_next_wake_is_expected_from_the_tier_that_holds_the_weights():
    cached = Condition(type="WeightsCached", status="True", reason="AllReady", message="Commit x")
    history = [past(30, tier="hub"), past(8, tier="s3")]
    spec = a_spec(model={"huggingFace": {"repo": "acme/tiny"}})
    for conditions, tier, seconds in (([cached], "s3", 8), ([cached.model_copy(update={"status": "False"})], "hub", 30), ([], "hub", 30)):
        seen = an_observation(spec=spec, status=EndpointStatus(conditions=conditions))
        assert tier_of_next(seen) == tier
        assert expected_s(WakeStatus(history=history), None, spec, a_model(), tier_of_next(seen)) == seconds


def test_a_model_of_ones_own_comes_from_its_bucket():
    assert tier_of_next(an_observation(spec=a_spec(model={"s3": {"uri": "s3://models/own/"}}))) == "s3"
    assert tier_of_next(an_observation(spec=a_spec(model=None))) is None


def test_where_the_gateway_is_known_the_status_says_where_to_call_the_endpoint():
    for url, told in (("https://llm.example.com", f"https://llm.example.com/api/d/{ID}/v1"), ("", None)):
        seen = an_observation(gateway_url=url)
        assert report(seen, decide(seen)).url == told
