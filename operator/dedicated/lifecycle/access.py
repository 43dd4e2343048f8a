"""Access to the model's files: when it has to be proven, and what is told of it."""

from __future__ import annotations

from dedicated.api import names
from dedicated.api.conditions import find
from dedicated.api.errors import Stalled
from dedicated.api.reasons import Reason
from dedicated.api.status import Condition, ConditionType
from dedicated.lifecycle.access_reasons import SOURCE_REASONS
from dedicated.lifecycle.decide import Life, Verb
from dedicated.lifecycle.life import decide
from dedicated.lifecycle.observation import Observation


def wants_proof(seen: Observation) -> bool:
    """Whether the target is about to be started from nothing: a first start, a restart, another attempt. A pass over what runs asks nobody."""
    if seen.problem is not None or seen.model is None or seen.target is None:
        return False
    workload = seen.workloads.get(seen.target)
    if workload is not None and workload.replicas:
        return False
    decision = decide(seen)
    return decision.verb is Verb.ROLL and decision.life is Life.AWAKE


def was_proven(seen: Observation) -> bool:
    """Whether the status tells that this commit could be read when somebody last looked."""
    told = find(seen.status.conditions, ConditionType.ACCESSIBLE)
    return seen.model is not None and told is not None and told.status == "True" and told.message.startswith(_resolved(seen))


def accessible(seen: Observation, answers: bool, reason: Reason) -> Condition:
    """
    What is known of reading the model's files. (answers: an engine does; reason: that of the decision)

    | this pass                                   | status  | message                                  |
    |---------------------------------------------|---------|------------------------------------------|
    | was refused for good                        | False   | the refusal                              |
    | could not be told                           | Unknown | what hindered it                         |
    | has proven it                               | True    | the commit, and with which Secret        |
    | has asked a hub that does not tell          | Unknown | so                                       |
    | asked nobody; the token's Secret is gone    | Unknown | so                                       |
    | asked nobody                                | as the last pass that did; an engine that answers has read them |
    """
    if seen.problem is not None and seen.problem.reason in SOURCE_REASONS:
        status = "False" if isinstance(seen.problem, Stalled) else "Unknown"
        return _condition(status, seen.problem.reason, f"{seen.problem.message} {seen.problem.next_step}")
    if seen.access is not None:
        return _proven(seen, reason)
    told = find(seen.status.conditions, ConditionType.ACCESSIBLE)
    if told is not None and told.status == "False" and told.reason == reason:
        return told
    if seen.model is None:
        return _condition("Unknown", reason, "The model is not resolved.")
    if seen.lacks_token:
        return _condition("Unknown", Reason.TOKEN_MISSING, _gone(seen.lacks_token))
    return _as_before(seen, told, answers, reason)


def _proven(seen: Observation, reason: Reason) -> Condition:
    assert seen.access is not None
    if not seen.access.granted:
        return _condition("Unknown", reason, f"{_resolved(seen)}; this hub does not tell whether its files may be read.")
    return _condition("True", Reason.ALL_READY, f"{_resolved(seen)}; access proven {_with(seen.access.proven_with)}.")


def _as_before(seen: Observation, told: Condition | None, answers: bool, reason: Reason) -> Condition:
    """Kept while it speaks of this commit; but an engine that answers has read the files, whatever was unknown before."""
    if told is not None and told.message.startswith(_resolved(seen)) and (told.status == "True" or not answers):
        return told
    if answers:
        return _condition("True", Reason.ALL_READY, f"{_resolved(seen)}.")
    return _condition("Unknown", reason, f"{_resolved(seen)}; access is proven at the next start.")


def _resolved(seen: Observation) -> str:
    what = "objects" if seen.spec.model and seen.spec.model.s3 else "commit"
    return f"Resolved to {what} {seen.model.revision}" if seen.model else ""


def _with(origin: str | None) -> str:
    return f"with {origin}" if origin else "without a token"


def _gone(secret: str) -> str:
    label = f"{names.LABEL_USE}={names.USE_HUB_TOKEN}"
    return f"Secret {secret} does not exist with the label {label}: what runs goes on, but the next start needs it. Create it again."


def _condition(status: str, reason: Reason, message: str) -> Condition:
    return Condition.model_validate({"type": ConditionType.ACCESSIBLE, "status": status, "reason": reason, "message": message[:1024]})
