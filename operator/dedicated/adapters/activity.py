"""
Activity of endpoints, as one Lease each in the activity namespace: when one was last called, and that a call wants it awake.

The Lease is named by the endpoint's id and has no owner, since owners do not reach across namespaces. Times are the API server's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dedicated.adapters.kinds import LEASE
from dedicated.adapters.kube import KubeApi
from dedicated.api import names
from dedicated.api.errors import ApiConflict, ApiNotFound


class Activity:
    """Writes activity Leases as one gateway."""

    def __init__(self, kube: KubeApi, namespace: str, identity: str) -> None:
        self._kube, self._namespace, self._identity = kube, namespace, identity

    async def renew(self, endpoint_id: str, at: float) -> None:
        """An endpoint was called. (at: seconds since the epoch, of the API server's clock) Raises DedicatedError."""
        await self._write(endpoint_id, {"spec": {"renewTime": _micro_time(at), "holderIdentity": self._identity}})

    async def wake(self, endpoint_id: str, epoch: int) -> None:
        """A call wants an endpoint awake that went to sleep in this epoch. Raises DedicatedError."""
        await self._write(endpoint_id, {"metadata": {"annotations": {names.ANNOTATION_WAKE: str(epoch)}}})

    async def _write(self, endpoint_id: str, change: dict[str, Any]) -> None:
        try:
            await self._kube.patch(LEASE, self._namespace, endpoint_id, change)
        except ApiNotFound:
            await self._create(endpoint_id, change)

    async def _create(self, endpoint_id: str, change: dict[str, Any]) -> None:
        labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY, names.LABEL_ENDPOINT_ID: endpoint_id}
        meta = {**change.get("metadata", {}), "name": endpoint_id, "namespace": self._namespace, "labels": labels}
        lease = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": meta, "spec": change.get("spec", {})}
        try:
            await self._kube.create(lease)
        except ApiConflict:  # another gateway was faster
            await self._kube.patch(LEASE, self._namespace, endpoint_id, change)


def renewed_at(lease: dict[str, Any]) -> float | None:
    """When an endpoint was last called, by its Lease. (seconds since the epoch)"""
    text = (lease.get("spec") or {}).get("renewTime")
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None


def _micro_time(at: float) -> str:
    """A time as Kubernetes' MicroTime."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
