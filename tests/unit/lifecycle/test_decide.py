"""The policies, row by row; the table in decide.py is the same."""

from __future__ import annotations

import pytest

from dedicated.api.errors import HubUnavailable, ModelNotFound
from dedicated.api.reasons import Reason
from dedicated.api.status import Plan
from dedicated.diagnosis.evidence import ContainerFacts
from dedicated.lifecycle.decide import Verb, decide
from dedicated.lifecycle.observation import Observation, Workload
from dedicated.lifecycle.status import report
from tests.support.builders import (
    NOW,
    OLD,
    TARGET,
    a_finding,
    a_pod,
    a_spec,
    an_observation,
    failed_before,
    serving,
    workloads,
)
from tests.support.status_rules import broken_rules

REPLACE = a_spec(update={"strategy": "replace"})
TWO = a_spec(replicas=2)
LOST = a_finding(Reason.HOST_OUT_OF_MEMORY, retryable=False)
WAITS = a_finding(Reason.NO_CAPACITY, final=False)
OLD_SERVES = {"status": serving(OLD), "workloads": workloads(old00000=1), "pods": (a_pod(OLD, ready=True),)}
BOTH = {**OLD_SERVES, "workloads": workloads(old00000=1, target00=1)}

FETCHES = ContainerFacts("fetch", init=True, running_since=NOW - 3)

