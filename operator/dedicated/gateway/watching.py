"""What the watches tell, sorted into the table, the keyring and the last renewals."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from dedicated.adapters.activity import acknowledged, renewed_at, woken
from dedicated.adapters.kinds import API_KEY, ENDPOINT, ENDPOINT_SLICE, LEASE, Kind
from dedicated.gateway.keyring import Keyring
from dedicated.gateway.table import Table
from dedicated.telemetry import metrics

Value = TypeVar("Value")
log = logging.getLogger(__name__)


class Watched:
    """Everything that is known of the cluster. Told by informers."""

    def __init__(self, table: Table, identity: str = "") -> None:
        self.table, self._identity = table, identity
        self.changed: Callable[[Kind, str], None] = lambda _kind, _uid: None
        """Told of each change of an endpoint or a slice, after it was taken in: its kind and its uid."""
        self.keys = Keyring()
        self.renewed: dict[str, float] = {}
        """When anybody last renewed an endpoint's Lease, by endpoint id. (seconds since the epoch, API server's clock)"""
        self.wakes: dict[str, int] = {}
        """The epoch that calls want to end, by endpoint id."""
        self.said: dict[str, str] = {}
        """What this gateway said last of a drain, by endpoint id."""
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
            return
        self._count(kind)
        self.changed(kind, str(obj["metadata"]["uid"]))

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
        self.changed(kind, uid)

    def _lease_uids(self) -> set[str]:
        return set(self._leases)

    def _put_lease(self, obj: dict[str, Any]) -> None:
        name = str(obj["metadata"]["name"])
        self._leases[obj["metadata"]["uid"]] = name
        _keep(self.renewed, name, renewed_at(obj))
        _keep(self.wakes, name, woken(obj))
        _keep(self.said, name, acknowledged(obj, self._identity))

    def _remove_lease(self, uid: str) -> None:
        if name := self._leases.pop(uid, None):
            for known in (self.renewed, self.wakes, self.said):
                known.pop(name, None)

    def _count(self, kind: Kind) -> None:
        if kind.name == ENDPOINT.name:
            metrics.GATEWAY_ENDPOINTS.set(len(self.table))
        elif kind.name == API_KEY.name:
            metrics.GATEWAY_KEYS.set(len(self.keys))


def _keep(known: dict[str, Value], name: str, value: Value | None) -> None:
    if value is None:
        known.pop(name, None)
    else:
        known[name] = value
