"""
What to do next: the first policy with an answer wins, and their order is the specification.

| asked                        | seen                                          | decision                                   | reason            |
|------------------------------|-----------------------------------------------|--------------------------------------------|-------------------|
| deleted                      | -                                             | hold; the garbage collector does the rest  | -                 |
| suspend                      | -                                             | scale all to 0, keep what served last      | Suspended         |
| what failed before, unchanged| not retryable, or before its next attempt     | hold; give the hardware back               | the recorded one  |
| anything                     | model, access or engine refused, permanent    | stall; what serves goes on                 | the problem's     |
| anything                     | model or access unknown, may come             | hold; look again                           | the problem's     |
| target                       | no room in time, another class would do       | plan that class; what serves goes on       | NoCapacity        |
| target                       | final finding, nothing of it ready            | give up; what serves goes on               | the finding's     |
| target                       | enough of it ready                            | serve it, delete the others                | AllReady          |
| target, replace              | another serves, its pods not gone             | scale that to 0 first                      | Updating          |
| target                       | pods of neither wait for a node               | remove those first                         | what it waits for |
| target                       | another serves                                | roll: both                                 | Updating          |
| target                       | nothing serves                                | roll                                       | what it waits for |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from dedicated.api.endpoint import Strategy
from dedicated.api.errors import DedicatedError, Stalled
from dedicated.api.names import ANNOTATION_RETRY, FETCH_CONTAINER
from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.api.status import Diagnosis, Drain, Plan
from dedicated.core.clock import from_rfc3339, rfc3339
from dedicated.diagnosis.evidence import Finding
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.retries import wait_s

ROOM = {Reason.NO_CAPACITY, Reason.DOES_NOT_FIT, Reason.NO_ACCELERATOR_ALLOWED, Reason.PRICE_ABOVE_LIMIT}
"""What another node, or another class of accelerator, may mend: tried again at once when the cluster gets one."""
MAX_MESSAGE = 1024
MAX_NEXT_STEP = 512


class Verb(StrEnum):
    """What is done about it."""

    HOLD = "hold"
    SCALE_TO = "scale-to"
    ROLL = "roll"
    STALL = "stall"


class Life(StrEnum):
    """Whether it is meant to answer: `awake` also while it is built or has failed."""

    AWAKE = "awake"
    ASLEEP = "asleep"
    WAKING = "waking"


@dataclass(frozen=True)
class Decision:
    """One verb, why, and how many replicas each revision shall have; a revision that is absent is deleted."""

    verb: Verb
    reason: Reason
    message: str
    replicas: Mapping[str, int] = field(default_factory=dict)
    serving: str | None = None
    """The revision that answers, or that served last."""
    diagnosis: Diagnosis | None = None
    look_again_at: float | None = None
    """When time alone changes this decision."""
    plan: Plan | None = None
    """Another plan than the one that was observed."""
    life: Life = Life.AWAKE
    drain: Drain | None = None
    """The handover as it is from now on; None leaves it as it is told."""
    waits_for: tuple[str, ...] = ()
    """Gateways that have not yet answered the handover."""
    victims: tuple[str, ...] = ()
    """Pods that shall go where fewer replicas are wanted."""


Policy = Callable[[Observation], Decision | None]


def decide(seen: Observation) -> Decision:
    """The first policy's answer; the last one always has one."""
    return next(decision for policy in POLICIES if (decision := policy(seen)))


def being_deleted(seen: Observation) -> Decision | None:
    """Owner references bring everything down."""
    if not seen.deleting:
        return None
    return Decision(Verb.HOLD, Reason.ALL_READY, "", _as_it_is(seen), seen.serving)


def user_suspended(seen: Observation) -> Decision | None:
    """Paused: no pods; what served last is kept, so that it can be resumed."""
    if not seen.spec.suspend:
        return None
    keep = seen.serving or seen.target
    return Decision(Verb.SCALE_TO, Reason.SUSPENDED, say(Reason.SUSPENDED), {keep: 0} if keep in seen.workloads and keep else {}, keep)


def failed_and_nothing_changed(seen: Observation) -> Decision | None:
    """A failure that was given up stays given up until its inputs change, or until its next attempt is due."""
    old = seen.status.diagnosis
    if old is None or not old.given_up or old.inputs_hash != seen.inputs_hash:
        return None
    due = from_rfc3339(old.next_attempt_at) if old.next_attempt_at else None
    if due is not None and seen.now >= due:
        return None
    waits_for_room = old.reason in ROOM and old.observed_at is not None and not _a_try_stops_what_serves(seen)
    if waits_for_room and old.observed_at and seen.capacity_grew_at > from_rfc3339(old.observed_at):
        return None
    return _given_up(seen, old)


