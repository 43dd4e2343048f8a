"""
Files from a bucket, by parts that are verified as they arrive.

Theory of operation: a file is laid out in full beside its place as `<name>.parts`, each request brings one to four parts of it into 256 KiB buffers,
and the sha256 of a part is taken on the buffer before it is written, so nothing is read twice and memory is streams x 256 KiB whatever the size. A
part that is right is noted in `<name>.done`; when all are, the file gets its name. A stream that breaks goes on at the byte where it stopped. What a
killed run left is not believed: parts that are noted are hashed again from the disk, the others are fetched.
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dedicated.adapters.boot import PARTIAL
from dedicated.adapters.object_store.client import ObjectStore
from dedicated.adapters.object_store.errors import Absent, NotWon, SlowDown, disk_error, translated
from dedicated.api.errors import CacheCorrupt, DedicatedError, InvalidSpec, ObjectStoreUnavailable
from dedicated.core.quantities import human_bytes
from dedicated.weights.manifest import CachedFile, is_below
from dedicated.weights.streams import FIRST, MOST, Streams, parts_at_once

BUFFER = 256 * 1024
TRIES = 6
"""Failures in a row, without a byte between them, after which a request is given up."""
PAUSE_FIRST_S, PAUSE_LONGEST_S = 0.2, 10.0
ADAPT_S = 1.0
UNFINISHED, NOTED = ".parts", ".done"
_PART = struct.Struct("<I")


@dataclass(frozen=True)
class Source:
    """A file of a manifest, and the key that holds its content."""

    file: CachedFile
    key: str
    etag: str = ""
    """Of the object that is meant; empty where its name is its content."""


@dataclass
class Report:
    """How it goes, shared by all threads. (bytes)"""

    total: int
    done: int = 0
    received: int = 0
    """From the store, including what was wrong and fetched again."""
    bad: dict[str, DedicatedError] = field(default_factory=dict)
    """Files that the store does not have as their digests say, and what was wrong."""
    refetched: int = 0
    """Parts that were right the second time."""
    slowed: int = 0
    streams: int = FIRST


class _Stop(Exception):
    """Another thread has failed."""


def download(store: ObjectStore, sources: Sequence[Source], to: Path, *, report: Report, most: int = MOST, verify: bool = True) -> None:
    """
    Bring the files; those that the store does not have right are left out and named in the report.

    Raises:
        ObjectStoreUnavailable, ObjectStoreDenied, NodeDiskFull: It cannot go on. What has arrived is taken up by the next call.
    """
    _Download(store, sources, to, report, most, verify).run()


class _Target:
    """One file on its way."""

    def __init__(self, source: Source, to: Path) -> None:
        self.file, self.key, self.etag = source.file, source.key, source.etag
        if not is_below(source.file.path):
            raise InvalidSpec(f"The cache names a file '{source.file.path}', which leads out of its folder.")
        self.path = to / source.file.path
        self.unfinished = self.path.with_name(self.path.name + UNFINISHED)
        self.noted = self.path.with_name(self.path.name + NOTED)
        self.missing = set(range(len(source.file.parts)))
        self.lock = threading.Lock()
        self.handle = -1

    def open(self, verify: bool) -> int:
        """Lay the file out, and take up what is right of an earlier run. Answers the bytes of that."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._left() if verify else set[int]()
        self.handle = os.open(self.unfinished, os.O_RDWR | os.O_CREAT, 0o644)
        if self.file.size:
            os.posix_fallocate(self.handle, 0, self.file.size)
        os.ftruncate(self.handle, self.file.size)
        right = {index for index in kept if self._is_right(index)}
        self.noted.write_bytes(b"".join(_PART.pack(index) for index in sorted(right)))
        self.missing -= right
        return sum(self.file.span(index)[1] for index in right)

    def _left(self) -> set[int]:
        """Parts that may be there: noted by an earlier run, or in what a fetch from the hub has left."""
        partial = self.path.with_name(self.path.name + PARTIAL)
        if partial.exists():
            partial.rename(self.unfinished)
            size = self.unfinished.stat().st_size
            return {index for index in range(len(self.file.parts)) if sum(self.file.span(index)) <= size}
        if not (self.noted.exists() and self.unfinished.exists()):
            return set()
        raw = self.noted.read_bytes()
        found = {index for (index,) in _PART.iter_unpack(raw[: len(raw) // _PART.size * _PART.size])}
        return {index for index in found if index < len(self.file.parts)}

    def _is_right(self, index: int) -> bool:
        first, length = self.file.span(index)
        digest, buffer = hashlib.sha256(), memoryview(bytearray(BUFFER))
        while length:
            count = os.preadv(self.handle, [buffer[: min(BUFFER, length)]], first)
            if not count:
                return False
            digest.update(buffer[:count])
            first, length = first + count, length - count
        return digest.hexdigest() == self.file.parts[index]

    def note(self, index: int) -> None:
        """A part is right; when it was the last one, the file is whole and gets its name."""
        with self.lock:
            with self.noted.open("ab") as notes:
                notes.write(_PART.pack(index))
            self.missing.discard(index)
            if not self.missing:
                self.finish()

    def finish(self) -> None:
        """All parts are right."""
        os.close(self.handle)
        self.handle = -1
        self.unfinished.rename(self.path)
        self.noted.unlink(missing_ok=True)

    def close(self, *, forget: bool = False) -> None:
        """Let go of it, and of what has arrived where that is of no more use."""
        with self.lock:
            if self.handle >= 0:
                os.close(self.handle)
                self.handle = -1
            if forget:
                self.unfinished.unlink(missing_ok=True)
                self.noted.unlink(missing_ok=True)


class _Download:
    def __init__(self, store: ObjectStore, sources: Sequence[Source], to: Path, report: Report, most: int, verify: bool) -> None:
        self._store, self._report, self._most, self._verify = store, report, most, verify
        self._targets = [_Target(source, to) for source in sources]
        self._work: deque[tuple[_Target, list[int]]] = deque()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._streams = Streams(min(FIRST, most))
        self._threads: list[threading.Thread] = []
        self._running = 0

    def run(self) -> None:
        try:
            for target in self._targets:
                self._lay_out(target)
            self._fetch()
        finally:
            for target in self._targets:
                target.close(forget=target.file.path in self._report.bad)
        if self._failure is not None:
            raise self._failure

    def _lay_out(self, target: _Target) -> None:
        if target.path.exists() and target.path.stat().st_size == target.file.size:
            self._report.done += target.file.size
            return
        try:
            self._report.done += target.open(self._verify)
            if not target.missing:
                target.finish()
        except OSError as failure:
            raise disk_error(failure, f"{target.file.path} needs {human_bytes(target.file.size)}") from failure
        for group in _runs(sorted(target.missing), parts_at_once(self._streams.count)):
            self._work.append((target, group))

    # threads

    def _fetch(self) -> None:
        self._spawn()
        before, at = self._report.received, time.monotonic()
        while True:
            for thread in list(self._threads):
                thread.join(ADAPT_S / max(1, len(self._threads)))
            with self._lock:
                over = self._running == 0 and (not self._work or self._failure is not None)
            if over:
                return
            now = time.monotonic()
            if now - at >= ADAPT_S:
                slowed, self._report.slowed = self._report.slowed, 0
                self._streams = self._streams.after((self._report.received - before) / (now - at), slowed=bool(slowed), most=self._most)
                before, at = self._report.received, now
                self._report.streams = self._streams.count
                self._spawn()

    def _spawn(self) -> None:
        with self._lock:
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            wanted = min(self._streams.count - self._running, len(self._work))
            for _ in range(max(0, wanted)):
                self._running += 1
                thread = threading.Thread(target=self._run_thread, daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run_thread(self) -> None:
        buffer = memoryview(bytearray(BUFFER))
        try:
            while (piece := self._next()) is not None:
                self._bring(*piece, buffer)
        except _Stop:
            pass
        except BaseException as failure:
            with self._lock:
                self._failure = self._failure or failure
        finally:
            with self._lock:
                self._running -= 1

    def _next(self) -> tuple[_Target, list[int]] | None:
        with self._lock:
            if self._failure is not None or self._running > self._streams.count:
                return None
            while self._work:
                target, group = self._work.popleft()
                if target.file.path not in self._report.bad:
                    return target, group
            return None

    def _bring(self, target: _Target, group: list[int], buffer: memoryview) -> None:
        try:
            _Piece(self, target, group, buffer).run()
        except (Absent, NotWon, CacheCorrupt) as wrong:
            said = wrong if isinstance(wrong, CacheCorrupt) else CacheCorrupt(f"{target.file.path} is not in the cache, though its manifest is.")
            with self._lock:
                self._report.bad.setdefault(target.file.path, said)
        except OSError as failure:
            raise disk_error(failure, f"{target.file.path} needs {human_bytes(target.file.size)}") from failure

    # what pieces tell

    @property
    def store(self) -> ObjectStore:
        return self._store

    @property
    def verify(self) -> bool:
        return self._verify

    def stopping(self) -> bool:
        return self._failure is not None

    def count(self, received: int = 0, done: int = 0, slowed: int = 0, refetched: int = 0) -> None:
        with self._lock:
            self._report.received += received
            self._report.done += done
            self._report.slowed += slowed
            self._report.refetched += refetched


class _Piece:
    """Parts of one file that follow each other, over one request while nothing goes wrong."""

    def __init__(self, all_: _Download, target: _Target, group: list[int], buffer: memoryview) -> None:
        self._all, self._target, self._buffer = all_, target, buffer
        self._left = deque(group)
        self._offset = 0
        """Bytes of the first part of those left that have arrived."""
        self._digest = hashlib.sha256()
        self._failures = 0
        self._wrong: set[int] = set()

    def run(self) -> None:
        while self._left:
            before = (len(self._left), self._offset)
            try:
                self._stream()
            except ObjectStoreUnavailable as passing:
                self._failures = 1 if (len(self._left), self._offset) != before else self._failures + 1
                if self._failures >= TRIES:
                    raise
                self._all.count(slowed=int(isinstance(passing, SlowDown)))
                self._pause(passing)

    def _pause(self, passing: DedicatedError) -> None:
        longest = min(PAUSE_FIRST_S * 2**self._failures, PAUSE_LONGEST_S)
        end = time.monotonic() + random.uniform(longest / 2, longest)
        while time.monotonic() < end:
            if self._all.stopping():
                raise _Stop
            time.sleep(0.05)

    def _stream(self) -> None:
        """One request for all that is left."""
        file = self._target.file
        first = file.span(self._left[0])[0] + self._offset
        last_first, last_length = file.span(self._left[-1])
        body = self._all.store.span(self._target.key, first, last_first + last_length - first, if_match=self._target.etag)
        try:
            with translated(self._all.store.where):
                self._read(body.readinto)
        finally:
            body.close()

    def _read(self, readinto: Callable[[memoryview], int]) -> None:
        file, got = self._target.file, 0
        while self._left:
            if self._all.stopping():
                raise _Stop
            index = self._left[0]
            first, length = file.span(index)
            want = min(BUFFER, length - self._offset)
            count = readinto(self._buffer[:want])
            if not count:
                raise ObjectStoreUnavailable(f"The object store ended {file.path} after {human_bytes(first + self._offset)}.")
            self._take(self._buffer[:count], first)
            got += count
            if self._offset == length:
                self._all.count(received=got)
                got = 0
                if not self._part_is_over(index, length):
                    return

    def _take(self, arrived: memoryview, first: int) -> None:
        if self._all.verify:
            self._digest.update(arrived)
        written = 0
        while written < len(arrived):
            written += os.pwrite(self._target.handle, arrived[written:], first + self._offset + written)
        self._offset += len(arrived)

    def _part_is_over(self, index: int, length: int) -> bool:
        """Whether the part is right, and the stream may go on. A wrong one is asked for once more, on another connection."""
        right = not self._all.verify or self._digest.hexdigest() == self._target.file.parts[index]
        self._digest, self._offset = hashlib.sha256(), 0
        if right:
            self._left.popleft()
            self._target.note(index)
            self._all.count(done=length, refetched=int(index in self._wrong))
            return True
        if index in self._wrong:
            raise CacheCorrupt(f"{self._target.file.path} in the cache is not what its digest says, at part {index + 1}.")
        self._wrong.add(index)
        return False


def forget_unfinished(folder: Path) -> None:
    """Remove what unfinished downloads left: another source begins anew, and needs the room."""
    for ending in (UNFINISHED, NOTED):
        for path in list(folder.rglob(f"*{ending}")):
            path.unlink(missing_ok=True)


def _runs(parts: Sequence[int], most: int) -> list[list[int]]:
    """Parts that follow each other, so many at once."""
    found: list[list[int]] = []
    for index in parts:
        if found and found[-1][-1] == index - 1 and len(found[-1]) < most:
            found[-1].append(index)
        else:
            found.append([index])
    return found
