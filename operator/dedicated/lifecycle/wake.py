"""What is remembered of wakes and sleeps, and what it tells of the next wake."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from dedicated.api.conditions import find
from dedicated.api.endpoint import EndpointSpec, EngineKind
from dedicated.api.reasons import Reason
from dedicated.api.status import ConditionType, ModelStatus, SleepStatus, Timeline, WakeRecord, WakeStatus, WakeSummary
from dedicated.core.clock import from_rfc3339, precise
from dedicated.lifecycle.decide import Decision, Life
from dedicated.lifecycle.fetched import newest_fetch
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.timeline import phases
from dedicated.weights.fetched import Tier

KEPT = 5
COMPILES = {EngineKind.VLLM: 40.0, EngineKind.SGLANG: 40.0, EngineKind.LLAMACPP: 2.0}
LOAD_S_PER_GB, FETCH_BYTES_PER_S = 0.3, 0.5e9
"""Seeds until this endpoint has been seen to start: an engine that compiles starts in 40 s and 0.3 s per GB of weights (vLLM 0.10 on A100,
arXiv 2606.07362), one that maps its file in two; the hub gives half a gigabyte a second (hf_xet's own figures: up to 2.5)."""


def tier_of_next(seen: Observation) -> str | None:
    """Where the weights of a wake will come from: the user's own bucket, the cache where it holds them, else the hub; None without weights."""
    if seen.spec.model is None:
        return None
    if seen.spec.model.s3 is not None:
        return Tier.S3.value
    cached = find(seen.status.conditions, ConditionType.WEIGHTS_CACHED)
    return Tier.S3.value if cached is not None and cached.status == "True" else Tier.HUB.value


def expected_s(wake: WakeStatus, timeline: Timeline | None, spec: EndpointSpec, model: ModelStatus | None, tier: str | None) -> float | None:
    """How long a wake takes: the median of its own of this tier; else as its last start went, without the image; else a seed; else None."""
    own = [one.seconds for one in wake.history if one.succeeded and one.tier == tier]
    if own:
        return round(median(own), 1)
    built = timeline.building if timeline else []
    if built and all(one.seconds is not None for one in built):
        return round(sum(one.seconds or 0.0 for one in built if one.phase in ("schedule", "fetch", "load")), 1)
    if spec.engine.kind not in COMPILES:
        return None
    weights = float((model.weight_bytes if model else None) or 0)
    return round(COMPILES[spec.engine.kind] + weights / 1e9 * LOAD_S_PER_GB + weights / FETCH_BYTES_PER_S, 1)


def wakes(seen: Observation, decision: Decision, timeline: Timeline | None) -> WakeStatus | None:
    """The record of wakes after this decision; None where there has been none and nothing sleeps."""
    old = seen.status.wake or WakeStatus()
    current, found = old.current, old
    if decision.life is Life.WAKING:
        begun = current or _begun(seen)
        told = phases(seen, decision.serving, begun.phases)
        found = old.model_copy(update={"current": begun.model_copy(update={"phases": told or begun.phases})})
    elif current is not None:
        found = _ended(seen, decision, old, current)
    expected = expected_s(found, timeline, seen.spec, seen.model or seen.status.model, tier_of_next(seen))
    found = found.model_copy(update={"expected_seconds": expected})
    return found if found.to_dict() else None


def _begun(seen: Observation) -> WakeRecord:
    epoch = seen.status.drain.epoch if seen.status.drain else 0
    return WakeRecord(epoch=epoch, tier=tier_of_next(seen), started_at=precise(seen.now))


def _ended(seen: Observation, decision: Decision, old: WakeStatus, current: WakeRecord) -> WakeStatus:
    """A wake that is over, well or badly; one that was paused is forgotten."""
    if decision.reason is Reason.SUSPENDED:
        return old.model_copy(update={"current": None})
    answers = decision.life is Life.AWAKE and bool(seen.ready(decision.serving))
    told = newest_fetch(seen, decision.serving)
    ended = current.model_copy(
        update={
            "tier": told.tier.value if told else current.tier,
            "seconds": round(max(0.0, seen.now - from_rfc3339(current.started_at)), 3),
            "succeeded": answers,
            "reason": None if answers else (decision.diagnosis.reason.value if decision.diagnosis else decision.reason.value),
            "phases": phases(seen, decision.serving, current.phases) or current.phases,
        }
    )
    summary = WakeSummary(at=ended.started_at, tier=ended.tier, seconds=ended.seconds or 0.0, succeeded=answers)
    return old.model_copy(update={"current": None, "last": ended, "history": [summary, *old.history][:KEPT]})


def building(seen: Observation, decision: Decision) -> Timeline | None:
    """The phases of a start that no call asked for; kept as they were once it is up."""
    old = seen.status.timeline
    active = find(seen.status.conditions, ConditionType.ACTIVE)
    up = active is not None and active.status == "True"
    starting = not up and decision.life is Life.AWAKE and not _woke(seen)
    if not starting:
        return old
    told = phases(seen, seen.target, old.building if old else ())
    return Timeline(building=told) if told else old


def _woke(seen: Observation) -> bool:
    return seen.status.wake is not None and seen.status.wake.current is not None


def slept(seen: Observation, decision: Decision) -> SleepStatus | None:
    """The sleep after this decision, and what all of them have saved."""
    old = seen.status.sleep or SleepStatus()
    if decision.life is Life.ASLEEP:
        return old if old.since else old.model_copy(update={"since": precise(seen.now)})
    if not old.since:
        return seen.status.sleep
    return _with(seen, old, max(0.0, seen.now - from_rfc3339(old.since)))


def _with(seen: Observation, old: SleepStatus, slept_s: float) -> SleepStatus:
    plan = seen.plan or seen.status.plan
    replicas = seen.spec.replicas
    accelerators = (plan.count or 0) * replicas if plan else 0
    price = plan.price_per_hour if plan else None
    usd = old.saved_usd if price is None else (old.saved_usd or 0.0) + price * replicas * slept_s / 3600
    return SleepStatus(
        seconds=round(old.seconds + slept_s, 1),
        accelerator_seconds=round(old.accelerator_seconds + accelerators * slept_s, 1),
        saved_usd=None if usd is None else round(usd, 4),
    )


def durations(record: WakeRecord) -> Sequence[tuple[str, float]]:
    """Stages of a wake that succeeded, and the whole, in seconds."""
    return [*((one.phase, one.seconds) for one in record.phases if one.seconds is not None), ("total", record.seconds or 0.0)]
