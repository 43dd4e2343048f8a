"""
A folder of model files in a bucket of the user's own, at the objects that were resolved.

Theory of operation: S3 has no commits, so what the folder holds is named by a digest over the names, sizes and ETags of the files that the engine
needs. Whoever reads it later lists it again and compares, and each read names the ETag that it means: a file that was replaced meanwhile is told,
never mixed with the others. It is read with the credentials that the user gave, else as anybody may; never with our own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice

from dedicated.adapters.object_store.client import Body, ObjectStore, Stored
from dedicated.adapters.object_store.errors import Absent, NotWon, translated
from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import InvalidSpec, ModelChanged, ModelNotFound, ObjectStoreUnavailable, WeightsCorrupt
from dedicated.api.s3 import KEY_ID, location_of
from dedicated.core.quantities import MIB
from dedicated.weights.manifest import MOST_FILES, is_below
from dedicated.weights.objects import revision_of
from dedicated.weights.selection import WEIGHT_SUFFIXES, RepoFile, Selection, wanted_files

CONFIG = "config.json"
MOST_READ = 32 * MIB
"""Bytes of a JSON file or of a header; the index of a model of ten thousand tensors has one MiB."""
SHOWN = 12
"""Characters of a revision in a message."""


def opened(uri: str, keys: Mapping[str, str], engine: EngineKind, streams: int = 4) -> S3Source:
    """The folder, as the user's Secret opens it. (keys: what the Secret holds; empty: as anybody may, on AWS)"""
    location = location_of(uri, keys)
    return S3Source(ObjectStore(location, keys, streams, anonymous=not keys.get(KEY_ID)), uri, engine)


class S3Source:
    """
    The folder as one look finds it: it is listed once.

    Raises, at any call:
        ObjectStoreDenied, ObjectStoreUnavailable: The server refuses it, or cannot be reached.
        ModelNotFound: The folder holds no file.
        InvalidSpec: Its files cannot be those of one model.
        ModelChanged: A file is no longer the one that was listed.
    """

    def __init__(self, store: ObjectStore, uri: str, engine: EngineKind) -> None:
        self.store, self.name, self._engine = store, uri, engine
        self._listed: dict[str, Stored] | None = None

    @property
    def objects(self) -> dict[str, Stored]:
        """The objects by their paths below the folder; marks of folders left out."""
        if self._listed is None:
            self._listed = self._list()
        return self._listed

    def _list(self) -> dict[str, Stored]:
        prefix = self.store.location.prefix
        try:
            listed = list(islice(self.store.list(prefix), MOST_FILES + 1))
        except Absent:
            listed = []
        if len(listed) > MOST_FILES:
            raise InvalidSpec(f"spec.model.s3.uri: {self.name} holds more than {MOST_FILES} objects; name the folder of one model")
        found = {one.key.removeprefix(prefix): one for one in listed if not one.key.endswith("/")}
        if not found:
            raise ModelNotFound(f"{self.name} holds no file: {len(listed)} objects are below it.")
        if odd := next((path for path in found if not is_below(path)), None):
            raise InvalidSpec(f"spec.model.s3.uri: {self.name} holds an object '{odd}', which leads out of its folder; remove it")
        return found

    def files(self) -> Sequence[RepoFile]:
        """All files with their sizes."""
        return [RepoFile(path, one.size) for path, one in self.objects.items()]

    def chosen(self) -> Selection:
        """Those that the engine needs."""
        try:
            return wanted_files(self.files(), engine=self._engine)
        except InvalidSpec as unclear:
            weights = sorted(path for path in self.objects if path.endswith(WEIGHT_SUFFIXES))
            raise InvalidSpec(
                f"spec.model.s3.uri: {self.name} does not hold one model, whole, in a form that engine kind {self._engine} reads, but "
                f"{len(self.objects)} files, of weights: {', '.join(weights[:8]) or 'none'}; name the folder that holds the model alone"
            ) from unclear

    def revision(self) -> str:
        """Names what they are now."""
        return revision_of((file.path, file.size, self.objects[file.path].etag) for file in self.chosen().files)

    def demand(self, revision: str) -> None:
        """Raise ModelChanged where the folder is no longer what was resolved to this revision."""
        if (now := self.revision()) != revision:
            newest = min(self.chosen().files, key=lambda file: self.objects[file.path].age_s)
            minutes = self.objects[newest.path].age_s / 60
            raise ModelChanged(
                f"{self.name} is no longer what was resolved (then {revision[:SHOWN]}, now {now[:SHOWN]}); the newest of its files is {newest.path}, "
                f"written {minutes:.0f} minutes ago."
            )

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file as it was listed; fewer where it ends."""
        one = self.objects[path]
        end = one.size if length is None else min(start + length, one.size)
        if end - start > MOST_READ:
            raise WeightsCorrupt(f"{path} in {self.name} has a head of {end - start} bytes, at most {MOST_READ} can be")
        if end <= start:
            return b""
        content = bytearray(end - start)
        with self._unchanged(path), translated(self.store.where):
            body = self.store.span(one.key, start, end - start, if_match=one.etag)
            try:
                _fill(memoryview(content), body)
            finally:
                body.close()
        return bytes(content)

    def prove(self, revision: str) -> None:
        """That the files are those that were resolved, and that one byte of the largest is handed out."""
        self.demand(revision)
        largest = max(self.chosen().files, key=lambda file: file.size)
        self.read(largest.path, 0, 1)

    def architecture(self) -> str | None:
        """As config.json has it; None where there is none that tells."""
        if CONFIG not in self.objects:
            return None
        try:
            named = json.loads(self.read(CONFIG)).get("architectures")
            return str(named[0]) if named else None
        except (ValueError, AttributeError, TypeError, KeyError, IndexError, WeightsCorrupt):
            return None  # sizing says what is wrong with it

    @contextmanager
    def _unchanged(self, path: str) -> Iterator[None]:
        try:
            yield
        except (Absent, NotWon) as changed:
            raise changed_object(self.name, [path]) from changed


def changed_object(name: str, paths: Sequence[str]) -> ModelChanged:
    """The error for files that are not what the list said."""
    return ModelChanged(f"In {name} {', '.join(sorted(paths)[:5])} was replaced or removed after the model was resolved.")


def _fill(into: memoryview, body: Body) -> None:
    while into:
        count = body.readinto(into)
        if not count:
            raise ObjectStoreUnavailable("The object store ended a file too early.")
        into = into[count:]
