"""When access has to be proven, and what is told of it on the condition Accessible."""

from __future__ import annotations

import pytest

from dedicated.api.conditions import find
from dedicated.api.errors import ConflictingArgs, GatedAccessDenied, GatedAccessPending, HubUnavailable, TokenInvalid
from dedicated.api.reasons import Reason
from dedicated.api.status import Condition, ConditionType, EndpointStatus
from dedicated.lifecycle.access import wants_proof
from dedicated.lifecycle.decide import Verb, decide
from dedicated.lifecycle.status import report
from dedicated.weights.repository import Access
from tests.support.builders import (
    COMMIT,
    NOW,
    OLD,
    TARGET,
    a_finding,
    a_model,
    a_pod,
    a_spec,
    an_observation,
    failed_before,
    serving,
    workloads,
)
from tests.support.status_rules import broken_rules

SECRET = "Secret hub-token (key HF_TOKEN)"
REPLACE = a_spec(update={"strategy": "replace"})
OLD_SERVES = {"status": serving(OLD), "workloads": workloads(old00000=1), "pods": (a_pod(OLD, ready=True),)}


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (True, {}),
        (True, {"workloads": workloads(target00=0)}),
        (True, {"workloads": workloads(target00=0), "status": failed_before(Reason.CRASH_LOOP, next_in_s=0)}),
        (True, {"workloads": workloads(target00=0), "status": failed_before(inputs="before the Secret changed")}),
        (True, OLD_SERVES),
        (True, {**OLD_SERVES, "spec": REPLACE}),
        (False, {"workloads": workloads(target00=1)}),
        (False, {"workloads": workloads(target00=1), "pods": (a_pod(ready=True),), "status": serving(TARGET)}),
        (False, {"workloads": workloads(target00=1), "spec": a_spec(replicas=3)}),
        (False, {"workloads": workloads(target00=0), "status": failed_before()}),
        (False, {"workloads": workloads(target00=0), "status": failed_before(Reason.CRASH_LOOP, next_in_s=1)}),
        (False, {"workloads": workloads(target00=0), "spec": a_spec(suspend=True)}),
        (False, {"deleting": True}),
        (False, {"problem": ConflictingArgs()}),
        (False, {"model": None, "target": None, "problem": HubUnavailable()}),
        (False, {"model": None, "spec": a_spec(model=None)}),
    ],
    ids=[
        "a first start",
        "a restart",
        "another attempt",
        "a failure whose cause may be gone",
        "an update beside what serves",
        "an update that would stop what serves",
        "it starts already",
        "it answers",
        "it is scaled",
        "it failed and nothing changed",
        "its next attempt is a second away",
        "it is paused",
        "it is deleted",
        "it cannot be started anyway",
        "the hub was asked and did not answer",
        "it has no model",
    ],
)
def test_access_is_proven_before_an_engine_is_started_from_nothing_and_at_no_other_time(wanted, seen):
    assert wants_proof(an_observation(**seen)) is wanted


def accessible(**seen) -> Condition:
    observation = an_observation(**seen)
    status = report(observation, decide(observation))
    assert broken_rules(status, observation.generation) == []
    found = find(status.conditions, ConditionType.ACCESSIBLE)
    assert found is not None
    return found


def told(status, message, reason=Reason.ALL_READY):
    """A status on which an earlier pass left this."""
    return EndpointStatus(conditions=[Condition(type="Accessible", status=status, reason=reason, message=message)])


PROVEN = f"Resolved to commit {COMMIT}; access proven with {SECRET}."


def test_what_was_proven_says_with_which_secret():
    found = accessible(access=Access(True, SECRET))
    assert (found.status, found.reason, found.message) == ("True", "AllReady", PROVEN)
    assert accessible(access=Access(True)).message.endswith("access proven without a token.")


def test_a_hub_that_does_not_tell_leaves_it_unknown():
    found = accessible(access=Access(False, SECRET))
    assert found.status == "Unknown" and "does not tell" in found.message


