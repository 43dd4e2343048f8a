"""Folders as repositories: their commit, their files with sizes and digests, and who may read them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

LARGE = 1024 * 1024
"""Files of at least this size are in large-file storage. (bytes)"""
LARGE_SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".onnx")
SETTINGS = ".hub.yaml"
_DIGESTS: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class File:
    """A file in a repository."""

    path: str
    at: Path
    size: int

    @property
    def large(self) -> bool:
        """Whether it is in large-file storage: redirected to, and known by its sha256."""
        return self.size >= LARGE or self.path.endswith(LARGE_SUFFIXES)

    @property
    def sha256(self) -> str:
        """Digest of the content, read once per size and modification time."""
        stat = self.at.stat()
        key = (str(self.at), stat.st_size, stat.st_mtime_ns)
        if key not in _DIGESTS:
            with self.at.open("rb") as content:
                _DIGESTS[key] = hashlib.file_digest(content, "sha256").hexdigest()
        return _DIGESTS[key]

    @cached_property
    def blob_id(self) -> str:
        """The git blob id; of a large file that of its pointer."""
        content = self._pointer() if self.large else self.at.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def _pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def etag(self) -> str:
        """What the hub gives as ETag."""
        return self.sha256 if self.large else self.blob_id

    def described(self) -> dict[str, Any]:
        """As an entry of `siblings`, with blobs=true."""
        lfs = {"lfs": {"sha256": self.sha256, "size": self.size, "pointerSize": len(self._pointer())}} if self.large else {}
        return {"rfilename": self.path, "size": self.size, "blobId": self.blob_id, **lfs}

    def in_tree(self) -> dict[str, Any]:
        """As an entry of the tree API."""
        lfs = {"lfs": {"oid": self.sha256, "size": self.size, "pointerSize": len(self._pointer())}} if self.large else {}
        return {"type": "file", "path": self.path, "size": self.size, "oid": self.blob_id, **lfs}


@dataclass(frozen=True)
class Repository:
    """One model's folder. Its settings come from an optional `.hub.yaml`: gated, private, disabled, license, pipeline_tag, gguf,
    tags, moved_to."""

    id: str
    folder: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def files(self) -> tuple[File, ...]:
        """Its files, by path."""
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file() and path.name != SETTINGS)
        return tuple(File(path.relative_to(self.folder).as_posix(), path, path.stat().st_size) for path in paths)

    @cached_property
    def commit(self) -> str:
        """A commit that changes with the content: 40 hex digits."""
        listing = "".join(f"{file.path}\0{file.size}\0{file.etag}\n" for file in self.files)
        return hashlib.sha1(listing.encode()).hexdigest()

    @property
    def gated(self) -> str | bool:
        """False, or how access is granted: auto or manual."""
        found: str | bool = self.settings.get("gated", False)
        return found

    @property
    def owner(self) -> str:
        """The first half of its id."""
        return self.id.partition("/")[0]

    @property
    def private(self) -> bool:
        """Whether all but members are told that it does not exist."""
        return bool(self.settings.get("private", False))

    @property
    def disabled(self) -> bool:
        """Whether the hub shows it to nobody any more."""
        return bool(self.settings.get("disabled", False))

    @property
    def moved_to(self) -> str | None:
        """The id that it goes by now, where it was renamed."""
        found: str | None = self.settings.get("moved_to")
        return found

    def has_revision(self, revision: str) -> bool:
        """Whether this names the one commit that there is."""
        return revision in ("main", self.commit, *self.settings.get("tags", []))

    def file(self, path: str) -> File | None:
        """The file at this path."""
        return next((file for file in self.files if file.path == path), None)

    def described(self, blobs: bool) -> dict[str, Any]:
        """As /api/models/{id} answers."""
        siblings = [file.described() if blobs else {"rfilename": file.path} for file in self.files]
        return {
            "_id": hashlib.sha1(self.id.encode()).hexdigest()[:24],
            "id": self.id,
            "modelId": self.id,
            "author": self.owner,
            "sha": self.commit,
            "private": self.private,
            "gated": self.gated,
            "disabled": self.disabled,
            "tags": [f"license:{self.settings['license']}"] if "license" in self.settings else [],
            **({"pipeline_tag": self.settings["pipeline_tag"]} if "pipeline_tag" in self.settings else {}),
            "usedStorage": sum(file.size for file in self.files),
            "downloads": 0,
            "likes": 0,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "cardData": {"license": self.settings["license"]} if "license" in self.settings else {},
            "siblings": siblings,
        }


def find(root: Path, repo_id: str) -> Repository | None:
    """The repository of this id, read anew each time: a changed folder is a new commit."""
    folder = (root / repo_id).resolve()
    if not folder.is_dir() or root.resolve() not in folder.parents or repo_id.count("/") != 1:
        return None
    settings = folder / SETTINGS
    return Repository(repo_id, folder, yaml.safe_load(settings.read_text()) if settings.exists() else {})
