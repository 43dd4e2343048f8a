"""
What the watches have told, in memory: of each object what a pass reads, by uid, with indexes by name and by endpoint.

Most events tell nothing that anybody here reads (a Deployment's counters, the echo of an own write). So an object is cut down first and compared
then: what is left unchanged wakes nobody. What is read only to find drift is kept packed, a tenth of its size.
"""

from __future__ import annotations

import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import orjson

from dedicated.adapters.kinds import BUDGET, CLAIM_TEMPLATE, DEPLOYMENT, NETWORK_POLICY, NODE, POD, REPLICA_SET, SECRET, SERVICE, Kind
from dedicated.api.names import LABEL_ENDPOINT_ID, endpoint_id

Manifest = dict[str, Any]

_PACKED = {CLAIM_TEMPLATE.name, DEPLOYMENT.name, SERVICE.name, NETWORK_POLICY.name, BUDGET.name}
_FLEETING = {POD.name, REPLICA_SET.name}
"""Children that Kubernetes makes, not we: nothing of them is compared with a manifest."""
_POD_STATUS = ("phase", "podIP", "reason", "message", "conditions", "containerStatuses", "initContainerStatuses")
_CONDITIONS = {"PodScheduled", "Ready", "ReplicaFailure", "DisruptionTarget"}


