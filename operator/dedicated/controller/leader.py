"""
The Lease that says who acts.

Theory of operation: a holder renews every 2 s and stops acting when its last good renewal is 10 s old; another takes over when it has
watched the same renewal for
15 s on its own clock, so no two machines' clocks are ever compared. The identity is the pod's: a restarted container of the same pod takes
its own Lease back at
once. Losing the Lease ends the process.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from dedicated.adapters.kinds import LEASE
from dedicated.adapters.kube import KubeApi
from dedicated.api.errors import ApiConflict, ApiNotFound, ApiUnavailable, DedicatedError

DURATION_S = 15.0
GIVE_UP_S = 10.0
RENEW_S = 2.0
REQUEST_S = 8.0

log = logging.getLogger(__name__)
Manifest = dict[str, Any]


class LostLease(Exception):
    """Somebody else may act now."""


class Leader:
    """One contender for the Lease."""

    def __init__(self, kube: KubeApi, namespace: str, name: str, identity: str, ownership: Manifest | None = None) -> None:
        self._kube, self._namespace, self._name, self._identity = kube, namespace, name, identity
        self._ownership = ownership or {}
        self._held: Manifest | None = None
        self._seen: tuple[str, float] = ("", 0.0)
        self._good_at = 0.0
        """When the last good renewal was asked for: since then nobody else may act. (monotonic seconds)"""

    def holds(self) -> bool:
        """Whether nobody else can hold it yet; what is asked for now may be written."""
        return self._held is not None and time.monotonic() - self._good_at < GIVE_UP_S

    async def acquire(self) -> None:
        """Wait until the Lease is ours."""
        told = False
        while True:
            asked = time.monotonic()
            try:
                self._held = await asyncio.wait_for(self._try(), REQUEST_S)
            except (DedicatedError, TimeoutError) as failure:
                log.warning("lease not acquired", extra={"error": str(failure)})
            if self._held:
                self._good_at = asked
                log.info("lease acquired", extra={"lease": self._name, "identity": self._identity})
                return
            if not told:
                log.info("waiting for the lease", extra={"lease": self._name, "holder": self._seen[0].partition("@")[0]})
                told = True
            await asyncio.sleep(RENEW_S)

    async def _try(self) -> Manifest | None:
        try:
            lease = await self._kube.get(LEASE, self._namespace, self._name)
        except ApiNotFound:
            return await self._write(self._kube.create(self._manifest({}, None)))
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        mark = f"{holder}@{spec.get('renewTime')}"
        if mark != self._seen[0]:
            self._seen = (mark, time.monotonic())
        stale = time.monotonic() - self._seen[1] >= float(spec.get("leaseDurationSeconds") or DURATION_S)
        if holder and holder != self._identity and not stale:
            return None
        return await self._write(self._kube.replace(LEASE, self._manifest(spec, lease["metadata"]["resourceVersion"])))

    async def _write(self, call: Any) -> Manifest | None:
        try:
            written: Manifest = await call
        except ApiConflict:
            return None
        return written

    def _manifest(self, spec: Manifest, resource_version: str | None) -> Manifest:
        now = _micro_time(self._kube.now())
        same = spec.get("holderIdentity") == self._identity
        meta = {
            "name": self._name,
            "namespace": self._namespace,
            **self._ownership,
            **({"resourceVersion": resource_version} if resource_version else {}),
        }
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": meta,
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": int(DURATION_S),
                "acquireTime": spec.get("acquireTime", now) if same else now,
                "renewTime": now,
                "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (0 if same else 1),
            },
        }

    async def hold(self) -> None:
        """
        Renew for as long as it is ours.

        Raises:
            LostLease: Somebody else has it, or it could not be renewed for 10 s.
        """
        while True:
            await asyncio.sleep(RENEW_S)
            assert self._held is not None
            asked = time.monotonic()
            lease = self._manifest(self._held["spec"], self._held["metadata"]["resourceVersion"])
            try:
                self._held = await asyncio.wait_for(self._kube.replace(LEASE, lease), min(REQUEST_S, GIVE_UP_S))
                self._good_at = asked
            except ApiConflict as other:
                await self._reread(other)
            except (ApiUnavailable, TimeoutError) as failure:
                log.warning("lease not renewed", extra={"error": str(failure)})
            if not self.holds():
                raise LostLease("the lease could not be renewed for 10 s")

    async def _reread(self, conflict: ApiConflict) -> None:
        """A renewal whose answer was lost looks like a conflict with ourselves."""
        lease = await self._kube.get(LEASE, self._namespace, self._name)
        if (lease.get("spec") or {}).get("holderIdentity") != self._identity:
            raise LostLease("another operator holds the lease") from conflict
        self._held = lease

    async def release(self) -> None:
        """Let go, so that the next one need not wait."""
        if self._held is None:
            return
        lease = self._manifest(self._held["spec"], self._held["metadata"]["resourceVersion"])
        lease["spec"]["holderIdentity"] = ""
        try:
            await asyncio.wait_for(self._kube.replace(LEASE, lease), REQUEST_S)
        except (DedicatedError, TimeoutError) as failure:
            log.warning("lease not released", extra={"error": str(failure)})


def _micro_time(at: float) -> str:
    """A Lease's MicroTime."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e6):06d}Z"
