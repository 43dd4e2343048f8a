"""
The gateway's side of a handover: where nothing new may go, what this gateway says of an epoch, and the one wake that its callers need.

*Theory of operation.* Before pods are removed, the operator raises `status.drain {epoch, pods, reason}`. From the moment a gateway knows of it, it
routes nothing new to these pods. It then says on the endpoint's activity Lease, under its own name, either the epoch ("these pods have nothing from
me, and my activity is on the Lease") or `busy`. The operator reads every gateway's word, and the Lease once more, before it removes a pod.

Everything here is a total function of facts; it knows no clock, no connection and no order of events. The shell brings the facts in one piece,
between two awaits, and writes what comes out; the exploration of the protocol drives the same functions.

| knows what is in flight | in flight on drained pods | activity or wake not yet on the Lease | says |
|---|---|---|---|
| no | - | - | nothing yet |
| yes | some | - | busy |
| yes | none | some | busy |
| yes | none | none | the epoch |

A call that comes during a handover to sleep is a wake of that epoch: the operator finds it when it reads the Lease again, and either takes the
handover back or wakes what has just gone to sleep.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dedicated.gateway.addresses import Replica

BUSY = "busy"
"""The word that vetoes a sleep and delays every other removal."""
SLEEP = "NoTraffic"
"""The reason of a drain that puts an endpoint to sleep; a call during it is a wake."""


@dataclass(frozen=True, slots=True)
class Drain:
    """
    Pods that are about to be removed, by `status.drain`. Without pods nothing is being removed, and the epoch is that of the last time.

    Args:
        gone: Pods that were told to go lately: a watch of addresses that is late may still have them.
        reason: Why they go, or why the endpoint sleeps.
    """

    epoch: int = 0
    pods: frozenset[str] = frozenset()
    reason: str = ""
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """
    What a gateway knows of one endpoint at one moment.

    Args:
        knows: It has heard of every request that its Envoy may have in flight: not so for one period after its start.
        in_flight: Requests in flight on the pods that are drained. (count)
        unwritten: Activity is due on the Lease, or being written; or a call's wake of this epoch is not confirmed.
    """

    knows: bool
    in_flight: int
    unwritten: bool


def drain_of(status: dict[str, Any]) -> Drain:
    """The drain on a status. Raises ValueError or AttributeError where it is none."""
    found = status.get("drain") or {}
    pods, gone = (frozenset(map(str, found.get(name) or ())) for name in ("pods", "gone"))
    return Drain(int(found.get("epoch") or 0), pods, str(found.get("reason") or ""), gone)


def routable(replicas: Iterable[Replica], drain: Drain) -> list[Replica]:
    """Replicas that something new may be sent to."""
    return [replica for replica in replicas if replica.pod not in drain.pods and replica.pod not in drain.gone]


def acknowledgement(drain: Drain, seen: Seen) -> str | None:
    """What this gateway says of a drain: its epoch, `busy`, or None where there is nothing to say or nothing is known yet."""
    if not drain.pods or not seen.knows:
        return None
    return BUSY if seen.in_flight or seen.unwritten else str(drain.epoch)


def to_write(says: str | None, stands: str | None) -> str | None:
    """The acknowledgement to be written, where another one stands on the Lease: at most one write per change."""
    return says if says is not None and says != stands else None


def wakes(drain: Drain, sleeping: bool) -> bool:
    """Whether a call that finds no replica asks for a wake: the endpoint sleeps, is just being put to sleep, or has just been."""
    return sleeping or drain.reason == SLEEP


def wake_to_write(wanted: int | None, stands: int | None, writing: int | None) -> int | None:
    """
    The epoch to be written as wake, where one is wanted.

    One write for any number of callers: none while one is on its way (two might arrive in the wrong order), none where this gateway or another has
    written it, and none where a later epoch stands there: then what this gateway knows is old, and its write would hide the wake of another.

    Args:
        wanted: The epoch that calls want to end, or None.
        stands: The epoch on the Lease, as far as is known; None where there is none.
        writing: The epoch of a write that is not yet answered.
    """
    if wanted is None or writing is not None or (stands is not None and stands >= wanted):
        return None
    return wanted
