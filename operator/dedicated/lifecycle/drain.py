"""
The handover: no pod that gateways may know goes before every gateway has said that it sends it nothing.

*Theory of operation.* A decision that takes pods of a serving revision away is not carried out at once. First the status tells the handover: a new
epoch, the pods, the reason. Gateways that read it route nothing to these pods and answer on the activity Lease with the epoch, or with `busy` while
something is in flight. What was decided is carried out in a later pass:

| why the pods go   | all gateways said the epoch | one is busy or silent                                             | called meanwhile |
|-------------------|-----------------------------|-------------------------------------------------------------------|------------------|
| sleep             | they go                     | wait; busy for 5 s takes it back                                  | taken back       |
| anything else     | they go                     | wait, at most `spec.update.drain`, then they go                   | -                |

Everything that a pass needs is on the status, so it may be another operator's. The names of pods that were told to go stay there as `gone`, the last
32 of them: a gateway whose watch of addresses is late must not send anything to them either. An epoch never falls.
Without gateways there is nobody to ask. A gateway is asked while its Pod exists; it is gone when its node has not been ready for five minutes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from dedicated.api.names import ENGINE_CONTAINER, ack_annotation
from dedicated.api.reasons import Reason
from dedicated.api.status import Drain
from dedicated.core.clock import from_rfc3339, precise
from dedicated.core.quantities import seconds
from dedicated.diagnosis.evidence import PodFacts
from dedicated.lifecycle.decide import Decision, Life
from dedicated.lifecycle.observation import Observation
from dedicated.lifecycle.sleep import MOST_GONE

BUSY = "busy"
BUSY_S = 5.0
"""How long a veto may stand before a sleep is taken back; a word that a gateway left of an earlier handover is renewed sooner."""

LOOK_AGAIN_S = 30.0
"""A gateway is gone by time alone when its node has been away for long enough."""


def handed_over(seen: Observation, wanted: Decision, meanwhile: Decision | None = None) -> Decision:
    """
    What is done now of what was decided.

    Args:
        meanwhile: What is decided while gateways are asked; by default `wanted` with the pods that it would take away.
    """
    old = seen.status.drain or Drain()
    leaving = _leaving(seen, wanted.replicas, old)
    if not leaving:
        return replace(wanted, drain=_settled(seen, wanted, old))
    sleeps = meanwhile is not None
    if not seen.gateways and not sleeps:
        return replace(wanted, drain=_settled(seen, wanted, old))
    kept = meanwhile or replace(wanted, replicas={**wanted.replicas, **_as_they_are(seen, leaving)})
    reason = _reason(wanted)
    if old.reason != reason or not set(leaving) <= set(old.pods):
        raised = Drain(epoch=old.epoch + 1, pods=sorted(leaving), gone=old.gone, reason=reason, at=precise(seen.now))
        return _asking(seen, kept, raised, sleeps)
    silent = unanswered(seen, old)
    if not silent or (not sleeps and seen.now >= _given_up_at(seen, old)):
        told = Drain(epoch=old.epoch, gone=[*old.gone, *old.pods][-MOST_GONE:], reason=_rests(wanted), at=old.at)
        return replace(wanted, drain=told, victims=tuple(leaving))
    if sleeps and is_busy(seen) and seen.now >= _began(seen, old) + BUSY_S:
        return replace(kept, drain=Drain(epoch=old.epoch, gone=old.gone, at=precise(seen.now)))
    return _asking(seen, kept, old, sleeps)


def unanswered(seen: Observation, drain: Drain) -> tuple[str, ...]:
    """Gateways that have not acknowledged this epoch."""
    asked = (gateway.name for gateway in seen.gateways if not gateway.gone)
    return tuple(name for name in asked if seen.activity.words.get(ack_annotation(name)) != str(drain.epoch))


def is_busy(seen: Observation) -> bool:
    """Whether a gateway has something in flight there."""
    return any(seen.activity.words.get(ack_annotation(gateway.name)) == BUSY for gateway in seen.gateways if not gateway.gone)


def wants_last_word(seen: Observation) -> bool:
    """Whether the pods would go now: then the Lease and the gateways are read once more, past every watch."""
    drain = seen.status.drain
    return drain is not None and bool(drain.pods) and _some_live(seen, drain) and not unanswered(seen, drain)


def _some_live(seen: Observation, drain: Drain) -> bool:
    return any(pod.name in drain.pods and not pod.deleting and _holds(seen, pod) for pod in seen.pods)


def _holds(seen: Observation, pod: PodFacts) -> bool:
    """Whether its Deployment still wants pods."""
    return pod.revision in seen.workloads and seen.workloads[pod.revision].replicas > 0


def _leaving(seen: Observation, replicas: Mapping[str, int], old: Drain) -> list[str]:
    """Pods that would go and that gateways may know: of what serves, or of an earlier handover; those that answer nothing need none."""
    found: list[str] = []
    for revision, workload in seen.workloads.items():
        wanted = replicas.get(revision, 0)
        if wanted >= workload.replicas:
            continue
        live = [pod for pod in seen.pods if pod.revision == revision and not pod.deleting]
        known = [pod for pod in live if (revision == seen.serving or pod.name in old.pods) and _may_answer(pod)]
        found += [pod.name for pod in _first_to_go(known, old)[: max(0, len(live) - wanted)]]
    return found


def _may_answer(pod: PodFacts) -> bool:
    engine = pod.container(ENGINE_CONTAINER)
    return pod.ready or (engine is not None and engine.running_since is not None)


def _first_to_go(pods: list[PodFacts], old: Drain) -> list[PodFacts]:
    """Those that were named before, then those that are not ready, then the youngest."""
    return sorted(pods, key=lambda pod: (pod.name not in old.pods, pod.ready, -pod.created_at, pod.name))


def _as_they_are(seen: Observation, leaving: list[str]) -> dict[str, int]:
    kept = {pod.revision for pod in seen.pods if pod.name in leaving}
    return {revision: seen.workloads[revision].replicas for revision in kept}


def _reason(wanted: Decision) -> str:
    if wanted.life is Life.ASLEEP:
        return Reason.NO_TRAFFIC.value
    return wanted.reason.value if wanted.reason in (Reason.SUSPENDED, Reason.UPDATING) else Reason.DRAINING.value


def _asking(seen: Observation, kept: Decision, drain: Drain, sleeps: bool) -> Decision:
    at = _began(seen, drain) + BUSY_S if sleeps else _given_up_at(seen, drain)
    later = [when for when in (kept.look_again_at, at, seen.now + LOOK_AGAIN_S) if when is not None and when > seen.now]
    return replace(kept, drain=drain, waits_for=unanswered(seen, drain), look_again_at=min(later))


def _began(seen: Observation, drain: Drain) -> float:
    return from_rfc3339(drain.at) if drain.at else seen.now


def _given_up_at(seen: Observation, drain: Drain) -> float:
    return _began(seen, drain) + seconds(seen.spec.update.drain)


def _settled(seen: Observation, wanted: Decision, old: Drain) -> Drain | None:
    """The handover where nothing waits for it; None where that is how it is told. Pods that stay after all may be called again."""
    if not old.epoch:
        return None
    live = Counter(pod.revision for pod in seen.pods if not pod.deleting)
    stay = {pod.name for pod in seen.pods if not pod.deleting and live[pod.revision] <= wanted.replicas.get(pod.revision, 0)}
    if wanted.life is not Life.AWAKE:
        stay = set()
    gone = list(dict.fromkeys(name for name in (*old.gone, *old.pods) if name not in stay))
    taken_back = old.reason == Reason.NO_TRAFFIC and not _rests(wanted)
    found = Drain(
        epoch=old.epoch,
        gone=gone[-MOST_GONE:],
        reason=_rests(wanted),
        at=precise(seen.now) if taken_back else old.at,
    )
    return None if found == old else found


def _rests(wanted: Decision) -> str | None:
    """What stays of the reason: that an endpoint sleeps."""
    return None if wanted.life is Life.AWAKE else Reason.NO_TRAFFIC.value
