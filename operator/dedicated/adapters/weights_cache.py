"""
The cache in the bucket: looked up, read, filled, put right.

Theory of operation: see weights.keys for what lies where. A reader takes ref, manifest and blobs, and believes none of them before its digest was
compared. A writer puts up its intent, then blobs, then the manifest, then the ref: whoever finds a ref finds all that it leads to. A blob that turned
out wrong is written again in place, in one write, so that no reader ever meets a gap.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dedicated import __version__
from dedicated.adapters.object_store.client import ObjectStore
from dedicated.adapters.object_store.download import Report, Source, download
from dedicated.adapters.object_store.errors import Absent, NotWon
from dedicated.adapters.object_store.lease import Lease
from dedicated.adapters.object_store.patience import patiently
from dedicated.adapters.object_store.upload import digests_of, upload
from dedicated.api.errors import CacheCorrupt, DedicatedError
from dedicated.weights.keys import PUBLIC, SCHEMA, Keys, Model, scope_for
from dedicated.weights.manifest import CachedFile, Manifest, decoded, in_order
from dedicated.weights.selection import RepoFile

TOUCH_S = 24 * 3600.0
"""A ref that is used is written again after this, so that the collector knows. (seconds)"""
ACCESS_S = 24 * 3600.0
"""How long a token's last success counts while the hub cannot be asked. (seconds)"""


@dataclass(frozen=True)
class Hit:
    """A model that the cache holds."""

    keys: Keys
    model: Model
    manifest: Manifest
    idle_s: float


@dataclass(frozen=True)
class WeightsCache:
    """The cache as one namespace may use it."""

    store: ObjectStore
    namespace_uid: str
    holder: str = "somebody"
    most_streams: int = 64

    def keys(self, *, anonymous_read: bool) -> Keys:
        """Where the namespace keeps what it may read so. Raises ValueError where it has no UID."""
        return Keys(self.store.location.prefix, scope_for(anonymous_read=anonymous_read, namespace_uid=self.namespace_uid))

    def scopes(self) -> Iterable[Keys]:
        """Where a reader looks: what everybody may read, then what its namespace may."""
        yield Keys(self.store.location.prefix, PUBLIC)
        if self.namespace_uid:
            yield self.keys(anonymous_read=False)

    # reading

    def find(self, model: Model) -> Hit | None:
        """
        The model, where the cache holds it whole.

        Raises:
            CacheCorrupt: It says that it does, and what it leads to is not there or not right.
            ObjectStoreUnavailable, ObjectStoreDenied.
        """
        for keys in self.scopes():
            if hit := self.find_in(keys, model):
                return hit
        return None

    def find_in(self, keys: Keys, model: Model) -> Hit | None:
        """The same in one scope."""
        try:
            ref = patiently(lambda: self.store.get(keys.ref(model)))
        except Absent:
            return None
        digest = digest_in(ref.body)
        try:
            raw = patiently(lambda: self.store.get(keys.manifest(digest)))
        except Absent:
            raise CacheCorrupt(f"The cache has a ref of {model.repo}, and not the manifest that it names.") from None
        manifest = decoded(raw.body, digest)
        if (manifest.repo, manifest.commit, manifest.filter, manifest.scope) != (model.repo, model.commit, model.filter, keys.scope):
            raise CacheCorrupt(f"The cache has a ref of {model.repo} that leads to something else: {manifest.repo} at {manifest.commit}.")
        return Hit(keys, model, manifest, ref.age_s)

    def read(self, hit: Hit, to: Path, report: Report) -> None:
        """Bring the files of a hit; those that are not right are named in the report and left out."""
        sources = [Source(file, hit.keys.blob(file.sha256)) for file in hit.manifest.files]
        download(self.store, sources, to, report=report, most=self.most_streams)
        for file in hit.manifest.files:
            if file.path in report.bad:
                self.quarantine(hit.keys, file.sha256, str(report.bad[file.path]))

    def touch(self, hit: Hit) -> None:
        """Note that it was used, once a day; that this fails harms nobody."""
        if hit.idle_s < TOUCH_S:
            return
        try:
            self.store.put(hit.keys.ref(hit.model), ref_body(hit.manifest))
        except (DedicatedError, NotWon):
            return

    # who may read what is not public

    def note_access(self, keys: Keys, model: Model, token_key: str) -> None:
        """This token was seen to open the model now."""
        self.store.put(keys.access(model, token_key or "anonymous"), b"{}")

    def had_access(self, keys: Keys, model: Model, token_key: str) -> bool:
        """Whether it was, within a day."""
        try:
            return self.store.head(keys.access(model, token_key or "anonymous")).age_s < ACCESS_S
        except Absent:
            return False

    # what turned out wrong

    def quarantine(self, keys: Keys, sha256: str, why: str) -> None:
        """Mark a blob as wrong: no writer takes it for granted any more."""
        try:
            self.store.put(keys.quarantine(sha256), json.dumps({"why": why}).encode())
        except (DedicatedError, NotWon):
            return  # whoever reads it next finds the same

    def repair(self, keys: Keys, file: CachedFile, path: Path) -> None:
        """Write a blob again from a file that is right."""
        upload(self.store, keys.blob(file.sha256), path, file.sha256, part_bytes=file.part_bytes)
        self.store.delete(keys.quarantine(file.sha256))

    def drop_ref(self, hit: Hit) -> None:
        """Say no more that the model is there; its blobs are left to the collector."""
        self.store.delete(hit.keys.ref(hit.model))

    # filling

    def lease(self, keys: Keys, model: Model) -> Lease | None:
        """The lease on filling this model; None on a server without conditional writes, where everybody fills for himself."""
        if not self.store.keeps_conditions(f"{keys.root}leases/probe-{self.holder}"):
            return None
        return Lease(self.store, keys.lease(model), self.holder)