def problem_before_pods(seen: Observation) -> Decision | None:
    """The model cannot be resolved or read, or the engine cannot be started as asked: nothing new is made, what serves goes on."""
    problem = seen.problem
    if problem is None:
        return None
    if isinstance(problem, Stalled):
        return _given_up(seen, diagnosed(seen, _finding_of(problem)))
    verb_message = f"{problem.message} {problem.next_step}"
    return Decision(Verb.HOLD, problem.reason, verb_message[:MAX_MESSAGE], _as_it_is(seen), seen.serving)


def class_has_no_room(seen: Observation) -> Decision | None:
    """The planned class had no room in time and another one would do: its pod goes, and the next pass makes one of the other."""
    if seen.next_plan is None or seen.plan is None:
        return None
    serving = seen.serving if _updating(seen) else None
    message = f"No node with {seen.plan.count} x {seen.plan.accelerator} had room in time; {seen.next_plan.accelerator} is tried next."
    replicas = {serving: seen.spec.replicas} if serving else {}
    return Decision(Verb.ROLL, Reason.NO_CAPACITY, message, replicas, serving, look_again_at=seen.now, plan=seen.next_plan)


def target_failed(seen: Observation) -> Decision | None:
    """This attempt is lost: give the hardware back and say why."""
    refused = seen.workloads[seen.target].refused if seen.target in seen.workloads and seen.target else ""
    finding = _refused(refused) if refused else seen.finding
    if finding is None or not finding.final or (seen.ready(seen.target) and not _updating(seen)):
        return None
    return _given_up(seen, diagnosed(seen, finding))


def target_answers(seen: Observation) -> Decision | None:
    """The target is ready: it serves, and the others go."""
    target, ready = seen.target, seen.ready(seen.target)
    if target is None or ready < (seen.spec.replicas if _updating(seen) else 1):
        return None
    message = f"{ready} of {seen.spec.replicas} replicas answer."
    if ready < seen.spec.replicas and seen.finding:
        message += f" {seen.finding.message}"
    return Decision(Verb.ROLL, Reason.ALL_READY, message[:MAX_MESSAGE], {target: seen.spec.replicas}, target, look_again_at=seen.deadline)


def others_wait_for_nodes(seen: Observation) -> Decision | None:
    """Pods of a revision that neither serves nor is wanted might take the room that the target needs: they go first."""
    if not any(pod.node is None and pod.revision not in (seen.serving, seen.target) for pod in seen.pods):
        return None
    reason, message = waits_for(seen)
    kept = {revision: seen.spec.replicas for revision in (seen.serving,) if revision and _updating(seen)}
    if seen.target in seen.workloads and seen.target:
        kept[seen.target] = seen.workloads[seen.target].replicas
    return Decision(Verb.ROLL, Reason.UPDATING if _updating(seen) else reason, message, kept, seen.serving, look_again_at=seen.deadline)


def update_in_progress(seen: Observation) -> Decision | None:
    """Another revision serves while the target starts; `replace` frees its hardware first."""
    target, serving = seen.target, seen.serving
    if target is None or serving is None or serving == target:
        return None
    message = say(Reason.UPDATING) if seen.finding is None else f"Revision {target} starts: {seen.finding.message}"
    if seen.spec.update.strategy is Strategy.REPLACE:
        first = seen.pods_left(serving) > 0
        return Decision(
            Verb.ROLL, Reason.UPDATING, message, {serving: 0} | ({} if first else {target: seen.spec.replicas}), serving, None, seen.deadline
        )
    return Decision(Verb.ROLL, Reason.UPDATING, message, {serving: seen.spec.replicas, target: seen.spec.replicas}, serving, None, seen.deadline)


def building(seen: Observation) -> Decision | None:
    """Nothing serves yet, or what served answers no more."""
    target = seen.target
    assert target is not None, "a target or a problem is always known"
    reason, message = waits_for(seen)
    return Decision(Verb.ROLL, reason, message, {target: seen.spec.replicas}, seen.serving, look_again_at=seen.deadline)


