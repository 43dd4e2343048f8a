"""
`dedicated fetch`: bring a model's files from the hub into a folder, at a pinned commit.

Theory of operation: each file grows as `<name>.partial` and gets its name only after its size and sha256 are right, so a name that exists
is a file that is whole,
whenever the process was killed. A cut stream goes on where it stopped, by range. What goes wrong is left as JSON in the container's
termination message, where the
operator's diagnosis reads it. Where there is a cache, `adapters.tiers` asks it first, and uses this for what it lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from dedicated.adapters.boot import PARTIAL
from dedicated.adapters.hub import USER_AGENT, Asked, HubClient, Token, authorization, error_of, shown
from dedicated.adapters.hub.transport import tls
from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import DedicatedError, HubUnavailable, InvalidSpec, NodeDiskFull, Transient, WeightsCorrupt
from dedicated.core.quantities import human_bytes
from dedicated.weights.selection import RepoFile, Selection, wanted_files

FILES_AT_ONCE = 4
CHUNK = 1024 * 1024
TRIES = 6
"""Failures in a row, without a byte between them, after which it is given up."""
PAUSE_FIRST_S = 1.0
PAUSE_LONGEST_S = 30.0
PROGRESS_S = 5.0
EXIT_RETRYABLE, EXIT_PERMANENT = 1, 3
TERMINATION_BYTES = 4096


@dataclass(frozen=True)
class FetchRequest:
    """What is to be brought, from where to where."""

    endpoint: str
    repo: str
    commit: str
    directory: Path
    engine: EngineKind = EngineKind.CUSTOM
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    token: str | None = field(default=None, repr=False)
    termination_log: Path | None = None
    pause_first_s: float = PAUSE_FIRST_S

    def asked(self) -> Asked:
        """As the hub is asked. Raises TokenInvalid."""
        return Asked(self.repo, self.commit, Token(self.token, "HF_TOKEN") if self.token else None)


@dataclass
class Progress:
    """How much has arrived. (bytes)"""

    total: int
    done: int = 0
    began: float = field(default_factory=time.monotonic)
    began_with: int = 0

    def line(self) -> str:
        """For the log: bytes, percent, rate."""
        percent = 100 * self.done / self.total if self.total else 100.0
        rate = (self.done - self.began_with) / max(time.monotonic() - self.began, 0.001)
        return f"fetched {human_bytes(self.done)} of {human_bytes(self.total)} ({percent:.0f} %), {human_bytes(rate)}/s"


def say_line(line: str) -> None:
    """One line of the log."""
    print(line, flush=True, file=sys.stdout)


def leave_message(path: Path, failure: DedicatedError, retryable: bool) -> None:
    """Leave the reason where the kubelet takes it up into the container's status."""
    words = {"reason": failure.reason.value, "message": failure.message[:1024], "retryable": retryable}
    with contextlib.suppress(OSError):
        path.write_text(json.dumps(words)[:TERMINATION_BYTES])


async def _nothing(_chosen: Selection) -> None:
    """Nothing is to be done before."""


async def fetch(
    request: FetchRequest,
    say: Callable[[str], None],
    *,
    only: tuple[RepoFile, ...] = (),
    before: Callable[[Selection], Awaitable[None]] = _nothing,
    whole: Callable[[RepoFile, Path], None] = lambda file, path: None,
) -> Selection:
    """
    Bring the wanted files from the hub into the directory.

    Args:
        only: These files, whose sizes and digests are known already.
        before: Called when the files are known, before any is fetched.
        whole: Called for each file when it is whole.
    Raises:
        DedicatedError: Stalled where trying again cannot help, Transient where it may.
    """
    chosen, commit = (Selection(only, 0), request.commit) if only else await _chosen(request, say)
    await before(chosen)
    total = sum(file.size for file in chosen.files)
    say(f"fetching {len(chosen.files)} files, {human_bytes(total)}, of {request.repo} at {commit}")
    progress = Progress(total)
    async with httpx.AsyncClient(timeout=httpx.Timeout(30.0), headers={"User-Agent": USER_AGENT}, follow_redirects=True, verify=tls()) as client:
        ticker = asyncio.create_task(_tick(progress, say))
        try:
            await _all(_Hub(client, request, commit, progress, say, whole), chosen)
        finally:
            ticker.cancel()
    say(progress.line())
    return chosen


async def _chosen(request: FetchRequest, say: Callable[[str], None]) -> tuple[Selection, str]:
    """What is to be brought, and the commit that it is brought from."""
    hub, asked = HubClient(request.endpoint), request.asked()
    try:
        info = await _patiently(lambda: hub.info(asked), request, say)
        chosen = wanted_files(info.files, engine=request.engine, include=request.include, exclude=request.exclude)
        files = await _patiently(lambda: hub.sized(asked, chosen.files), request, say)
    finally:
        await hub.close()
    return replace(chosen, files=files), info.commit


@dataclass(frozen=True)
class _Hub:
    """What all downloads of one fetch share."""

    client: httpx.AsyncClient
    request: FetchRequest
    commit: str
    progress: Progress
    say: Callable[[str], None]
    whole: Callable[[RepoFile, Path], None]