@pytest.mark.parametrize(
    ("problem", "status"),
    [(GatedAccessDenied("It is gated."), "False"), (GatedAccessPending("It waits."), "False"), (HubUnavailable("It is away."), "Unknown")],
    ids=["refused", "pending", "away"],
)
def test_a_refusal_is_told_with_its_next_step(problem, status):
    found = accessible(problem=problem)
    assert (found.status, found.reason, found.message) == (status, problem.reason, f"{problem.message} {problem.next_step}")


def test_a_pass_that_asks_nobody_repeats_what_was_told():
    runs = {"workloads": workloads(target00=1)}
    assert accessible(**runs, status=told("True", PROVEN)).message == PROVEN
    unknown = f"Resolved to commit {COMMIT}; this hub does not tell whether its files may be read."
    assert accessible(**runs, status=told("Unknown", unknown, Reason.ENGINE_STARTING)).message == unknown


def test_a_refusal_stays_on_the_status_while_nothing_changes():
    record = failed_before(Reason.TOKEN_INVALID)
    refused = record.model_copy(update={"conditions": told("False", "It is not known.", Reason.TOKEN_INVALID).conditions})
    assert accessible(status=refused, model=None, target=None, workloads=workloads(target00=0)).message == "It is not known."


def test_what_was_proven_of_another_commit_proves_nothing():
    assert accessible(workloads=workloads(target00=1), status=told("True", PROVEN.replace(COMMIT, "b" * 40))).status == "Unknown"


def test_an_engine_that_answers_has_read_the_files():
    up = {"workloads": workloads(target00=1), "pods": (a_pod(ready=True),)}
    assert accessible(**up, status=serving(TARGET)).status == "True"
    assert accessible(**up, status=serving(TARGET), model=a_model(gated=True)).status == "True"


def test_a_secret_that_is_gone_is_noticed_while_what_runs_goes_on():
    up = {"workloads": workloads(target00=1), "pods": (a_pod(ready=True),), "lacks_token": "hub-token"}
    status = serving(TARGET).model_copy(update={"conditions": told("True", PROVEN).conditions})
    found = accessible(**up, status=status)
    assert (found.status, found.reason) == ("Unknown", "TokenMissing")
    assert "hub-token" in found.message and "inference.dedicated.dev/use=hub-token" in found.message
    observation = an_observation(**up, status=status)
    assert dict(decide(observation).replicas) == {TARGET: 1}
    assert accessible(**{**up, "lacks_token": None}, status=status.model_copy(update={"conditions": [found]})).status == "True"


def test_a_problem_of_another_kind_says_nothing_of_access():
    assert accessible(workloads=workloads(target00=1), problem=ConflictingArgs(), status=told("True", PROVEN)).message == PROVEN


def test_a_refusal_at_a_restart_gives_nothing_hardware_and_leaves_what_serves():
    refused = an_observation(workloads=workloads(target00=0), status=serving(TARGET), problem=TokenInvalid())
    assert (decide(refused).verb, dict(decide(refused).replicas)) == (Verb.STALL, {TARGET: 0})
    update = an_observation(**OLD_SERVES, problem=TokenInvalid())
    assert (decide(update).verb, dict(decide(update).replicas)) == (Verb.STALL, {OLD: 1})


def test_a_hub_that_is_away_at_a_restart_is_waited_for_with_no_pod():
    away = an_observation(workloads=workloads(target00=0), status=serving(TARGET), problem=HubUnavailable())
    assert (decide(away).verb, dict(decide(away).replicas)) == (Verb.HOLD, {TARGET: 0})


def test_a_request_that_waits_for_approval_is_tried_again_by_itself():
    pending = an_observation(problem=GatedAccessPending())
    assert decide(pending).look_again_at == NOW + 30
    assert decide(an_observation(problem=GatedAccessDenied())).look_again_at is None


def test_a_start_that_was_proven_goes_on_whatever_else_is_seen():
    assert decide(an_observation(access=Access(True, SECRET), finding=a_finding(Reason.NO_CAPACITY, final=False))).verb is Verb.ROLL
