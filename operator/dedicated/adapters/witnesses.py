"""
What the operator hears of gateways: which there are, and what they write on the activity Leases.

Kept apart from the store of children: it is small, one Lease an endpoint, and its pods are no engine's. A renewal wakes no pass, since a pass knows
when it has to look; a wake or a word on a handover does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dedicated.adapters.activity import renewed_at
from dedicated.adapters.kinds import LEASE, NODE, POD, Kind
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.store import Store
from dedicated.api import names
from dedicated.api.errors import ApiNotFound
from dedicated.lifecycle.observation import Activity, Gateway
from dedicated.telemetry import metrics

Manifest = dict[str, Any]

GATEWAYS = "app.kubernetes.io/component=gateway"
GONE_S = 300.0
"""How long a node must have been away until a gateway on it counts as gone: longer than any call that is still answered there. (seconds)"""


@dataclass(frozen=True)
class _Pod:
    name: str
    node: str | None
    ended: bool
    """All of its containers have ended, and none is started again: an evicted pod stays as an object."""


class Witnesses:
    """Gateways and activity, as two watches tell them. `woken` is told the id of an endpoint whose Lease says something that a pass waits for."""

    def __init__(
        self, store: Store, activity_namespace: str, system_namespace: str, woken: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.leases = replace(LEASE, within=activity_namespace)
        self.pods = replace(POD, selector=GATEWAYS, within=system_namespace)
        self._store, self._woken, self._clock = store, woken, clock
        self._activity: dict[str, Activity] = {}
        self._lease_ids: dict[str, str] = {}
        self._gateways: dict[str, _Pod] = {}
        self._away_since: dict[str, tuple[str, float]] = {}
        self.silent: dict[str, tuple[str, ...]] = {}
        """Gateways that an endpoint's handover waits for, by the endpoint's id."""
        self._orphaned: set[str] = set()

    def uids(self, kind: Kind) -> set[str]:
        """All objects of a kind that are known."""
        return set(self._lease_ids if kind == self.leases else self._gateways)

    def seen(self, kind: Kind, event: str | None, obj: Manifest) -> None:
        """One event of one of the two watches."""
        meta = obj["metadata"]
        if event == "DELETED":
            self.gone(kind, meta["uid"])
        elif kind == self.leases:
            self._lease_ids[meta["uid"]] = meta["name"]
            self._tell(meta["name"], activity(obj))
        else:
            self._gateways[meta["uid"]] = _pod(obj)
            if self._gateways[meta["uid"]].ended:
                self._tell_waiting()

    def gone(self, kind: Kind, uid: str) -> None:
        """An object that exists no more."""
        if kind == self.leases:
            name = self._lease_ids.pop(uid, None)
            if name is not None:
                self._tell(name, Activity())
                self._activity.pop(name, None)
        elif self._gateways.pop(uid, None) is not None:
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        for endpoint_id in list(self.silent):
            self._woken(endpoint_id)

    def _tell(self, endpoint_id: str, found: Activity) -> None:
        before = self._activity.get(endpoint_id, Activity())
        self._activity[endpoint_id] = found
        if (before.wake, before.words) != (found.wake, found.words):
            self._woken(endpoint_id)

    def activity(self, endpoint_id: str) -> Activity:
        """What an endpoint's Lease says."""
        return self._activity.get(endpoint_id, Activity())

    def gateways(self) -> tuple[Gateway, ...]:
        """Gateways that exist."""
        return self._gateways_of(self._gateways.values())

    async def sweep(self, kube: KubeApi, live: set[str]) -> None:
        """Delete Leases whose endpoint was not among the live ones at this sweep and the one before. Raises DedicatedError."""
        orphans = {uid: name for uid, name in self._lease_ids.items() if name not in live}
        for uid, name in orphans.items():
            if uid in self._orphaned:
                await kube.delete(self.leases, None, name, uid)
        self._orphaned = set(orphans)

    def waiting(self, endpoint_id: str, gateways: tuple[str, ...]) -> None:
        """Remember which gateways a handover waits for, and tell it as a metric."""
        before = self.silent.pop(endpoint_id, ())
        if gateways:
            self.silent[endpoint_id] = gateways
        for name in {*before, *gateways}:
            count = sum(name in waited for waited in self.silent.values())
            if count:
                metrics.HANDOVER_WAITING.labels(name).set(count)
            else:
                metrics.HANDOVER_WAITING.remove(name)

    async def last_word(self, kube: KubeApi, endpoint_id: str) -> tuple[Activity, tuple[Gateway, ...]]:
        """An endpoint's Lease and the gateways, read past every watch. Raises DedicatedError."""
        pods = await kube.list(self.pods)
        try:
            lease = activity(await kube.get(self.leases, None, endpoint_id))
        except ApiNotFound:
            lease = Activity()
        return lease, self._gateways_of([_pod(pod) for pod in pods])

    def _gateways_of(self, pods: Any) -> tuple[Gateway, ...]:
        return tuple(Gateway(pod.name, pod.ended or self._is_away(pod.node)) for pod in sorted(pods, key=lambda one: one.name))

    def _is_away(self, node: str | None) -> bool:
        """Whether a gateway's node has been away for long enough, counted by this operator's clock from when it first saw it go away that time."""
        if node is None:
            return False
        found = self._store.named(NODE, None, node)
        ready: Manifest = next(iter(found["status"].get("conditions") or [{}]), {}) if found else {}
        if ready.get("status") == "True":
            self._away_since.pop(node, None)
            return False
        went = str(ready.get("lastTransitionTime"))
        if self._away_since.get(node, ("", 0.0))[0] != went:
            self._away_since[node] = (went, self._clock())
        return self._clock() - self._away_since[node][1] >= GONE_S


def activity(lease: Manifest) -> Activity:
    """What a Lease says. Words that are none count as not said."""
    marks: dict[str, str] = lease["metadata"].get("annotations") or {}
    words = {mark: word for mark, word in marks.items() if mark.startswith(names.ANNOTATION_ACK)}
    wake = marks.get(names.ANNOTATION_WAKE, "")
    try:
        at = renewed_at(lease)
    except ValueError:
        at = None
    return Activity(at, int(wake) if wake.isdecimal() else None, words)


def _pod(obj: Manifest) -> _Pod:
    ended = (obj.get("status") or {}).get("phase") in ("Failed", "Succeeded")
    return _Pod(obj["metadata"]["name"], (obj.get("spec") or {}).get("nodeName"), ended)