ROWS = [
    ("its weights are on their way", {"pods": (a_pod(containers=(FETCHES,)),)}, Verb.ROLL, Reason.WEIGHTS_FETCHING, {TARGET: 1}, None),
    ("nothing exists yet", {}, Verb.ROLL, Reason.ENGINE_STARTING, {TARGET: 1}, None),
    ("its pod has no room", {"finding": WAITS}, Verb.ROLL, Reason.NO_CAPACITY, {TARGET: 1}, None),
    ("it answers", {"pods": (a_pod(ready=True),)}, Verb.ROLL, Reason.ALL_READY, {TARGET: 1}, TARGET),
    ("one of two answers", {"spec": TWO, "pods": (a_pod(ready=True), a_pod())}, Verb.ROLL, Reason.ALL_READY, {TARGET: 2}, TARGET),
    (
        "its class has no room and another would do",
        {
            "finding": WAITS,
            "plan": Plan(accelerator="l4", count=1),
            "next_plan": Plan(accelerator="l40s", count=1),
            "workloads": workloads(target00=1),
        },
        Verb.ROLL,
        Reason.NO_CAPACITY,
        {},
        None,
    ),
    (
        "an update's class has no room and another would do",
        {**BOTH, "finding": WAITS, "plan": Plan(accelerator="l4", count=1), "next_plan": Plan(accelerator="l40s", count=1)},
        Verb.ROLL,
        Reason.NO_CAPACITY,
        {OLD: 1},
        OLD,
    ),
    (
        "a pod of an earlier plan still waits for a node",
        {"pods": (a_pod("earlier0", node=None, scheduled=False),), "workloads": workloads(earlier0=1)},
        Verb.ROLL,
        Reason.ENGINE_STARTING,
        {},
        None,
    ),
    (
        "a pod of an earlier revision runs on a node",
        {"pods": (a_pod("earlier0"),), "workloads": workloads(earlier0=1)},
        Verb.ROLL,
        Reason.ENGINE_STARTING,
        {TARGET: 1},
        None,
    ),
    (
        "it fitted nowhere, and a node came",
        {"status": failed_before(Reason.DOES_NOT_FIT), "capacity_grew_at": NOW},
        Verb.ROLL,
        Reason.ENGINE_STARTING,
        {TARGET: 1},
        None,
    ),
    ("it is lost", {"finding": LOST, "workloads": workloads(target00=1)}, Verb.STALL, Reason.HOST_OUT_OF_MEMORY, {TARGET: 0}, None),
    (
        "it was lost and nothing changed",
        {"status": failed_before(), "workloads": workloads(target00=0)},
        Verb.STALL,
        Reason.HOST_OUT_OF_MEMORY,
        {TARGET: 0},
        None,
    ),
    ("it was lost and the spec changed", {"status": failed_before(inputs="before")}, Verb.ROLL, Reason.ENGINE_STARTING, {TARGET: 1}, None),
    ("its next attempt is a second away", {"status": failed_before(Reason.CRASH_LOOP, next_in_s=1)}, Verb.STALL, Reason.CRASH_LOOP, {}, None),
    ("its next attempt is due", {"status": failed_before(Reason.CRASH_LOOP, next_in_s=0)}, Verb.ROLL, Reason.ENGINE_STARTING, {TARGET: 1}, None),
    (
        "no room, and a node came",
        {"status": failed_before(Reason.NO_CAPACITY, next_in_s=99), "capacity_grew_at": NOW},
        Verb.ROLL,
        Reason.ENGINE_STARTING,
        {TARGET: 1},
        None,
    ),
    (
        "no room, and a node came before",
        {"status": failed_before(Reason.NO_CAPACITY, next_in_s=99), "capacity_grew_at": NOW - 90},
        Verb.STALL,
        Reason.NO_CAPACITY,
        {},
        None,
    ),
    (
        "a crash, and a node came",
        {"status": failed_before(Reason.CRASH_LOOP, next_in_s=99), "capacity_grew_at": NOW},
        Verb.STALL,
        Reason.CRASH_LOOP,
        {},
        None,
    ),
    ("the model does not exist", {"target": None, "model": None, "problem": ModelNotFound()}, Verb.STALL, Reason.MODEL_NOT_FOUND, {}, None),
    ("the hub is down", {"target": None, "model": None, "problem": HubUnavailable()}, Verb.HOLD, Reason.HUB_UNAVAILABLE, {}, None),
    ("suspended before anything existed", {"spec": a_spec(suspend=True)}, Verb.SCALE_TO, Reason.SUSPENDED, {}, TARGET),
    ("suspended while serving", {**OLD_SERVES, "spec": a_spec(suspend=True)}, Verb.SCALE_TO, Reason.SUSPENDED, {OLD: 0}, OLD),
    ("suspended in an update keeps what served", {**BOTH, "spec": a_spec(suspend=True)}, Verb.SCALE_TO, Reason.SUSPENDED, {OLD: 0}, OLD),
    ("surge runs both", OLD_SERVES, Verb.ROLL, Reason.UPDATING, {OLD: 1, TARGET: 1}, OLD),
    ("replace frees the hardware first", {**OLD_SERVES, "spec": REPLACE}, Verb.ROLL, Reason.UPDATING, {OLD: 0}, OLD),
    ("replace starts when the old pods are gone", {**OLD_SERVES, "spec": REPLACE, "pods": ()}, Verb.ROLL, Reason.UPDATING, {OLD: 0, TARGET: 1}, OLD),
    ("the new one answers", {**BOTH, "pods": (a_pod(OLD, ready=True), a_pod(ready=True))}, Verb.ROLL, Reason.ALL_READY, {TARGET: 1}, TARGET),
    ("the new one is lost, the old one serves on", {**BOTH, "finding": LOST}, Verb.STALL, Reason.HOST_OUT_OF_MEMORY, {OLD: 1, TARGET: 0}, OLD),
    (
        "the new model does not exist, the old one serves on",
        {**OLD_SERVES, "target": None, "model": None, "problem": ModelNotFound()},
        Verb.STALL,
        Reason.MODEL_NOT_FOUND,
        {OLD: 1},
        OLD,
    ),
    (
        "the hub is down in an update",
        {**OLD_SERVES, "target": None, "model": None, "problem": HubUnavailable()},
        Verb.HOLD,
        Reason.HUB_UNAVAILABLE,
        {OLD: 1},
        OLD,
    ),
    (
        "half of an update is lost",
        {**BOTH, "spec": TWO, "pods": (a_pod(OLD, ready=True), a_pod(ready=True)), "finding": LOST},
        Verb.STALL,
        Reason.HOST_OUT_OF_MEMORY,
        {OLD: 2, TARGET: 0},
        OLD,
    ),
    (
        "what served crashes once",
        {"status": serving(TARGET), "workloads": workloads(target00=1), "finding": a_finding(Reason.ENGINE_EXITED, final=False)},
        Verb.ROLL,
        Reason.ENGINE_EXITED,
        {TARGET: 1},
        TARGET,
    ),
    (
        "the pod is refused by a quota",
        {"workloads": {TARGET: Workload(TARGET, 1, refused="exceeded quota: gpus")}},
        Verb.STALL,
        Reason.QUOTA_EXCEEDED,
        {TARGET: 0},
        None,
    ),
    ("deleted", {**BOTH, "deleting": True}, Verb.HOLD, Reason.ALL_READY, {OLD: 1, TARGET: 1}, OLD),
]


