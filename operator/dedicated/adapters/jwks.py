"""Where the keys of sessions come from: a file that is mounted, or a URL of the issuer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import orjson

from dedicated.api.errors import Transient

TIMEOUT_S = 10.0
MAX_BYTES = 1 << 20


class KeySetUnavailable(Transient):
    """The key set cannot be read now."""


class KeySetSource:
    """Reads one JWKS, by file or URL."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._read: bytes | None = None

    async def fetch(self) -> dict[str, Any] | None:
        """
        The key set where it changed since the last call, else None.

        Raises:
            KeySetUnavailable: It cannot be read, or is no JSON object.
        """
        is_url = self._where.startswith(("http://", "https://"))
        data = await self._download() if is_url else self._from_file()
        if data == self._read:
            return None
        try:
            found = orjson.loads(data)
        except ValueError as wrong:
            raise KeySetUnavailable(f"the key set {self._where} is no JSON") from wrong
        if not isinstance(found, dict):
            raise KeySetUnavailable(f"the key set {self._where} is no JSON object")
        self._read = data
        return found

    async def _download(self) -> bytes:
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as client, client.stream("GET", self._where) as answer:
                answer.raise_for_status()
                data = b""
                async for piece in answer.aiter_bytes():
                    data += piece
                    if len(data) > MAX_BYTES:
                        raise KeySetUnavailable(f"the key set {self._where} is larger than {MAX_BYTES} bytes")
                return data
        except httpx.HTTPError as lost:
            raise KeySetUnavailable(f"the key set {self._where} cannot be fetched: {type(lost).__name__}") from lost

    def _from_file(self) -> bytes:
        try:
            return Path(self._where).read_bytes()[: MAX_BYTES + 1]
        except OSError as wrong:
            raise KeySetUnavailable(f"the key set {self._where} cannot be read: {wrong.strerror}") from wrong
