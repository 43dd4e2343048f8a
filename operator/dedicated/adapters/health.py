"""Asks an engine itself whether it is healthy."""

from __future__ import annotations

import asyncio

import aiohttp

TIMEOUT_S = 1.0
"""An engine that answers more slowly is not one to send calls to yet."""
CONNECT_S = 0.3
"""An address that takes no connection by then is asked again: a pod's network may drop the first packet, and the kernel repeats it after a second."""


class Health:
    """Probes by HTTP, on a connection of their own each: an engine that starts may close what it has not begun to answer."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def healthy(self, address: str, path: str) -> bool:
        """Whether an engine answers 2xx. (address: host and port)"""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_S)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True, limit=0), trust_env=False)
        try:
            async with self._session.get(f"http://{address}{path}", allow_redirects=False) as answer:
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError, ValueError):
            return False

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()
