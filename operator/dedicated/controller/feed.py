"""What a watch event means: which object is known anew, and which endpoints want a look. Carries no facts any further."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from dedicated.adapters.kinds import ACCELERATOR_CLASS, ENDPOINT, NETWORK_POLICY, NODE, POD, REPLICA_SET, SECRET, SERVICE_ACCOUNT, Kind
from dedicated.adapters.store import Store
from dedicated.api.names import LABEL_ENDPOINT_ID, endpoint_id
from dedicated.api.reasons import Reason
from dedicated.core.clock import from_rfc3339
from dedicated.core.quantities import quantity
from dedicated.lifecycle.decide import ROOM

Manifest = dict[str, Any]

NAMESPACE_KEY = "namespace/"
"""Prefix of the keys that stand for what a namespace gets once; all other keys are endpoint uids."""


class Feed:
    """Takes watch events into the store and wakes what they concern."""

    def __init__(self, store: Store, wake: Callable[[str], None], now: Callable[[], float]) -> None:
        self._store, self._wake, self._now = store, wake, now
        self._uid_of: dict[str, str] = {}
        self.live = False
        """Whether the first look at everything is over: until then a node that is seen has not just appeared."""

    def seen(self, kind: Kind, event: str | None, obj: Manifest) -> None:
        """One watch event: ADDED, MODIFIED, DELETED, or None in the first list."""
        if event == "DELETED":
            self.gone(kind, obj["metadata"]["uid"])
            return
        before = self._store.get(kind, obj["metadata"]["uid"]) if kind in _OFFERING else None
        if not self._store.put(kind, obj):
            return
        if kind is ENDPOINT:
            self._uid_of[endpoint_id(obj["metadata"]["uid"])] = obj["metadata"]["uid"]
        if kind in _OFFERING:
            if _OFFERING[kind](before, obj):
                self._grew(obj)
            return
        if not self._was_expected(kind, event, obj):
            self._wake_all(self._concerned(kind, obj))

    def _was_expected(self, kind: Kind, event: str | None, obj: Manifest) -> bool:
        """What tells a pass nothing: what a namespace gets once, just made by us; a ReplicaSet, unless it says whose a known pod is."""
        if kind is REPLICA_SET:
            return not self._store.owns_some(obj, POD)
        return event == "ADDED" and kind in (SERVICE_ACCOUNT, NETWORK_POLICY)

    def gone(self, kind: Kind, uid: str) -> None:
        """An object that exists no more, whether a watch said so or a list lacks it."""
        obj = self._store.remove(kind, uid)
        if obj is None:
            return
        if kind is ENDPOINT:
            self._uid_of.pop(endpoint_id(uid), None)
        self._wake_all(self._concerned(kind, obj))
        if kind in (ENDPOINT, POD):
            self._wake(NAMESPACE_KEY + obj["metadata"]["namespace"])

    def called(self, endpoint: str) -> None:
        """A gateway has said something about the endpoint of this id that its pass waits for."""
        if uid := self._uid_of.get(endpoint):
            self._wake(uid)

    def _wake_all(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self._wake(uid)

    def _concerned(self, kind: Kind, obj: Manifest) -> Iterable[str]:
        meta = obj["metadata"]
        if kind is ENDPOINT:
            return [meta["uid"]]
        if uid := self._uid_of.get((meta.get("labels") or {}).get(LABEL_ENDPOINT_ID, "")):
            return [uid]
        if kind in (SERVICE_ACCOUNT, NETWORK_POLICY):
            return [found["metadata"]["uid"] for found in self._in_namespace(meta["namespace"])]
        if kind is SECRET:
            return [found["metadata"]["uid"] for found in self._in_namespace(meta["namespace"]) if meta["name"] in _secrets_of(found)]
        return []

    def _in_namespace(self, namespace: str) -> list[Manifest]:
        return [found for found in self._store.all(ENDPOINT) if found["metadata"]["namespace"] == namespace]

    def _grew(self, obj: Manifest) -> None:
        """The cluster may have room for more than before: a node, or a class of accelerator."""
        born = from_rfc3339(obj["metadata"]["creationTimestamp"])
        self._store.capacity_grew_at = self._now() if self.live else max(self._store.capacity_grew_at, born)
        if self.live:
            self._wake_all(found["metadata"]["uid"] for found in self._store.all(ENDPOINT) if _waits_for_room(found))


def grew(before: Manifest | None, node: Manifest) -> bool:
    """Whether a node offers more than it did: it is new, has more of something, or may be used again."""
    if before is None:
        return True
    old, new = before["status"]["allocatable"], node.get("status", {}).get("allocatable", {})
    more = any(quantity(amount) > quantity(old.get(name, 0)) for name, amount in new.items() if amount != old.get(name))
    opened = bool(before["spec"].get("unschedulable")) and not node.get("spec", {}).get("unschedulable")
    fewer_taints = len(node.get("spec", {}).get("taints") or []) < len(before["spec"].get("taints") or [])
    return more or opened or fewer_taints


def is_other(before: Manifest | None, accelerator_class: Manifest) -> bool:
    """Whether a class is new, or says something else than it did."""
    return before is None or bool(before["spec"] != accelerator_class["spec"])


_OFFERING: dict[Kind, Callable[[Manifest | None, Manifest], bool]] = {NODE: grew, ACCELERATOR_CLASS: is_other}
"""Kinds whose change may make room for what found none, and when it may."""


def _secrets_of(endpoint: Manifest) -> set[str]:
    """Names of the Secrets that a spec refers to."""
    spec = endpoint["spec"]
    refs = [(variable.get("valueFrom") or {}).get("secretKeyRef") or {} for variable in (spec.get("engine") or {}).get("env") or []]
    model = spec.get("model") or {}
    refs += [model.get("tokenSecretRef") or {}, (model.get("s3") or {}).get("credentialsSecretRef") or {}]
    return {ref["name"] for ref in refs if ref.get("name")}


def _waits_for_room(endpoint: Manifest) -> bool:
    diagnosis = (endpoint.get("status") or {}).get("diagnosis") or {}
    return diagnosis.get("reason") in (*ROOM, Reason.QUOTA_EXCEEDED)
