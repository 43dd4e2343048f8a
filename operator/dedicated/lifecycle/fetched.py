"""What pods tell of fetching their weights, and what is told of the cache after it."""

from __future__ import annotations

from dedicated.api.conditions import find
from dedicated.api.names import FETCH_CONTAINER
from dedicated.api.reasons import Reason
from dedicated.api.status import Condition, ConditionType
from dedicated.core.quantities import human_bytes
from dedicated.diagnosis.evidence import PodFacts
from dedicated.lifecycle.observation import Observation
from dedicated.weights.fetched import Fetched, fetched


def fetch_of(pod: PodFacts) -> tuple[Fetched, float] | None:
    """What a pod's fetch has told, and when it ended (seconds since the epoch); None while it has not succeeded."""
    for container in pod.containers:
        ended = container.terminated
        if container.name == FETCH_CONTAINER and ended is not None and ended.exit_code == 0 and (told := fetched(ended.message)):
            return told, ended.finished_at
    return None


def newest_fetch(seen: Observation, revision: str | None) -> Fetched | None:
    """That of the revision's pod which fetched last."""
    told = [found for pod in seen.pods if pod.revision == revision and (found := fetch_of(pod))]
    return max(told, key=lambda found: found[1])[0] if told else None


def weights_cached(seen: Observation) -> Condition | None:
    """
    Whether the cache holds the target's weights, as the newest fetch has told; kept while it speaks of this commit. None without a cache.
    """
    if seen.model is None:
        return None
    told = newest_fetch(seen, seen.target)
    if told is None or told.cached is None:
        old = find(seen.status.conditions, ConditionType.WEIGHTS_CACHED)
        return old if old is not None and old.message.startswith(_of(seen)) else None
    words = f"{_of(seen)}: {human_bytes(told.bytes)} came from {told.tier} in {told.seconds:.1f} s, {human_bytes(told.bytes_per_s)}/s."
    reason = told.reason or Reason.ALL_READY
    status = "True" if told.cached else "False"
    message = f"{words} {told.message}".strip()[:1024]
    return Condition.model_validate({"type": ConditionType.WEIGHTS_CACHED, "status": status, "reason": reason, "message": message})


def _of(seen: Observation) -> str:
    return f"Commit {seen.model.revision}" if seen.model else ""
