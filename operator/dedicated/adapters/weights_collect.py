"""Looking after the cache: what it holds, whether that is right, and what may go. `weights.collect` has the rules; a reader is never harmed."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from dedicated.adapters.object_store.client import ObjectStore, Stored
from dedicated.adapters.object_store.errors import Absent, translated
from dedicated.adapters.object_store.patience import patiently
from dedicated.adapters.weights_cache import digest_in
from dedicated.api.errors import CacheCorrupt
from dedicated.weights.collect import GRACE_S, Blob, Ref, evicted, marked, removable
from dedicated.weights.keys import Keys, Model, blob_of, model_of, root, scope_of
from dedicated.weights.manifest import Manifest, decoded

FORGET_S = {"intents": GRACE_S, "leases": GRACE_S, "access": 30 * GRACE_S}
"""When what writers and readers note is of no more use. (seconds)"""
UPLOAD_S = 2 * GRACE_S
BUFFER = 1024 * 1024


@dataclass
class Scope:
    """The objects of one scope, as one listing told them: blobs first, then intents, then refs."""

    name: str
    by_kind: dict[str, list[Stored]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Entry:
    """A complete model in the cache, and what was wrong with it."""

    scope: str
    model: Model
    key: str
    idle_s: float
    manifest: Manifest | None
    problem: str = ""

    @property
    def ref(self) -> Ref:
        """For the rules."""
        return Ref(self.scope, self.model, self.manifest.blobs if self.manifest else {}, self.idle_s)


@dataclass(frozen=True)
class Swept:
    """What a collection has done."""

    evicted: tuple[str, ...]
    marked: int
    removed: int
    removed_bytes: int
    forgotten: int


class Collector:
    """The cache as its owner sees it: all scopes."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def entries(self) -> list[Entry]:
        """All models that are complete, or say so."""
        return [entry for scope in self._scopes() for entry in self._entries(scope)]

    def _scopes(self) -> list[Scope]:
        found: dict[str, Scope] = {}
        start = root(self._store.location.prefix)
        for one in self._store.list(start):
            if name := scope_of(one.key):
                kind = one.key.removeprefix(f"{start}{name}/").partition("/")[0]
                found.setdefault(name, Scope(name)).by_kind[kind].append(one)
        return list(found.values())

    def _entries(self, scope: Scope) -> Iterator[Entry]:
        keys = self._keys(scope.name)
        for one in scope.by_kind["refs"]:
            if model := model_of(one.key):
                yield self._entry(keys, model, one)

    def _entry(self, keys: Keys, model: Model, one: Stored) -> Entry:
        try:
            digest = digest_in(patiently(lambda: self._store.get(one.key)).body)
            manifest = decoded(patiently(lambda: self._store.get(keys.manifest(digest))).body, digest)
        except Absent:
            return Entry(keys.scope, model, one.key, one.age_s, None, "its manifest is missing")
        except CacheCorrupt as wrong:
            return Entry(keys.scope, model, one.key, one.age_s, None, wrong.message)
        return Entry(keys.scope, model, one.key, one.age_s, manifest)

    def _keys(self, scope: str) -> Keys:
        return Keys(self._store.location.prefix, scope)

    # collection

    def collect(self, *, budget_bytes: int | None = None, in_use: Collection[tuple[str, str]] = (), dry_run: bool = False) -> Swept:
        """
        Evict what is above the budget, mark what nobody refers to, and remove what was marked a day ago.

        Args:
            in_use: Repository and commit of what endpoints use: evicted last.
        """
        scopes = self._scopes()
        entries = [entry for scope in scopes for entry in self._entries(scope)]
        broken = [entry for entry in entries if entry.manifest is None]
        over = evicted([entry.ref for entry in entries if entry.manifest], budget_bytes, in_use) if budget_bytes is not None else []
        gone = {entry.key for entry in broken} | {self._keys(ref.scope).ref(ref.model) for ref in over}
        if not dry_run:
            for key in sorted(gone):
                self._store.delete(key)
        swept = [self._sweep(scope, [e for e in entries if e.scope == scope.name and e.key not in gone], dry_run) for scope in scopes]
        if not dry_run:
            self._store.abort_stale_uploads(root(self._store.location.prefix), UPLOAD_S)
        return Swept(
            tuple(sorted(gone)),
            sum(one.marked for one in swept),
            sum(one.removed for one in swept),
            sum(one.removed_bytes for one in swept),
            sum(one.forgotten for one in swept),
        )

    def _sweep(self, scope: Scope, entries: list[Entry], dry_run: bool) -> Swept:
        keys, now = self._keys(scope.name), self._store.now()
        used = {sha for entry in entries if entry.manifest for sha in entry.manifest.blobs} | self._intended(scope)
        blobs = [Blob(sha, one.size, one.age_s) for one in scope.by_kind["blobs"] if (sha := blob_of(one.key))]
        marks = self._marks(keys)
        due = removable(blobs, used, marks, now)
        new = {sha: since for sha, since in marked(blobs, used, marks, now).items() if sha not in {blob.sha256 for blob in due}}
        stale = list(self._stale(scope, {entry.manifest.digest for entry in entries if entry.manifest}))
        if not dry_run:
            due = [blob for blob in due if self._still_old(keys.blob(blob.sha256), now - marks[blob.sha256])]
            for key in [*(keys.blob(blob.sha256) for blob in due), *stale]:
                self._store.delete(key)
            if new != marks:
                self._store.put(keys.marks, json.dumps(new, sort_keys=True).encode())
        return Swept((), len(new), len(due), sum(blob.size for blob in due), len(stale))

    def _intended(self, scope: Scope) -> set[str]:
        """Blobs that writers are about to use."""
        found: set[str] = set()
        for one in scope.by_kind["intents"]:
            found |= self._blobs_in(one.key)
        return found

    def _blobs_in(self, intent: str) -> set[str]:
        try:
            return set(json.loads(patiently(lambda: self._store.get(intent)).body)["blobs"])
        except (Absent, ValueError, KeyError, TypeError):
            return set()

    def _marks(self, keys: Keys) -> dict[str, float]:
        try:
            said = json.loads(patiently(lambda: self._store.get(keys.marks)).body)
            return {str(sha): float(since) for sha, since in said.items()}
        except (Absent, ValueError, AttributeError, TypeError):
            return {}

    def _still_old(self, key: str, unused_s: float) -> bool:
        """Whether nobody has written the blob again since it was marked."""
        try:
            return self._store.head(key).age_s >= min(unused_s, GRACE_S)
        except Absent:
            return False

    def _stale(self, scope: Scope, manifests: set[str]) -> Iterator[str]:
        for kind, after_s in FORGET_S.items():
            yield from (one.key for one in scope.by_kind[kind] if one.age_s > after_s)
        for one in scope.by_kind["manifests"]:
            if one.age_s > GRACE_S and one.key.rpartition("/")[2].removesuffix(".json") not in manifests:
                yield one.key

    # checks

    def verify(self, *, deep: bool = False) -> list[tuple[Entry, str]]:
        """What is wrong in the cache, by model. (deep: read all content and compare it with its digest; quarantine what differs)"""
        found: list[tuple[Entry, str]] = []
        checked: dict[tuple[str, str], str] = {}
        for entry in self.entries():
            if entry.manifest is None:
                found.append((entry, entry.problem))
                continue
            for sha, size in entry.manifest.blobs.items():
                if (entry.scope, sha) not in checked:
                    checked[entry.scope, sha] = self._problem(self._keys(entry.scope), sha, size, deep)
                if problem := checked[entry.scope, sha]:
                    found.append((entry, f"blob {sha[:12]} {problem}"))
        return found

    def _problem(self, keys: Keys, sha: str, size: int, deep: bool) -> str:
        try:
            there = patiently(lambda: self._store.head(keys.blob(sha))).size
            if there != size:
                return f"has {there} bytes, not {size}"
            if deep and size and patiently(lambda: self._digest(keys.blob(sha), size)) != sha:
                self._store.put(keys.quarantine(sha), b'{"why": "verify"}')
                return "is not what its digest says"
        except Absent:
            return "is missing"
        return ""

    def _digest(self, key: str, size: int) -> str:
        digest, buffer = hashlib.sha256(), memoryview(bytearray(BUFFER))
        body = self._store.span(key, 0, size)
        try:
            with translated(self._store.where):
                while count := body.readinto(buffer):
                    digest.update(buffer[:count])
        finally:
            body.close()
        return digest.hexdigest()

    # by hand

    def evict(self, repo: str, commit: str | None = None) -> list[Entry]:
        """Say no more that these are there; their blobs go with a later collection."""
        found = [entry for entry in self.entries() if entry.model.repo == repo and commit in (None, entry.model.commit)]
        for entry in found:
            self._store.delete(entry.key)
        return found
