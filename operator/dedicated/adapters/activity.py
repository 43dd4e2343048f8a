"""
Activity of endpoints, as one Lease each in the activity namespace: when one was last called, that a call wants it awake, and what each
gateway says before its pods are removed.

The Lease is named by the endpoint's id and has no owner, since owners do not reach across namespaces. Times are the API server's.
"""

from __future__ import annotations

from datetime import UTC, datetime

from dedicated.adapters.kinds import LEASE
from dedicated.adapters.kube import KubeApi, Manifest
from dedicated.api import names
from dedicated.api.errors import ApiConflict, ApiNotFound


class Activity:
    """Writes activity Leases as one gateway."""

    def __init__(self, kube: KubeApi, namespace: str, identity: str) -> None:
        self._kube, self._namespace, self._identity = kube, namespace, identity

    async def renew(self, endpoint_id: str, at: float) -> Manifest:
        """An endpoint was called. (at: seconds since the epoch, of the API server's clock) Raises DedicatedError."""
        return await self._write(endpoint_id, {"spec": {"renewTime": _micro_time(at), "holderIdentity": self._identity}})

    async def wake(self, endpoint_id: str, epoch: int) -> Manifest:
        """A call wants an endpoint awake that went to sleep in this epoch. Raises DedicatedError."""
        return await self._write(endpoint_id, {"metadata": {"annotations": {names.ANNOTATION_WAKE: str(epoch)}}})

    async def acknowledge(self, endpoint_id: str, word: str) -> Manifest:
        """What this gateway says of a drain: its epoch, or busy. Raises DedicatedError."""
        return await self._write(endpoint_id, {"metadata": {"annotations": {names.ack_annotation(self._identity): word}}})

    async def _write(self, endpoint_id: str, change: Manifest) -> Manifest:
        """The Lease as it is after that."""
        try:
            return await self._kube.patch(LEASE, self._namespace, endpoint_id, change)
        except ApiNotFound:
            return await self._create(endpoint_id, change)

    async def _create(self, endpoint_id: str, change: Manifest) -> Manifest:
        labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_ENDPOINT_ID: endpoint_id}
        meta = {**change.get("metadata", {}), "name": endpoint_id, "namespace": self._namespace, "labels": labels}
        lease = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": meta, "spec": change.get("spec", {})}
        try:
            return await self._kube.create(lease)
        except ApiConflict:  # another gateway was faster
            return await self._kube.patch(LEASE, self._namespace, endpoint_id, change)


def renewed_at(lease: Manifest) -> float | None:
    """When an endpoint was last called, by its Lease. (seconds since the epoch)"""
    text = (lease.get("spec") or {}).get("renewTime")
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None


def woken(lease: Manifest) -> int | None:
    """The epoch of the sleep that a call wants to end, by its Lease."""
    text = _annotations(lease).get(names.ANNOTATION_WAKE, "")
    return int(text) if text.isdecimal() else None


def acknowledged(lease: Manifest, identity: str) -> str | None:
    """What a gateway said last of a drain."""
    return _annotations(lease).get(names.ack_annotation(identity))


def _annotations(lease: Manifest) -> dict[str, str]:
    return lease["metadata"].get("annotations") or {}


def _micro_time(at: float) -> str:
    """A time as Kubernetes' MicroTime."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