POLICIES: tuple[Policy, ...] = (
    being_deleted,
    user_suspended,
    failed_and_nothing_changed,
    problem_before_pods,
    class_has_no_room,
    target_failed,
    target_answers,
    others_wait_for_nodes,
    update_in_progress,
    building,
)


def say(reason: Reason) -> str:
    """The catalogue's sentence, with its next step where there is one."""
    entry = CATALOGUE[reason]
    return entry.sentence if entry.next_step.startswith("Nothing to do") else f"{entry.sentence} {entry.next_step}"


def waits_for(seen: Observation) -> tuple[Reason, str]:
    """Why what was started does not answer yet."""
    if seen.finding:
        return seen.finding.reason, seen.finding.message[:MAX_MESSAGE]
    fetching = any(c.name == FETCH_CONTAINER and c.running_since for pod in seen.pods for c in pod.containers)
    reason = Reason.WEIGHTS_FETCHING if fetching else Reason.ENGINE_STARTING
    return reason, say(reason)


def _as_it_is(seen: Observation) -> dict[str, int]:
    return {workload.revision: workload.replicas for workload in seen.workloads.values()}


def _given_up(seen: Observation, diagnosis: Diagnosis) -> Decision:
    """What serves goes on; everything else gives its hardware back."""
    serving = seen.serving if seen.serving != seen.target else None
    replicas = {serving: seen.spec.replicas} if serving else {}
    if seen.target in seen.workloads and seen.target:
        replicas[seen.target] = 0
    due = from_rfc3339(diagnosis.next_attempt_at) if diagnosis.next_attempt_at else None
    message = f"{diagnosis.message} {diagnosis.next_step}"[:MAX_MESSAGE]
    return Decision(Verb.STALL, diagnosis.reason, message, replicas, serving, diagnosis, due)


def _updating(seen: Observation) -> bool:
    return seen.serving not in (None, seen.target)


def _a_try_stops_what_serves(seen: Observation) -> bool:
    """Then a failed update is tried again only when somebody asks for it."""
    return _updating(seen) and seen.spec.update.strategy is Strategy.REPLACE


def _next_step(seen: Observation, finding: Finding) -> str:
    """The finding's, or the catalogue's, and what an update adds to it."""
    reason = finding.reason
    step = finding.next_step or CATALOGUE[reason].next_step
    if _updating(seen) and reason in (Reason.NO_CAPACITY, Reason.QUOTA_EXCEEDED) and not _a_try_stops_what_serves(seen):
        return f"A surge starts the new revision beside the old one: make room for both, or set spec.update.strategy to replace. {step}"
    if _a_try_stops_what_serves(seen) and CATALOGUE[reason].retryable:
        return (
            f"{step} Each try of a replace update stops what serves, so it waits for you: change the spec, or set the annotation {ANNOTATION_RETRY}."
        )
    return step


def _finding_of(problem: DedicatedError) -> Finding:
    return Finding(problem.reason, problem.message, final=True, retryable=CATALOGUE[problem.reason].retryable)


def _refused(words: str) -> Finding:
    reason = Reason.QUOTA_EXCEEDED if "exceeded quota" in words else Reason.POD_REFUSED
    return Finding(reason, f"The cluster refuses the pod: {words}", final=True, retryable=True, evidence=("ReplicaFailure",))


def diagnosed(seen: Observation, finding: Finding) -> Diagnosis:
    """The finding as a record, with the number of attempts and, where trying again may help, the time of the next one."""
    attempts = attempt_number(seen)
    return Diagnosis(
        reason=finding.reason,
        message=finding.message[:MAX_MESSAGE],
        next_step=_next_step(seen, finding)[:MAX_NEXT_STEP],
        retryable=finding.retryable,
        evidence=[line[:512] for line in finding.evidence],
        container=finding.container,
        exit_code=finding.exit_code,
        log_tail=finding.log_tail or None,
        attempts=attempts,
        next_attempt_at=rfc3339(seen.now + wait_s(finding.reason, attempts)) if finding.retryable and not _a_try_stops_what_serves(seen) else None,
        observed_at=rfc3339(seen.now),
        inputs_hash=seen.inputs_hash,
    )


def attempt_number(seen: Observation) -> int:
    """How often the same was tried, with this time."""
    old = seen.status.diagnosis
    return old.attempts + 1 if old and old.inputs_hash == seen.inputs_hash else 1