@pytest.mark.parametrize(("seen", "verb", "reason", "replicas", "serves"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_first_policy_with_an_answer_wins(seen, verb, reason, replicas, serves):
    decision = decide(an_observation(**seen))
    assert (decision.verb, decision.reason, dict(decision.replicas), decision.serving) == (verb, reason, replicas, serves)


@pytest.mark.parametrize("seen", [row[1] for row in ROWS if not row[1].get("deleting")], ids=[row[0] for row in ROWS if not row[1].get("deleting")])
def test_every_status_obeys_the_rules(seen):
    observation = an_observation(**seen)
    assert broken_rules(report(observation, decide(observation)), observation.generation) == []


def attempts_of(observation: Observation, times: int) -> list[float]:
    """Seconds between the attempts of an endpoint that fails each time at once."""
    waits = []
    for _ in range(times):
        record = decide(observation).diagnosis
        waits.append(decide(observation).look_again_at - observation.now)
        assert record is not None
        observation = an_observation(**{**vars(observation), "now": decide(observation).look_again_at, "status": failed_status(record)})
    return waits


def failed_status(record):
    return failed_before().model_copy(update={"diagnosis": record})


def test_attempts_of_a_failure_that_may_mend_come_ever_more_slowly_up_to_a_quarter_of_an_hour():
    crashing = an_observation(finding=a_finding(Reason.CRASH_LOOP), workloads=workloads(target00=1))
    assert attempts_of(crashing, 7) == [30, 60, 120, 240, 480, 900, 900]


def test_a_failure_that_retrying_cannot_mend_has_no_next_attempt():
    decision = decide(an_observation(finding=LOST, workloads=workloads(target00=1)))
    assert decision.look_again_at is None
    assert decision.diagnosis is not None and decision.diagnosis.next_attempt_at is None


FAILED_UPDATE = {**OLD_SERVES, "workloads": workloads(old00000=1, target00=0)}


def after_a_failed_update(spec, reason=Reason.CRASH_LOOP, **seen):
    """What an update that failed leaves, and a day later."""
    lost = decide(an_observation(**{**BOTH, "spec": spec, "finding": a_finding(reason)}))
    status = serving(OLD).model_copy(update={"diagnosis": lost.diagnosis})
    return lost, an_observation(**{**FAILED_UPDATE, "spec": spec, "status": status, "now": NOW + 86400, **seen})


def test_a_failed_surge_is_tried_again_beside_what_serves():
    lost, later = after_a_failed_update(a_spec())
    assert lost.look_again_at == NOW + 30
    assert dict(decide(later).replicas) == {OLD: 1, TARGET: 1}


@pytest.mark.parametrize("reason", [Reason.CRASH_LOOP, Reason.NO_CAPACITY])
def test_a_failed_replace_stops_what_serves_again_only_when_somebody_asks_for_it(reason):
    lost, later = after_a_failed_update(REPLACE, reason, capacity_grew_at=NOW + 80000)
    assert lost.look_again_at is None and "inference.dedicated.dev/retry" in lost.diagnosis.next_step
    assert (decide(later).verb, dict(decide(later).replicas), decide(later).serving) == (Verb.STALL, {OLD: 1, TARGET: 0}, OLD)
    asked = an_observation(**{**vars(later), "inputs_hash": "asked"})
    assert decide(asked).reason is Reason.UPDATING


def test_a_surge_without_room_for_both_says_so_and_names_the_way_out():
    lost, _ = after_a_failed_update(a_spec(), Reason.NO_CAPACITY)
    assert lost.serving == OLD and "beside the old one" in lost.message and "spec.update.strategy to replace" in lost.message


@pytest.mark.parametrize("spec", [a_spec(), REPLACE], ids=["surge", "replace"])
def test_after_a_failed_update_and_a_pause_what_served_last_starts(spec):
    _, failed = after_a_failed_update(spec, now=NOW + 1)
    paused = an_observation(**{**vars(failed), "spec": spec.model_copy(update={"suspend": True})})
    status = report(paused, decide(paused))
    assert dict(decide(paused).replicas) == {OLD: 0} and status.revisions.serving == OLD and status.diagnosis == failed.status.diagnosis
    resumed = an_observation(**{**vars(failed), "status": status, "workloads": workloads(old00000=0), "pods": ()})
    assert (dict(decide(resumed).replicas), decide(resumed).serving) == ({OLD: 1}, OLD)


def test_a_pause_forgets_a_failure_of_which_nothing_serves():
    paused = an_observation(status=failed_before(), spec=a_spec(suspend=True), workloads=workloads(target00=0))
    assert report(paused, decide(paused)).diagnosis is None
