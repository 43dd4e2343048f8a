"""What exists, whose it is, how it stands and where it answers, as the watches tell it: state from conditions, addresses from EndpointSlices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from dedicated.api import names
from dedicated.core.clock import from_rfc3339
from dedicated.core.quantities import quantity, seconds
from dedicated.gateway.addresses import Network, Replica, is_named_after, replicas
from dedicated.gateway.handover import Drain, drain_of, routable
from dedicated.gateway.standing import Standing, standing

PODS = "pods"
"""Suffix of the headless Service whose slices hold an endpoint's addresses."""
PORT_NAME = "http"
SERVICE_NAME = "kubernetes.io/service-name"
"""Label of an EndpointSlice: the Service that it belongs to."""
HEALTH_PATH = "/health"
"""Where every kind of engine but custom says that it is healthy."""
Service = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Hold:
    """`spec.wake`: how long calls are held, by default and at most, and how many. (seconds, count, bytes)"""

    default_s: int = 0
    longest_s: int = 600
    requests: int = 100
    bytes: int = 64 << 20


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
    deployments: tuple[str, ...]
    """Of the revision that serves and of the one that is wanted; empty where neither is known."""
    idle_after: str
    drain: Drain
    hold: Hold
    health_path: str
    expected_s: float | None
    waking_since: float | None
    """Seconds since the epoch."""
    next_attempt_at: str | None
    failure: str | None
    """Reason of the diagnosis."""
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
        self._proven: set[tuple[str, str]] = set()
        """Address and pod of engines that answered our own probe and that the kubelet has not found healthy yet."""
        self._draining: set[str] = set()
        self._usable: dict[Service, dict[str, str]] = {}
        """What `usable` found, until something changes."""

    def __len__(self) -> int:
        return len(self._by_uid)

    def put(self, obj: dict[str, Any]) -> None:
        """Take in an InferenceEndpoint."""
        uid = str(obj["metadata"]["uid"])
        self.remove(uid)
        if obj["metadata"].get("deletionTimestamp"):
            return
        endpoint = _endpoint(obj)
        self._usable.pop(endpoint.service, None)
        if endpoint.drain.pods:
            self._draining.add(uid)
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
        self._usable.pop(endpoint.service, None)
        self._draining.discard(uid)
        _discard(self._by_owner, endpoint.owner, uid)
        if endpoint.catalogue_name:
            _discard(self._catalogue, endpoint.catalogue_name, uid)

    def put_slice(self, obj: dict[str, Any]) -> None:
        """Take in an EndpointSlice."""
        meta = obj["metadata"]
        self.remove_slice(meta["uid"])
        service = (str(meta.get("namespace")), str((meta.get("labels") or {}).get(SERVICE_NAME)))
        found = tuple(replicas(obj, self._allowed, PORT_NAME))
        self._slices[meta["uid"]] = (service, found)
        self._usable.pop(service, None)
        self._proven -= {(replica.address, replica.pod) for replica in found if replica.serves or replica.goes}
        self._by_service[service].add(meta["uid"])

    def remove_slice(self, uid: str) -> None:
        """Forget an EndpointSlice."""
        known = self._slices.pop(uid, None)
        if known:
            self._usable.pop(known[0], None)
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

    def draining(self) -> list[Endpoint]:
        """Endpoints of which pods are about to be removed."""
        return [self._by_uid[uid] for uid in self._draining]

    def usable(self, endpoint: Endpoint) -> dict[str, str]:
        """Where an endpoint answers, and the pod behind each address: pods that serve or were proven to, do not go, and are not drained."""
        found = self._usable.get(endpoint.service)
        if found is None:
            pods = routable(self._replicas(endpoint), endpoint.drain)
            answering = (one for one in pods if not one.goes and (one.serves or (one.address, one.pod) in self._proven))
            found = self._usable[endpoint.service] = {one.address: one.pod for one in sorted(answering, key=lambda one: one.address)}
        return found

    def unproven(self, endpoint: Endpoint) -> list[Replica]:
        """Pods of which nobody knows yet whether they answer."""
        found = routable(self._replicas(endpoint), endpoint.drain)
        return [one for one in found if not (one.goes or one.serves or (one.address, one.pod) in self._proven)]

    def prove(self, replica: Replica) -> None:
        """An engine answered our own probe; it counts until the kubelet says what it found, or a connection fails."""
        self._proven.add((replica.address, replica.pod))
        self._usable.clear()

    def disprove(self, address: str) -> None:
        """An engine could not be connected to."""
        lost = {known for known in self._proven if known[0] == address}
        if lost:
            self._proven -= lost
            self._usable.clear()

    def _replicas(self, endpoint: Endpoint) -> list[Replica]:
        """Pods of the endpoint's own Deployments, by name where that is known: a label alone can be anybody's."""
        named = endpoint.deployments
        found = (replica for uid in self._by_service.get(endpoint.service, ()) for replica in self._slices[uid][1])
        return [one for one in found if not named or any(is_named_after(one.pod, name) for name in named)]


