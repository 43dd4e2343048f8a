"""An API server in memory, for passes without one: it keeps what is written and tells the store, as the watches would."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from dedicated.adapters.kinds import BY_NAME, ENDPOINT, EVENT, SECRET, Kind
from dedicated.adapters.kube import Manifest
from dedicated.adapters.store import Store
from dedicated.api.errors import ApiNotFound
from tests.support.builders import NOW


class FakeKube:
    """The verbs that a pass uses. `calls` holds each of them as "verb Kind"."""

    def __init__(self, store: Store) -> None:
        self._store, self._objects, self._version = store, dict[tuple[str, str, str], Manifest](), 0
        self.calls: list[str] = []
        self.events: Sequence[Manifest] = []
        """Core Events, whatever they are about."""
        self.time = NOW
        self.log = ""
        self.gateway_pods: dict[str, Manifest] = {}
        """Gateways: pods of the system's namespace, which no store of children holds."""

    def now(self) -> float:
        """The API server's time."""
        return self.time

    def put(self, kind: Kind, obj: Manifest) -> Manifest:
        """Somebody writes an object, and the watch tells of it; of Secrets only where they are labelled."""
        meta = obj["metadata"]
        self._version += 1
        kept = {**obj, "metadata": {"uid": f"uid-{kind.name}-{meta['name']}", **meta, "resourceVersion": str(self._version)}}
        self._objects[kind.name, meta.get("namespace", ""), meta["name"]] = kept
        if kind is not SECRET or meta.get("labels"):
            self._store.put(kind, copy.deepcopy(kept))
        return kept

    def put_only(self, kind: Kind, obj: Manifest) -> Manifest:
        """An object with its next version, for a watch to tell of."""
        self._version += 1
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}

    def remove(self, kind: Kind, name: str) -> None:
        """Somebody deletes an object, and the watch tells of it."""
        (key,) = [key for key in self._objects if key[0] == kind.name and key[2] == name]
        self._store.remove(kind, self._objects.pop(key)["metadata"]["uid"])

    def all(self, kind: Kind) -> Sequence[Manifest]:
        """All objects of a kind."""
        return [obj for (name, _, _), obj in self._objects.items() if name == kind.name]

    async def get(self, kind: Kind, namespace: str, name: str, *, metadata_only: bool = False) -> Manifest:
        """One object."""
        self.calls.append(f"get {kind.name}")
        found = self._objects.get((kind.name, namespace or kind.within or "", name))
        if found is None:
            raise ApiNotFound("404")
        return {"metadata": found["metadata"]} if metadata_only else found

    async def list(self, kind: Kind, *, metadata_only: bool = False, namespace: str | None = None, fields: str = "") -> Sequence[Manifest]:
        """Events, gateways, or all objects of another kind."""
        self.calls.append(f"list {kind.name}")
        if kind.within:
            return list(self.gateway_pods.values())
        return self.events if kind is EVENT else [{"metadata": obj["metadata"]} if metadata_only else obj for obj in self.all(kind)]

    async def logs(
        self, namespace: str, pod: str, container: str, *, previous: bool, lines: int = 0, limit_bytes: int = 0, timestamps: bool = False
    ) -> str:
        """Every container says `log`."""
        self.calls.append("get Log")
        return self.log

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply, of a whole object."""
        self.calls.append(f"apply {manifest['kind']}")
        return self.put(BY_NAME[manifest["kind"]], manifest)

    async def patch(self, kind: Kind, namespace: str, name: str, body: Manifest, subresource: str | None = None) -> Manifest:
        """A merge patch."""
        self.calls.append(f"patch {kind.name}")
        meta = {key: value for key, value in (body.get("metadata") or {}).items() if key == "annotations"}
        return self.put(kind, _merged(self._objects[kind.name, namespace, name], {**body, "metadata": meta}))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete."""
        self.calls.append(f"delete {kind.name}")
        self.remove(kind, name)

    def edit(self, **changes: Any) -> None:
        """A person changes fields of the one endpoint's spec."""
        (found,) = self.all(ENDPOINT)
        generation = found["metadata"]["generation"] + 1
        self.put(ENDPOINT, _merged(found, {"spec": changes, "metadata": {"generation": generation}}))


def _merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        merged.pop(key, None) if value is None else merged.update({key: _merged(merged.get(key), value)})
    return merged
