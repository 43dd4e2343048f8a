"""The pass: observe, decide, apply, and report, whatever happened on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from dedicated.api.errors import ApiConflict, ApiNotFound, DedicatedError, Stalled
from dedicated.lifecycle.decide import MAX_MESSAGE, Decision, Verb
from dedicated.lifecycle.life import decide
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.transitions import Transition


class World(Protocol):
    """What a pass needs of the outside."""

    async def observe(self) -> Observation:
        """Everything that is known, now."""
        ...

    async def apply(self, seen: Observation, decision: Decision) -> Stalled | None:
        """Make it so; answers what was refused beside it, where that changes the decision."""
        ...

    async def report(self, seen: Observation, decision: Decision) -> tuple[Transition | None, float | None]:
        """Tell it; answers what changed for a person, and when what was held back is to be told."""
        ...


@dataclass(frozen=True)
class Outcome:
    """When to look again (seconds since the epoch on the API server's clock; None: when something changes), and whether to back off before."""

    look_again_at: float | None = None
    back_off: bool = False
    told: Transition | None = None
    decision: Decision | None = None
    failure: DedicatedError | None = None


async def reconcile(world: World) -> Outcome:
    """One pass. A crash at any line is repaired by the next one."""
    seen = await world.observe()
    decision = decide(seen)
    failure: DedicatedError | None = None
    try:
        refused = await world.apply(seen, decision)
        if refused is not None:
            seen = replace(seen, problem=refused)
            decision = decide(seen)
            await world.apply(seen, decision)
    except (ApiConflict, ApiNotFound) as stale:
        return Outcome(back_off=True, failure=stale)
    except DedicatedError as known:
        failure = known
        decision = _hindered(decision, known)
    told, tell_at = await world.report(seen, decision)
    passing = seen.problem if not isinstance(seen.problem, Stalled) else None
    named_at = seen.now + passing.retry_after_s if passing and passing.retry_after_s else None
    later = [at for at in (decision.look_again_at, tell_at, named_at) if at is not None]
    return Outcome(min(later, default=None), failure is not None or (passing is not None and named_at is None), told, decision, failure)


def _hindered(decision: Decision, failure: DedicatedError) -> Decision:
    """What was decided, with what kept it from being done as the reason."""
    return replace(decision, verb=Verb.HOLD, reason=failure.reason, message=failure.message[:MAX_MESSAGE])
