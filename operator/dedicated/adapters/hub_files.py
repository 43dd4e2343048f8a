"""The files of a repository on the hub, a few bytes at a time, kept on disk: what the hub said of a commit never changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from dedicated.adapters.hub import Asked, HubClient, Token
from dedicated.api.errors import HubUnavailable
from dedicated.core.quantities import stable_hash
from dedicated.weights.repository import ModelInfo
from dedicated.weights.selection import RepoFile

T = TypeVar("T")


class HubFiles:
    """
    A repository at a revision.

    Args:
        cache: Folder that keeps what was read, by hub, repository and commit.
        offline: Whether only that is read.
    Raises:
        ModelNotFound, TokenMissing, HubUnavailable, ...: As the hub answers; see `adapters.hub.errors`.
    """

    def __init__(self, endpoint: str, repo: str, revision: str, *, token: str | None, cache: Path, offline: bool) -> None:
        self._endpoint, self._repo, self._revision, self._token, self._offline = (
            endpoint,
            repo,
            revision,
            Token(token, "HF_TOKEN") if token else None,
            offline,
        )
        self._folder = cache / stable_hash(endpoint.encode()) / repo.replace("/", "--")
        self.name = repo
        self.commit, self._files = self._listing()

    def files(self) -> Sequence[RepoFile]:
        """All files with their sizes."""
        return self._files

    def read(self, path: str, start: int = 0, length: int | None = None) -> bytes:
        """Bytes of a file, from disk where they were read before."""
        size = next((file.size for file in self._files if file.path == path), 0)
        end = size if length is None else min(start + length, size)
        if end <= start:
            return b""
        kept = self._folder / self.commit / stable_hash(f"{path} {start} {end}".encode(), 20)
        if kept.exists():
            return kept.read_bytes()
        found = self._get(path, start, end)
        _keep(kept, found)
        return found

    def _listing(self) -> tuple[str, tuple[RepoFile, ...]]:
        kept = self._folder / f"revision-{stable_hash(self._revision.encode())}.json"
        if self._offline:
            if not kept.exists():
                raise HubUnavailable(f"{self._repo} at {self._revision} was never read from {self._endpoint}; leave out --offline once")
            said = json.loads(kept.read_bytes())
            return said["commit"], tuple(RepoFile(path, size) for path, size in said["files"])
        info = asyncio.run(self._resolved())
        listing = {"commit": info.commit, "files": [(file.path, file.size) for file in info.files]}
        _keep(kept, json.dumps(listing).encode())
        return info.commit, info.files

    async def _resolved(self) -> ModelInfo:
        return await self._asking(self._revision, lambda client, asked: client.info(asked))

    def _get(self, path: str, start: int, end: int) -> bytes:
        if self._offline:
            raise HubUnavailable(f"{path} of {self._repo} was never read from {self._endpoint}; leave out --offline once")
        return asyncio.run(self._asking(self.commit, lambda client, asked: client.span(asked, path, start, end - start)))

    async def _asking(self, revision: str, ask: Callable[[HubClient, Asked], Awaitable[T]]) -> T:
        client = HubClient(self._endpoint)
        try:
            return await ask(client, Asked(self._repo, revision, self._token))
        finally:
            await client.close()


def _keep(path: Path, found: bytes) -> None:
    """Write by way of another name, so that nobody reads half of it. A folder that cannot be written only costs time."""
    beside = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(found)
        beside.replace(path)
    except OSError:
        return
