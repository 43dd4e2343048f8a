"""
HTTP/1.1 as Envoy speaks it in its checks, on a socket that only Envoy has: one request at a time on a connection, each with its length.

A general server costs three times what a decision does; this one parses what Envoy wrote, no other. What it cannot read closes the connection, which
Envoy takes for a failed check: the call is refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import cast

from dedicated.gateway.checks import Answer, Check

MAX_HEAD = 256 * 1024
"""Bytes of a request's head; Envoy itself takes 60 KiB from a caller."""
REASONS = {200: "OK", 425: "Too Early"}
_CONTROL = re.compile("[\x00-\x1f\x7f]")
Answers = Callable[[Check], Answer | Coroutine[None, None, Answer]]


class Connection(asyncio.Protocol):
    """One connection of Envoy's. A check whose caller left is cancelled: Envoy closes the connection then."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        """What came of a head."""
        self._head: Check | None = None
        self._parts: list[bytes] = []
        """What came of a body; so many bytes of it are missing."""
        self._missing = 0
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Envoy connected."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Envoy left, or we closed."""
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self._head is None:
            data = self._rest + data
            end = data.find(b"\r\n\r\n")
            if end < 0 and len(data) <= MAX_HEAD:
                self._rest = data
                return
            try:
                self._head, self._missing = parsed(data[: max(0, end)])
            except ValueError:
                self._close()
                return
            self._rest, data = b"", data[end + 4 :]
        if data:
            self._parts.append(data)
            self._missing -= len(data)
        if self._missing <= 0:
            self._whole()

    def _whole(self) -> None:
        """The request is whole."""
        head, self._head = self._head, None
        body = b"".join(self._parts)
        self._parts.clear()
        if head is None or self._missing < 0 or self._task is not None:  # more than one request at a time: not Envoy's way
            self._close()
            return
        check = Check(head.method, head.target, head.headers, body)
        found = self._answers(check)
        if isinstance(found, Answer):
            self._write(found)
        else:
            self._task = asyncio.get_running_loop().create_task(self._later(found))

    async def _later(self, coming: Coroutine[None, None, Answer]) -> None:
        try:
            found = await coming
        finally:
            self._task = None
        self._write(found)

    def _write(self, answer: Answer) -> None:
        if self._transport is not None:
            self._transport.write(written(answer))

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def parsed(head: bytes) -> tuple[Check, int]:
    """
    A request's head, and the length of its body.

    Of headers with one name the values are joined, so two Authorizations are none that is valid.

    Raises:
        ValueError: It is not a head that Envoy writes.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.rpartition(" ")
    if version != "HTTP/1.1" or not method or not target:
        raise ValueError(f"not HTTP/1.1: {first[:80]!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if "transfer-encoding" in headers:
        raise ValueError("a length is needed")
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise ValueError(f"not a length: {length[:80]!r}")
    return Check(method, target, headers, b""), int(length)


def written(answer: Answer) -> bytes:
    """An answer's bytes. A value that came from the cluster breaks out of no line."""
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Refused')}", f"content-length: {len(answer.body)}"]
    lines += [f"{name}: {_CONTROL.sub(' ', value)}" for name, value in answer.headers.items()]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + answer.body
