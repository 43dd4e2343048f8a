"""
A file into a bucket, by parts that are hashed as they leave.

Theory of operation: the file is read once; each piece is hashed and sent, a few at a time. The object appears only when the whole was right: an
upload in parts is finished after its digest was compared, never before. What an earlier run has sent is kept where the server's ETag is the piece's
MD5; where it is something else (KMS) the piece is sent again. Two that upload the same content may even share one upload: the pieces are the same.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dedicated.adapters.object_store.client import ObjectStore
from dedicated.adapters.object_store.errors import Absent
from dedicated.adapters.object_store.patience import patiently
from dedicated.api.errors import DedicatedError, WeightsCorrupt
from dedicated.core.quantities import MIB
from dedicated.weights.manifest import PART_BYTES

PIECE = 16 * MIB
MOST_PIECES = 9000
"""S3 allows 10,000."""
AT_ONCE = 3


class Digests:
    """The sha256 of all that is told, and of each part of it."""

    def __init__(self, part_bytes: int = PART_BYTES) -> None:
        self._whole, self._part, self._part_bytes, self._in_part = hashlib.sha256(), hashlib.sha256(), part_bytes, 0
        self._parts: list[str] = []

    def update(self, data: bytes) -> None:
        """The next bytes."""
        view = memoryview(data)
        self._whole.update(view)
        while view:
            piece = view[: self._part_bytes - self._in_part]
            self._part.update(piece)
            self._in_part += len(piece)
            view = view[len(piece) :]
            if self._in_part == self._part_bytes:
                self._end_part()

    def _end_part(self) -> None:
        self._parts.append(self._part.hexdigest())
        self._part, self._in_part = hashlib.sha256(), 0

    def ended(self) -> tuple[str, tuple[str, ...]]:
        """Of the whole, and of each part."""
        if self._in_part:
            self._end_part()
        return self._whole.hexdigest(), tuple(self._parts)


def digests_of(path: Path, part_bytes: int = PART_BYTES) -> tuple[str, tuple[str, ...]]:
    """The sha256 of a file, and of each of its parts."""
    digests = Digests(part_bytes)
    for piece in _pieces(path, 4 * MIB):
        digests.update(piece)
    return digests.ended()


def upload(store: ObjectStore, key: str, path: Path, sha256: str, *, part_bytes: int = PART_BYTES, piece: int = PIECE) -> tuple[str, ...]:
    """
    Put a file under this key; answers the sha256 of its parts.

    Raises:
        WeightsCorrupt: The file has another content than the digest says; then there is no object.
        ObjectStoreUnavailable, ObjectStoreDenied: What was sent so far is taken up by the next call.
    """
    size = path.stat().st_size
    if size <= piece:
        content = path.read_bytes()
        digests = Digests(part_bytes)
        digests.update(content)
        parts = _as_said(digests, sha256, path)
        patiently(lambda: store.put(key, content))
        return parts
    return _in_pieces(store, key, path, sha256, part_bytes, max(piece, -(-size // MOST_PIECES // MIB) * MIB))


def _in_pieces(store: ObjectStore, key: str, path: Path, sha256: str, part_bytes: int, piece: int) -> tuple[str, ...]:
    upload_id, there = _begun(store, key)
    digests, sent, waiting = Digests(part_bytes), dict[int, str](), deque[tuple[int, Future[str]]]()
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for number, content in enumerate(_pieces(path, piece), 1):
                digests.update(content)
                if there.get(number) == (len(content), f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'):
                    sent[number] = there[number][1]
                    continue
                if len(waiting) >= AT_ONCE:
                    _take(waiting, sent)
                waiting.append((number, pool.submit(patiently, _sending(store, key, upload_id, number, content))))
            while waiting:
                _take(waiting, sent)
        try:
            parts = _as_said(digests, sha256, path)
        except WeightsCorrupt:
            store.abort_upload(key, upload_id)
            raise
        patiently(lambda: store.finish_upload(key, upload_id, sent))
    except Absent:
        # Another has finished this very upload: the same content under the same name.
        if patiently(lambda: store.head(key)).size != path.stat().st_size:
            raise
        return digests_of(path, part_bytes)[1]
    return parts


def _begun(store: ObjectStore, key: str) -> tuple[str, dict[int, tuple[int, str]]]:
    """An upload that was begun before, and what is there of it; else a new one."""
    try:
        if found := store.open_upload(key):
            return found, store.uploaded_parts(key, found)
    except (Absent, DedicatedError):
        pass  # a server that does not tell: begin anew
    return patiently(lambda: store.begin_upload(key)), {}


def _sending(store: ObjectStore, key: str, upload_id: str, number: int, content: bytes) -> Callable[[], str]:
    return lambda: store.put_part(key, upload_id, number, content)


def _take(waiting: deque[tuple[int, Future[str]]], sent: dict[int, str]) -> None:
    number, future = waiting.popleft()
    sent[number] = future.result()


def _as_said(digests: Digests, sha256: str, path: Path) -> tuple[str, ...]:
    whole, parts = digests.ended()
    if whole != sha256:
        raise WeightsCorrupt(f"{path.name} is not what its digest says, so it is not put into the cache.")
    return parts


def _pieces(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as content:
        while piece := content.read(size):
            yield piece