class Store:
    """Objects as last seen. Newer resource versions win; a secret's data is never kept."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[str, Manifest]] = defaultdict(dict)
        self._by_id: dict[str, dict[str, str]] = defaultdict(dict)
        self._by_name: dict[tuple[str, str | None, str], str] = {}
        self._changes = 0
        self.capacity_grew_at = 0.0
        self.held_back_since: dict[str, float] = {}
        """Endpoints of whose status a change that is not urgent was held back, and since when."""
        self.counted_fetches: dict[str, frozenset[str]] = {}
        """Pods of an endpoint whose fetched bytes were counted."""
        self.watching_since = 0.0
        """What happened before was counted by another process. (seconds since the epoch)"""
        self.applied: dict[str, object] = {}
        """What was decided for an endpoint, and what its children were like, when the last of it had been applied."""

    def put(self, kind: Kind, obj: Manifest) -> bool:
        """Take an object in; False where it tells nothing new."""
        meta = obj["metadata"]
        known = self._objects[kind.name].get(meta["uid"])
        if known and version(known) >= version(obj) > 0:
            return False  # the echo of an own write, mostly
        cut = slim(kind, obj, known)
        same = known is not None and _without_status(known) == _without_status(cut)
        self._changes += 0 if same else 1
        self._objects[kind.name][meta["uid"]] = {**cut, "change": known["change"] if known and same else self._changes}
        if known and same:
            return bool(known.get("status") != cut.get("status"))
        self._by_name[kind.name, meta.get("namespace"), meta["name"]] = meta["uid"]
        if label := (meta.get("labels") or {}).get(LABEL_ENDPOINT_ID):
            self._by_id[label][meta["uid"]] = kind.name
        return True

    def remove(self, kind: Kind, uid: str) -> Manifest | None:
        """Forget an object."""
        gone = self._objects[kind.name].pop(uid, None)
        if gone is None:
            return None
        meta = gone["metadata"]
        name = (kind.name, meta.get("namespace"), meta["name"])
        if self._by_name.get(name) == uid:
            del self._by_name[name]
        if label := (meta.get("labels") or {}).get(LABEL_ENDPOINT_ID):
            self._by_id[label].pop(uid, None)
            if not self._by_id[label]:
                del self._by_id[label]
        self.applied.pop(uid, None)
        self.counted_fetches.pop(uid, None)
        self.held_back_since.pop(uid, None)
        return gone

    def get(self, kind: Kind, uid: str) -> Manifest | None:
        """One object."""
        return self._objects[kind.name].get(uid)

    def all(self, kind: Kind) -> list[Manifest]:
        """All objects of a kind."""
        return list(self._objects[kind.name].values())

    def uids(self, kind: Kind) -> set[str]:
        """All objects of a kind, by uid."""
        return set(self._objects[kind.name])

    def named(self, kind: Kind, namespace: str | None, name: str) -> Manifest | None:
        """One object by its name."""
        uid = self._by_name.get((kind.name, namespace, name))
        return self._objects[kind.name].get(uid) if uid else None

    def children(self, kind: Kind, endpoint: Manifest) -> Iterator[Manifest]:
        """Objects of a kind that belong to an endpoint: the label selects, the chain of owner uids and the namespace decide."""
        meta = endpoint["metadata"]
        for uid, kind_name in list(self._by_id.get(endpoint_id(meta["uid"]), {}).items()):
            if kind_name != kind.name:
                continue
            obj = self._objects[kind_name][uid]
            if obj["metadata"].get("namespace") == meta["namespace"] and self._owned(obj, meta["uid"]):
                yield obj

    def owns_some(self, owner: Manifest, kind: Kind) -> bool:
        """Whether an object of a kind names this one as its owner."""
        label = (owner["metadata"].get("labels") or {}).get(LABEL_ENDPOINT_ID, "")
        known = (self._objects[kind.name][uid] for uid, found in self._by_id.get(label, {}).items() if found == kind.name)
        return any(ref["uid"] == owner["metadata"]["uid"] for obj in known for ref in obj["metadata"].get("ownerReferences") or [])

    def _owned(self, obj: Manifest, owner: str, depth: int = 3) -> bool:
        for ref in obj["metadata"].get("ownerReferences") or []:
            if ref["uid"] == owner:
                return True
            parent = next((known[ref["uid"]] for known in self._objects.values() if ref["uid"] in known), None)
            if parent and depth and self._owned(parent, owner, depth - 1):
                return True
        return False

    def state_of(self, kind: Kind) -> tuple[int, ...]:
        """Names the state of all objects of a kind, their status too; equal to an earlier answer while none of them changed."""
        return tuple(version(found) for found in self._objects[kind.name].values())

    def changes(self, endpoint: Manifest, *others: Manifest | None) -> tuple[int, ...]:
        """Names the state of everything that is made for an endpoint, its status left out; equal to an earlier answer while nobody changed it."""
        kinds = self._by_id.get(endpoint_id(endpoint["metadata"]["uid"]), {})
        children = [self._objects[kind][uid]["change"] for uid, kind in kinds.items() if kind not in _FLEETING]
        return tuple(sorted(children + [found["change"] for found in others if found]))


def version(obj: Manifest) -> int:
    """The resource version as a number, to tell older from newer of the same object."""
    text = obj["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdigit() else 0


def _without_status(obj: Manifest) -> Manifest:
    """What of an object is compared: neither its status nor its version."""
    meta = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    return {**obj, "metadata": meta, "status": None, "change": None}


def slim(kind: Kind, obj: Manifest, known: Manifest | None = None) -> Manifest:
    """The object without what no pass reads: managedFields, a secret's data, a node's images, a pod's spec, counters. (known: as it was before)"""
    meta = {key: _interned(value) for key, value in obj["metadata"].items() if key not in ("managedFields", "generateName", "selfLink")}
    meta.setdefault("resourceVersion", "0")
    if kind is DEPLOYMENT and "annotations" in meta:
        meta["annotations"] = {key: value for key, value in meta["annotations"].items() if not key.startswith("deployment.kubernetes.io/")}
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    if kind is NODE:
        kept = {key: spec.get(key) for key in ("unschedulable", "taints")}
        return {
            "metadata": {**meta, "annotations": {}},
            "spec": kept,
            "status": {"allocatable": status.get("allocatable", {}), "conditions": _readiness(status)},
        }
    if kind is REPLICA_SET:
        return {"metadata": {**meta, "generation": 0, "annotations": {}}}
    if kind is SECRET:
        return {"metadata": meta, "spec": {"resourceVersion": meta["resourceVersion"]}}  # its data is not kept, so that says whether it changed
    if kind is POD:
        found = {key: _interned(status[key]) for key in _POD_STATUS if key in status and key != "conditions"}
        return {"metadata": meta, "spec": {"nodeName": spec.get("nodeName")}, "status": {**found, **_conditions(status)}}
    if kind.name in _PACKED:
        kept = {"replicas": spec["replicas"]} if "replicas" in spec else {}
        same = known is not None and "generation" in meta and known["metadata"].get("generation") == meta["generation"]
        packed = known["packed"] if known and same else zlib.compress(orjson.dumps(spec), 1)
        return {"metadata": meta, "spec": kept, "packed": packed, "status": _conditions(status)}
    out: Manifest = {"metadata": meta, **{key: _interned(obj[key]) for key in ("spec", "status") if key in obj}}
    if "automountServiceAccountToken" in obj:
        out["automountServiceAccountToken"] = obj["automountServiceAccountToken"]
    return out


def whole(obj: Manifest) -> Manifest:
    """An object of the store with its whole spec, as the API server has it."""
    return {**obj, "spec": orjson.loads(zlib.decompress(obj["packed"]))} if "packed" in obj else obj


def _readiness(status: Manifest) -> list[Manifest]:
    """Whether a node is ready, and since when, without the time of its last heartbeat."""
    kept = ("type", "status", "lastTransitionTime")
    return [{key: found.get(key) for key in kept} for found in status.get("conditions") or [] if found.get("type") == "Ready"]


def _conditions(status: Manifest) -> Manifest:
    found = [_interned(condition) for condition in status.get("conditions") or [] if condition.get("type") in _CONDITIONS]
    return {"conditions": found} if found else {}


def _interned(value: Any) -> Any:
    """The same value with each short text kept once, however many objects hold it. (Names of fields come so from orjson.)"""
    if isinstance(value, str):
        return sys.intern(value) if len(value) < 64 else value
    if isinstance(value, dict):
        return {key: _interned(item) for key, item in value.items()}
    return [_interned(item) for item in value] if isinstance(value, list) else value
