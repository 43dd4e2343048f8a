"""
Whether an endpoint that answers has been idle for long enough to sleep. Two witnesses must agree; every time is the API server's.

| idleAfter | activity Lease                               | the engine                     | then                            |
|-----------|----------------------------------------------|--------------------------------|---------------------------------|
| 0s        | -                                            | -                              | never                           |
| other     | newer than idleAfter and a renewal period    | -                              | look again when it is not       |
| other     | older, up for less than minAwake             | -                              | look again when that is over    |
| other     | older; or a wake of the handover stands there| -                              | awake                           |
| other     | older                                        | has requests                   | look again after a period       |
| other     | older                                        | does not answer                | look again soon; mute for 5 min is a failure |
| other     | older                                        | has none, or no such metric    | sleep                           |

A Lease that is missing counts from when the endpoint came up: so an endpoint without any gateway sleeps by its engine's word alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from dedicated.api.activity import renewal_period_s
from dedicated.api.conditions import find
from dedicated.api.endpoint import EngineKind
from dedicated.api.reasons import Reason
from dedicated.api.status import ConditionType
from dedicated.core.clock import from_rfc3339
from dedicated.core.quantities import seconds
from dedicated.lifecycle.observation import Observation

ASK_AGAIN_S = 10.0
"""How soon an engine that did not answer is asked again."""
MUTE_S = 300.0
"""An engine that does not tell its load for this long is started anew."""
TELLING = {EngineKind.VLLM, EngineKind.SGLANG, EngineKind.LLAMACPP}
"""Engines whose /metrics tell what is running and queued."""


@dataclass(frozen=True)
class Verdict:
    """Whether to sleep now; and if not, when time alone may change that. (seconds since the epoch; None: never)"""

    sleep: bool
    look_again_at: float | None = None


def up_since(seen: Observation) -> float:
    """When the endpoint came up."""
    active = find(seen.status.conditions, ConditionType.ACTIVE)
    told = active is not None and active.status == "True" and active.last_transition_time
    return from_rfc3339(active.last_transition_time) if active is not None and told and active.last_transition_time else seen.now


def last_activity(seen: Observation) -> float:
    """The last call that is known, or when the endpoint came up."""
    return max(up_since(seen), seen.activity.renewed_at or 0.0)


def quiet_at(seen: Observation) -> float | None:
    """When the Lease will be a witness of idleness, if nobody calls; None where the endpoint never sleeps."""
    idle_s = seconds(seen.spec.scaling.idle_after)
    if not idle_s:
        return None
    drain, period_s = seen.status.drain, renewal_period_s(idle_s, seen.renewal_s)
    at = max(last_activity(seen) + idle_s + period_s, up_since(seen) + seconds(seen.spec.scaling.min_awake))
    taken_back = drain is not None and drain.at is not None and not drain.pods
    return max(at, from_rfc3339(drain.at) + period_s) if taken_back and drain and drain.at else at


def wants_load(seen: Observation) -> bool:
    """Whether the engine has to be asked: only where the Lease would let it sleep."""
    at = quiet_at(seen)
    return at is not None and seen.now >= at and seen.spec.engine.kind in TELLING and not called(seen)


def called(seen: Observation) -> bool:
    """Whether a call came during the handover that is to put the endpoint to sleep."""
    drain = seen.status.drain
    return drain is not None and drain.reason == Reason.NO_TRAFFIC and seen.activity.wake == drain.epoch


def idle(seen: Observation) -> Verdict:
    """Whether an endpoint that answers, and that no update is about to change, goes to sleep."""
    at = quiet_at(seen)
    if at is None:
        return Verdict(False)
    if seen.now < at:
        return Verdict(False, at)
    period_s = renewal_period_s(seconds(seen.spec.scaling.idle_after), seen.renewal_s)
    if called(seen):
        return Verdict(False, seen.now + period_s)
    if seen.spec.engine.kind not in TELLING:
        return Verdict(True)
    if seen.load is None or seen.load.busy is None:
        return Verdict(False, seen.now + ASK_AGAIN_S)
    return Verdict(False, seen.now + period_s) if seen.load.busy else Verdict(True)