def _discard(index: dict[Any, set[str]], key: Any, uid: str) -> None:
    index[key].discard(uid)
    if not index[key]:
        del index[key]


def _endpoint(obj: dict[str, Any]) -> Endpoint:
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    uid, name = str(meta["uid"]), str(meta["name"])
    access = spec.get("access") or {}
    revisions = status.get("revisions") or {}
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
        deployments=tuple(names.child_name(name, uid, str(found)) for which in ("serving", "target") if (found := revisions.get(which))),
        idle_after=str((spec.get("scaling") or {}).get("idleAfter") or "15m"),
        drain=drain_of(status),
        hold=_hold(spec.get("wake") or {}),
        health_path=_health_path(spec.get("engine") or {}),
        expected_s=(status.get("wake") or {}).get("expectedSeconds"),
        waking_since=_waking_since((status.get("wake") or {}).get("current") or {}),
        next_attempt_at=(status.get("diagnosis") or {}).get("nextAttemptAt"),
        failure=(status.get("diagnosis") or {}).get("reason"),
        details=orjson.dumps(_details(obj)),
    )


def _hold(wake: dict[str, Any]) -> Hold:
    longest_s = seconds(str(wake.get("maxHold", "10m")))
    return Hold(
        default_s=min(longest_s, seconds(str(wake.get("hold", "0s")))),
        longest_s=longest_s,
        requests=int(wake.get("maxHeldRequests", 100)),
        bytes=int(quantity(wake.get("maxHeldBytes", "64Mi"))),
    )


def _health_path(engine: dict[str, Any]) -> str:
    return str(engine.get("healthPath") or HEALTH_PATH) if engine.get("kind") == "custom" else HEALTH_PATH


def _waking_since(current: dict[str, Any]) -> float | None:
    """When the wake that is under way began. (seconds since the epoch)"""
    began = current.get("startedAt")
    return from_rfc3339(began) if began else None


def _details(obj: dict[str, Any]) -> dict[str, Any]:
    """What an owner may read at the gateway, besides what is in the fields above."""
    spec, status = obj["spec"], obj.get("status") or {}
    model = spec.get("model") or {}
    ready: dict[str, Any] = next((condition for condition in status.get("conditions") or [] if condition.get("type") == "Ready"), {})
    return {
        "model": (model.get("huggingFace") or {}).get("repo") or (model.get("s3") or {}).get("uri"),
        "displayName": (spec.get("access") or {}).get("displayName"),
        "message": ready.get("message"),
        "plan": status.get("plan"),
        "replicas": status.get("replicas"),
        "readyReplicas": status.get("readyReplicas"),
        "lastActivityTime": status.get("lastActivityTime"),
        "diagnosis": status.get("diagnosis"),
    }
