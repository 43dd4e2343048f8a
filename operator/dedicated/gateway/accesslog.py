"""Follows Envoy's access log: a file that both share, cut to nothing whenever it was read to its end and has grown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import Counter

from dedicated.gateway.ledger import NO_CONNECTION, Ledger
from dedicated.telemetry import metrics

EVERY_S = 0.25
CUT_BYTES = 8 << 20
READ_BYTES = 1 << 20
END = "DownstreamEnd"
BROKEN = {"UC", "UF", "UT", "URX", "DC", "SI", "UPE", "DPE", "LR", "UR", "UH", "UO", "NC", "OM"}
"""Response flags of calls that ended before their answer was whole (envoyproxy.io, access log, RESPONSE_FLAGS)."""

RECEIVED, SENT = (metrics.GATEWAY_BYTES.labels(direction) for direction in ("received", "sent"))


class AccessLog:
    """Reads the log from where it was left; what was there before the start renews requests and counts nothing."""

    def __init__(self, path: Path, ledger: Ledger, failed: Callable[[str], None] = lambda _address: None) -> None:
        self._path, self._ledger, self._failed = path, ledger, failed
        self._at = 0
        self._rest = b""
        self._counts_from = self._size()

    async def run(self) -> None:
        """Follow it, for ever."""
        while True:
            self.read()
            await asyncio.sleep(EVERY_S)

    def read(self) -> None:
        """Take in what is new."""
        size = self._size()
        if size < self._at:  # a new file
            self._at, self._rest, self._counts_from = 0, b"", 0
        if size == self._at:
            return
        with self._path.open("rb+") as file:
            file.seek(self._at)
            while piece := file.read(READ_BYTES):
                self._take(piece)
            if self._at > CUT_BYTES:
                file.truncate(0)
                self._at, self._counts_from = 0, 0

    def _size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _take(self, piece: bytes) -> None:
        counts = self._at >= self._counts_from
        self._at += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            try:
                entry = orjson.loads(line)
            except ValueError:  # a line that was cut off
                continue
            self._enter(entry, counts)

    def _enter(self, entry: dict[str, Any], counts: bool) -> None:
        request, endpoint, address = entry.get("id"), entry.get("endpoint"), entry.get("address")
        ended = entry.get("type") == END
        if request and ended and not address:
            self._ledger.over(request)
        elif request and endpoint and address:
            now = time.monotonic()
            if ended:
                flags = entry.get("flags") or ""
                self._ledger.ended(request, endpoint, address, flags, now)
                if NO_CONNECTION in flags.split(","):
                    self._failed(address)
            else:
                self._ledger.began(request, endpoint, address, now)
        if ended and counts:
            _count(entry, endpoint or "")


@lru_cache(1024)
def _requests(endpoint: str, code: str) -> Counter:
    """Found once: looking a counter up costs more than counting."""
    return metrics.GATEWAY_REQUESTS.labels(endpoint, code)


def _count(entry: dict[str, Any], endpoint: str) -> None:
    _requests(endpoint, str(entry.get("code") or 0)).inc()
    RECEIVED.inc(entry.get("received") or 0)
    SENT.inc(entry.get("sent") or 0)
    first_ms = entry.get("first_byte_ms")
    if endpoint and isinstance(first_ms, int | float):
        metrics.GATEWAY_FIRST_BYTE_SECONDS.observe(first_ms / 1000)
    for flag in (entry.get("flags") or "").split(","):
        if endpoint and flag in BROKEN:
            metrics.GATEWAY_BROKEN.labels(flag).inc()