def digest_in(ref: bytes) -> str:
    """The manifest that a ref names. Raises CacheCorrupt."""
    try:
        return str(json.loads(ref)["manifest"])
    except (ValueError, KeyError, TypeError) as odd:
        raise CacheCorrupt("The cache has a ref that cannot be read.") from odd


def ref_body(manifest: Manifest) -> bytes:
    """What a ref says."""
    return json.dumps({"schema": SCHEMA, "manifest": manifest.digest, "totalBytes": manifest.total_bytes}).encode()


@dataclass
class Filling:
    """One model on its way into the cache: files are handed in as they become whole, and go up beside the fetch of the others."""

    cache: WeightsCache
    keys: Keys
    model: Model
    files: Sequence[RepoFile]
    lease: Lease | None = None
    _done: list[CachedFile] = field(default_factory=list)
    _queue: queue.Queue[tuple[RepoFile, Path] | None] = field(default_factory=queue.Queue)
    _failure: BaseException | None = None
    _thread: threading.Thread | None = None
    _suspect: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Put up the intent, before looking what is there."""
        blobs = [file.sha256 for file in self.files if file.sha256]
        patiently(lambda: self.cache.store.put(self.keys.intent(self.model, self.cache.holder), json.dumps({"blobs": blobs}).encode()))
        self._suspect = self._not_to_be_taken_for_granted()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _not_to_be_taken_for_granted(self) -> set[str]:
        """Blobs in quarantine, and those that the collector is about to remove."""
        prefix = f"{self.keys.root}quarantine/"
        found = {one.key.removeprefix(prefix).removesuffix(".json") for one in self.cache.store.list(prefix)}
        try:
            marks = json.loads(self.cache.store.get(self.keys.marks).body)
        except (Absent, ValueError):
            return found
        return found | set(marks if isinstance(marks, dict) else {})

    def add(self, file: RepoFile, path: Path) -> None:
        """A file is whole."""
        self._queue.put((file, path))

    def _run(self) -> None:
        while (handed := self._queue.get()) is not None:
            if self._failure is None:
                try:
                    self._done.append(self._put(*handed))
                except (DedicatedError, Absent, NotWon, OSError) as failure:
                    self._failure = failure

    def _put(self, file: RepoFile, path: Path) -> CachedFile:
        sha256, parts = (file.sha256, ()) if file.sha256 else digests_of(path)
        key, size = self.keys.blob(sha256), path.stat().st_size
        if sha256 not in self._suspect and self._is_there(key, size):
            whole, parts = digests_of(path)
            if whole != sha256:
                raise CacheCorrupt(f"{file.path} is not what its digest says, so it is not put into the cache.")
        else:
            parts = upload(self.cache.store, key, path, sha256)
            self.cache.store.delete(self.keys.quarantine(sha256))
        if self.lease:
            self.lease.done += size
        return CachedFile(file.path, size, sha256, parts)

    def _is_there(self, key: str, size: int) -> bool:
        try:
            return patiently(lambda: self.cache.store.head(key)).size == size
        except Absent:
            return False

    def abandon(self) -> None:
        """The files will not come."""
        self._end()
        self._withdraw()

    def finish(self) -> Manifest:
        """
        Wait for what is under way, then write manifest and ref.

        Raises:
            ObjectStoreUnavailable, ObjectStoreDenied, CacheCorrupt: It is not in the cache. The next start tries again.
        """
        self._end()
        try:
            if self._failure is not None:
                raise self._failure
            return self._complete()
        except (Absent, NotWon) as lost:
            raise CacheCorrupt(f"{self.model.repo} could not be put into the cache: an object went while it was written.") from lost
        except OSError as failure:
            raise CacheCorrupt(f"{self.model.repo} could not be put into the cache: {failure.strerror}.") from failure
        finally:
            self._withdraw()

    def _complete(self) -> Manifest:
        store, scope = self.cache.store, self.keys.scope
        model = self.model
        manifest = Manifest(model.repo, model.commit, scope, model.filter, in_order(self._done), f"dedicated/{__version__}")
        patiently(lambda: store.put(self.keys.manifest(manifest.digest), manifest.encoded()))
        there = {file.sha256 for file in manifest.files if self._is_there(self.keys.blob(file.sha256), file.size)}
        if missing := set(manifest.blobs) - there:
            raise CacheCorrupt(f"{len(missing)} blobs of {model.repo} went from the cache while it was filled.")
        patiently(lambda: store.put(self.keys.ref(model), ref_body(manifest)))
        return manifest

    def _end(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _withdraw(self) -> None:
        try:
            self.cache.store.delete(self.keys.intent(self.model, self.cache.holder))
            if self.lease:
                self.lease.release()
        except DedicatedError:
            return  # the collector forgets old intents, and a lease runs out