async def _all(hub: _Hub, chosen: Selection) -> None:
    places = asyncio.Semaphore(FILES_AT_ONCE)

    async def one(file: RepoFile) -> None:
        async with places:
            path = await _Download(hub, file).run()
            hub.whole(file, path)

    tasks = [asyncio.create_task(one(file)) for file in sorted(chosen.files, key=lambda file: file.size)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tick(progress: Progress, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(PROGRESS_S)
        say(progress.line())


async def _patiently(call: Callable[[], Any], request: FetchRequest, say: Callable[[str], None]) -> Any:
    """Try again what may pass by itself, a few times."""
    for attempt in range(TRIES):
        try:
            return await call()
        except Transient as passing:
            if attempt == TRIES - 1:
                raise
            await _pause(passing, attempt, request, say)
    raise AssertionError("unreachable")


async def _pause(passing: DedicatedError, attempt: int, request: FetchRequest, say: Callable[[str], None]) -> None:
    wait_s = passing.retry_after_s or min(request.pause_first_s * 2**attempt, PAUSE_LONGEST_S)
    say(f"{passing.message} Trying again in {wait_s:.0f} s.")
    await asyncio.sleep(wait_s)


class _Download:
    """One file."""

    def __init__(self, hub: _Hub, file: RepoFile) -> None:
        self._client, self._request, self._file, self._progress, self._say = hub.client, hub.request, file, hub.progress, hub.say
        request = hub.request
        self._url = f"{request.endpoint}/{quote(request.repo)}/resolve/{hub.commit}/{quote(file.path)}"
        self._path = request.directory / safe_path(file.path)
        self._partial = self._path.with_name(self._path.name + PARTIAL)
        self._hash = hashlib.sha256()
        self._have = 0

    async def run(self) -> Path:
        """Bring it, or find it whole; answers where it is."""
        try:
            if self._path.exists() and self._path.stat().st_size == self._file.size:
                self._progress.done += self._file.size
                self._progress.began_with += self._file.size
                return self._path
            self._path.parent.mkdir(parents=True, exist_ok=True)
            await self._bring()
            return self._path
        except OSError as failure:
            if failure.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NodeDiskFull(f"The disk is full: {self._file.path} needs {human_bytes(self._file.size - self._have)} more.") from failure
            raise NodeDiskFull(f"{self._file.path} cannot be written: {failure.strerror}.") from failure

    async def _bring(self) -> None:
        for again in (True, False):
            await asyncio.to_thread(self._take_up)
            await self._whole()
            if self._is_right():
                self._partial.chmod(0o644)
                self._partial.rename(self._path)
                return
            self._forget()
            if again:
                self._say(f"{self._file.path} arrived with the wrong content; fetching it again")
        raise WeightsCorrupt(f"{self._file.path} arrived twice with another size or sha256 than the hub says.")

    def _take_up(self) -> None:
        """What an earlier run left is hashed and kept."""
        self._hash, self._have = hashlib.sha256(), 0
        if not self._partial.exists():
            return
        with self._partial.open("rb") as left:
            while chunk := left.read(CHUNK):
                self._hash.update(chunk)
                self._have += len(chunk)
        self._progress.done += self._have
        self._progress.began_with += self._have

    def _forget(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._progress.done -= self._have

    def _is_right(self) -> bool:
        return self._have == self._file.size and self._file.sha256 in (None, self._hash.hexdigest())

    async def _whole(self) -> None:
        """Stream until all bytes are here; a cut goes on where it stopped, for as long as bytes come."""
        failures = 0
        self._partial.touch()
        while self._have < self._file.size:
            before = self._have
            try:
                await self._stream()
            except Transient as passing:
                failures = 1 if self._have > before else failures + 1
                if failures >= TRIES:
                    raise
                await _pause(passing, failures - 1, self._request, self._say)

    async def _stream(self) -> None:
        headers = {**authorization(self._request.asked().token), "Accept-Encoding": "identity"}
        if self._have:
            headers["Range"] = f"bytes={self._have}-"
        try:
            async with self._client.stream("GET", self._url, headers=headers) as response:
                await self._check(response)
                await self._write(response)
        except httpx.HTTPError as lost:
            raise HubUnavailable(f"The connection to the hub broke in {self._file.path} ({type(lost).__name__}).") from lost
        if self._have < self._file.size:
            raise HubUnavailable(f"The hub ended {self._file.path} after {human_bytes(self._have)}.")

    async def _check(self, response: httpx.Response) -> None:
        if response.status_code == 206 or (response.status_code == 200 and not self._have):
            return
        if response.status_code in (200, 416):
            self._forget()
            self._partial.touch()
            self._hash, self._have = hashlib.sha256(), 0
            if response.status_code == 200:
                return
            raise HubUnavailable(f"The hub cannot continue {self._file.path}; beginning anew.")
        body = (await response.aread())[:2000]
        if response.status_code == 404 and response.headers.get("X-Error-Code") == "EntryNotFound":
            raise InvalidSpec(f"{self._request.repo} has no file {self._file.path} at this commit.")
        raise error_of(shown(self._request.endpoint), self._request.asked(), response.status_code, response.headers, body)

    async def _write(self, response: httpx.Response) -> None:
        with self._partial.open("ab") as out:
            async for chunk in response.aiter_raw(CHUNK):
                out.write(chunk)
                self._hash.update(chunk)
                self._have += len(chunk)
                self._progress.done += len(chunk)
                if self._have > self._file.size:
                    return


def safe_path(path: str) -> PurePosixPath:
    """
    The path of a repository's file below the directory.

    Raises:
        InvalidSpec: It would lead out of the directory.
    """
    found = PurePosixPath(path)
    if found.is_absolute() or ".." in found.parts or not found.parts:
        raise InvalidSpec(f"The repository names a file '{path}', which leads out of its folder.")
    return found
