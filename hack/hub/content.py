"""Sending the bytes of a file: whole or a range of it, and damaged where a fault says so."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterable

from aiohttp import web

from hack.hub.faults import Damage, Fault, damage_to
from hack.hub.repository import File

CHUNK = 256 * 1024
CLOSING = web.AppKey("closing", asyncio.Event)
"""Set when the server stops: what waits, waits no longer."""
LOOK_S = 0.05
"""How often a wait looks whether the caller is still there."""


async def pause(request: web.Request, seconds: float = math.inf) -> None:
    """Wait, but no longer than caller and server are there."""
    closing = request.app[CLOSING]
    end = time.monotonic() + seconds
    while request.transport is not None and not closing.is_set() and (left := end - time.monotonic()) > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(closing.wait(), min(left, LOOK_S))


def hang_up(request: web.Request) -> None:
    """Break the connection off."""
    if request.transport is not None:
        request.transport.abort()


async def send(request: web.Request, file: File, headers: dict[str, str], faults: Iterable[Fault]) -> web.StreamResponse:
    """The file, or the asked range of it."""
    size = file.size
    try:
        start, end = _range(request.headers.get("Range"), size)
        damage = damage_to(request, faults, end - start) if request.method == "GET" else Damage()
        size = max(0, size - damage.short_by_bytes)
        start, end = _range(request.headers.get("Range"), size)
    except ValueError:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
    partial = request.headers.get("Range") is not None
    headers = {**headers, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
    if partial:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_length = end - start
    await response.prepare(request)
    if request.method != "HEAD":
        await _stream(request, response, file, (start, end), damage)
    return response


async def _stream(request: web.Request, response: web.StreamResponse, file: File, span: tuple[int, int], damage: Damage) -> None:
    start, end = span
    stop = end if damage.cut_after_bytes is None else start + damage.cut_after_bytes
    chunk_size = min(CHUNK, max(1, int(damage.bytes_per_second * LOOK_S))) if damage.bytes_per_second else CHUNK
    with file.at.open("rb") as content:
        content.seek(start)
        while start < min(stop, end):
            chunk = bytearray(content.read(min(chunk_size, stop - start, end - start)))
            start += len(chunk)
            if damage.wrong_content and start == file.size:
                chunk[-1] ^= 0xFF
            await response.write(chunk)
            if damage.bytes_per_second:
                await pause(request, len(chunk) / damage.bytes_per_second)
    if stop < end:
        hang_up(request)
    else:
        await response.write_eof()


def _range(header: str | None, size: int) -> tuple[int, int]:
    """First and one past the last byte of a single range. Raises ValueError where it cannot be satisfied."""
    if header is None:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    start, end = int(first), min(int(last) + 1 if last else size, size)
    if start >= size or start >= end:
        raise ValueError(header)
    return start, end
