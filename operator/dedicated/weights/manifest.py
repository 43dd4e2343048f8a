"""
What a cached model consists of: its files by digest, cut into parts that are verified one by one.

A manifest is canonical JSON and is named by its own sha256, so that whoever has the name can tell whether the content is the right one. It comes from
a bucket that others write to as well: nothing of it is believed before it was checked here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import orjson

from dedicated.api.errors import CacheCorrupt
from dedicated.core.quantities import MIB, canonical_json
from dedicated.weights.keys import SCHEMA

PART_BYTES = 16 * MIB
"""What is verified at once; AWS advises ranges of 8-16 MiB, aligned. (bytes)"""
SHA256 = re.compile(r"[0-9a-f]{64}")
MOST_FILES = 20_000
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.")


@dataclass(frozen=True)
class CachedFile:
    """A file: its content is the blob of this sha256; `parts` are the sha256 of each `part_bytes` of it, the last part may be shorter."""

    path: str
    size: int
    sha256: str
    parts: tuple[str, ...]
    part_bytes: int = PART_BYTES

    def span(self, index: int) -> tuple[int, int]:
        """First byte and length of a part. (bytes)"""
        first = index * self.part_bytes
        return first, min(self.part_bytes, self.size - first)


@dataclass(frozen=True)
class Manifest:
    """The files of a repository at a commit, in the order in which they are fetched."""

    repo: str
    commit: str
    scope: str
    filter: str
    files: tuple[CachedFile, ...]
    builder: str = ""

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)

    @property
    def blobs(self) -> dict[str, int]:
        """Size of each blob by its sha256; files of the same content share one."""
        return {file.sha256: file.size for file in self.files}

    def encoded(self) -> bytes:
        """Canonical JSON."""
        files = [
            {"path": f.path, "size": f.size, "sha256": f.sha256, "partSize": f.part_bytes, "parts": list(f.parts), "order": order}
            for order, f in enumerate(self.files)
        ]
        head = {"schema": SCHEMA, "repo": self.repo, "commit": self.commit, "scope": self.scope, "filter": self.filter, "builder": self.builder}
        return canonical_json({**head, "totalBytes": self.total_bytes, "files": files})

    @property
    def digest(self) -> str:
        """Its name: sha256 of the canonical JSON."""
        return hashlib.sha256(self.encoded()).hexdigest()


def part_count(size: int, part_bytes: int) -> int:
    """Parts of a file of this size; an empty file has none."""
    return -(-size // part_bytes)


def in_order(files: Iterable[CachedFile]) -> tuple[CachedFile, ...]:
    """The order to fetch in: what is small and not a shard first, since the engine reads it first; then shards as they are numbered."""
    return tuple(sorted(files, key=lambda file: (_SHARD.search(file.path) is not None, file.size if not _SHARD.search(file.path) else 0, file.path)))


def decoded(raw: bytes, digest: str) -> Manifest:
    """
    The manifest in these bytes.

    Raises:
        CacheCorrupt: They are not those that the digest names, or describe files that cannot be.
    """
    if hashlib.sha256(raw).hexdigest() != digest:
        raise CacheCorrupt(f"The manifest {digest[:12]} in the cache has another content than its name says.")
    try:
        return _manifest(orjson.loads(raw))
    except (KeyError, TypeError, ValueError, AttributeError) as odd:
        raise CacheCorrupt(f"The manifest {digest[:12]} in the cache cannot be read: {odd}.") from odd


def _manifest(said: Mapping[str, Any]) -> Manifest:
    if said["schema"] != SCHEMA:
        raise ValueError(f"it is of schema {said['schema']}, and this is {SCHEMA}")
    entries = sorted(said["files"], key=lambda entry: int(entry["order"]))
    if not 0 < len(entries) <= MOST_FILES:
        raise ValueError(f"it names {len(entries)} files")
    files = tuple(_file(entry) for entry in entries)
    if len({file.path for file in files}) != len(files):
        raise ValueError("it names a file twice")
    found = Manifest(str(said["repo"]), str(said["commit"]), str(said["scope"]), str(said["filter"]), files, str(said.get("builder", "")))
    if found.total_bytes != said["totalBytes"]:
        raise ValueError(f"its files have {found.total_bytes} bytes, and it says {said['totalBytes']}")
    return found


def _file(entry: Mapping[str, Any]) -> CachedFile:
    file = CachedFile(str(entry["path"]), int(entry["size"]), entry["sha256"], tuple(entry["parts"]), int(entry["partSize"]))
    if not is_below(file.path):
        raise ValueError(f"'{file.path}' leads out of its folder")
    if file.size < 0 or file.part_bytes <= 0 or len(file.parts) != part_count(file.size, file.part_bytes):
        raise ValueError(f"{file.path} of {file.size} bytes has {len(file.parts)} parts of {file.part_bytes}")
    if not all(SHA256.fullmatch(digest) for digest in (file.sha256, *file.parts)):
        raise ValueError(f"{file.path} has a digest that is none")
    return file


def is_below(path: str) -> bool:
    """Whether a file of this path lies below its folder."""
    found = PurePosixPath(path)
    return bool(found.parts) and not found.is_absolute() and ".." not in found.parts and "\0" not in path
