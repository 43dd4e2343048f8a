"""What exists, whose it is, how it stands and where it answers, as the watches tell it: state from conditions, addresses from EndpointSlices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dedicated.api import names
from dedicated.gateway.addresses import Network, Replica, is_named_after, replicas
from dedicated.gateway.standing import Standing, standing

PODS = "pods"
"""Suffix of the headless Service whose slices hold an endpoint's addresses."""
PORT_NAME = "http"
SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice: the Service that it belongs to."""
Service = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as the gateway knows it. `details` is the JSON that its owner may see; unpacked only when asked for."""

    uid: str
    id: str
    namespace: str
    name: str
    owner: str
    catalogue_name: str | None
    created: str
    standing: Standing
    service: Service
    deployment: str | None
    idle_after: str
    drain_epoch: int
    expected_s: float | None
    next_attempt_at: str | None
    details: bytes


class Table:
    """Endpoints by uid, id and name in the catalogue; addresses by Service."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._by_uid: dict[str, Endpoint] = {}
        self._by_id: dict[str, str] = {}
        self._catalogue: dict[str, set[str]] = defaultdict(set)
        self._by_owner: dict[str, set[str]] = defaultdict(set)
        self._slices: dict[str, tuple[Service, tuple[Replica, ...]]] = {}
        self._by_service: dict[Service, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._by_uid)

    def put(self, obj: dict[str, Any]) -> None:
        """Take in an InferenceEndpoint."""
        uid = str(obj["metadata"]["uid"])
        self.remove(uid)
        if obj["metadata"].get("deletionTimestamp"):
            return
        endpoint = _endpoint(obj)
        self._by_uid[uid], self._by_id[endpoint.id] = endpoint, uid
        self._by_owner[endpoint.owner].add(uid)
        if endpoint.catalogue_name:
            self._catalogue[endpoint.catalogue_name].add(uid)

    def remove(self, uid: str) -> None:
        """Forget an endpoint."""
        endpoint = self._by_uid.pop(uid, None)
        if endpoint is None:
            return
        del self._by_id[endpoint.id]
        _discard(self._by_owner, endpoint.owner, uid)
        if endpoint.catalogue_name:
            _discard(self._catalogue, endpoint.catalogue_name, uid)

    def put_slice(self, obj: dict[str, Any]) -> None:
        """Take in an EndpointSlice."""
        meta = obj["metadata"]
        self.remove_slice(meta["uid"])
        service = (str(meta.get("namespace")), str((meta.get("labels") or {}).get(SERVICE_NAME)))
        self._slices[meta["uid"]] = (service, tuple(replicas(obj, self._allowed, PORT_NAME)))
        self._by_service[service].add(meta["uid"])

    def remove_slice(self, uid: str) -> None:
        """Forget an EndpointSlice."""
        known = self._slices.pop(uid, None)
        if known:
            _discard(self._by_service, known[0], uid)

    def uids(self) -> set[str]:
        """All endpoints that are known."""
        return set(self._by_uid)

    def slice_uids(self) -> set[str]:
        """All slices that are known."""
        return set(self._slices)

    def by_id(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint with this public id."""
        return self._by_uid.get(self._by_id.get(endpoint_id, ""))

    def by_catalogue_name(self, name: str) -> Endpoint | None:
        """The shared endpoint of this name; of several the oldest has it."""
        found = [self._by_uid[uid] for uid in self._catalogue.get(name, ())]
        return min(found, key=lambda endpoint: (endpoint.created, endpoint.uid), default=None)

    def owned_by(self, owner: str) -> list[Endpoint]:
        """An owner's endpoints, by id."""
        return sorted((self._by_uid[uid] for uid in self._by_owner.get(owner, ())), key=lambda endpoint: endpoint.id)

    def catalogue(self) -> list[tuple[str, Endpoint]]:
        """Every name of the catalogue with the endpoint that has it."""
        return [(name, found) for name in sorted(self._catalogue) if (found := self.by_catalogue_name(name))]

    def active(self, ids: set[str]) -> list[Endpoint]:
        """Those of these ids that are still there."""
        return [endpoint for endpoint_id in ids if (endpoint := self.by_id(endpoint_id))]

    def addresses(self, endpoint: Endpoint) -> list[str]:
        """Where an endpoint answers: pods of the revision that serves, by their Deployment's name where that is known."""
        found = [replica for uid in self._by_service.get(endpoint.service, ()) for replica in self._slices[uid][1]]
        ours = [replica for replica in found if endpoint.deployment is None or is_named_after(replica.pod, endpoint.deployment)]
        return sorted({replica.address for replica in ours})


def _discard(index: dict[Any, set[str]], key: Any, uid: str) -> None:
    index[key].discard(uid)
    if not index[key]:
        del index[key]


def _endpoint(obj: dict[str, Any]) -> Endpoint:
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    uid, name = str(meta["uid"]), str(meta["name"])
    access = spec.get("access") or {}
    serving = (status.get("revisions") or {}).get("serving")
    return Endpoint(
        uid=uid,
        id=names.endpoint_id(uid),
        namespace=str(meta["namespace"]),
        name=name,
        owner=str(access.get("owner")),
        catalogue_name=access.get("displayName") if access.get("visibility") == "shared" else None,
        created=str(meta.get("creationTimestamp") or ""),
        standing=standing(status.get("conditions") or []),
        service=(str(meta["namespace"]), names.child_name(name, uid, PODS)),
        deployment=names.child_name(name, uid, serving) if serving else None,
        idle_after=str((spec.get("scaling") or {}).get("idleAfter") or "15m"),
        drain_epoch=int((status.get("drain") or {}).get("epoch") or 0),
        expected_s=(status.get("wake") or {}).get("expectedSeconds"),
        next_attempt_at=(status.get("diagnosis") or {}).get("nextAttemptAt"),
        details=orjson.dumps(_details(obj)),
    )


def _details(obj: dict[str, Any]) -> dict[str, Any]:
    """What an owner may read at the gateway, besides what is in the fields above."""
    spec, status = obj["spec"], obj.get("status") or {}
    model = (spec.get("model") or {}).get("huggingFace") or {}
    ready: dict[str, Any] = next((condition for condition in status.get("conditions") or [] if condition.get("type") == "Ready"), {})
    return {
        "model": model.get("repo"),
        "displayName": (spec.get("access") or {}).get("displayName"),
        "message": ready.get("message"),
        "plan": status.get("plan"),
        "replicas": status.get("replicas"),
        "readyReplicas": status.get("readyReplicas"),
        "lastActivityTime": status.get("lastActivityTime"),
        "diagnosis": status.get("diagnosis"),
    }
