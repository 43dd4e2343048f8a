"""What the watches tell, sorted into the table, the keyring and the last renewals."""

from __future__ import annotations

import logging
from typing import Any

from dedicated.adapters.activity import renewed_at
from dedicated.adapters.kinds import API_KEY, ENDPOINT, ENDPOINT_SLICE, LEASE, Kind
from dedicated.gateway.keyring import Keyring
from dedicated.gateway.table import Table
from dedicated.telemetry import metrics

log = logging.getLogger(__name__)


class Watched:
    """Everything that is known of the cluster. Told by informers."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.keys = Keyring()
        self.renewed: dict[str, float] = {}
        """When anybody last renewed an endpoint's Lease, by endpoint id. (seconds since the epoch, API server's clock)"""
        self._leases: dict[str, str] = {}

    def uids(self, kind: Kind) -> set[str]:
        """All objects of a kind that are known."""
        known = {
            ENDPOINT.name: self.table.uids,
            ENDPOINT_SLICE.name: self.table.slice_uids,
            API_KEY.name: self.keys.uids,
            LEASE.name: self._lease_uids,
        }
        return known[kind.name]()

    def seen(self, kind: Kind, event: str | None, obj: dict[str, Any]) -> None:
        """An object is there, has changed, or with DELETED is gone."""
        if event == "DELETED":
            self.gone(kind, obj["metadata"]["uid"])
            return
        put = {ENDPOINT.name: self.table.put, ENDPOINT_SLICE.name: self.table.put_slice, API_KEY.name: self.keys.put, LEASE.name: self._put_lease}
        try:
            put[kind.name](obj)
        except (KeyError, TypeError, ValueError, AttributeError) as wrong:
            # One object that cannot be read must not end the gateway for all: it is as if it were not there.
            meta = obj.get("metadata") or {}
            where = f"{meta.get('namespace')}/{meta.get('name')}"
            log.error("object not understood", extra={"kind": kind.name, "object": where, "error": repr(wrong)})
            self.gone(kind, str(meta.get("uid")))
        self._count(kind)

    def gone(self, kind: Kind, uid: str) -> None:
        """An object is there no more."""
        remove = {
            ENDPOINT.name: self.table.remove,
            ENDPOINT_SLICE.name: self.table.remove_slice,
            API_KEY.name: self.keys.remove,
            LEASE.name: self._remove_lease,
        }
        remove[kind.name](uid)
        self._count(kind)

    def _lease_uids(self) -> set[str]:
        return set(self._leases)

    def _put_lease(self, obj: dict[str, Any]) -> None:
        name = str(obj["metadata"]["name"])
        self._leases[obj["metadata"]["uid"]] = name
        if (at := renewed_at(obj)) is not None:
            self.renewed[name] = at

    def _remove_lease(self, uid: str) -> None:
        if name := self._leases.pop(uid, None):
            self.renewed.pop(name, None)

    def _count(self, kind: Kind) -> None:
        if kind.name == ENDPOINT.name:
            metrics.GATEWAY_ENDPOINTS.set(len(self.table))
        elif kind.name == API_KEY.name:
            metrics.GATEWAY_KEYS.set(len(self.keys))
