"""Probes and metrics over HTTP. Alive means progress: passes end, and the look at everything ends well."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], str | None]
"""Answers what is wrong, or None."""


def stuck_since(what: str, last: Callable[[], float], limit_s: float) -> Check:
    """A check that fails when something has made no progress for longer than the limit."""

    def check() -> str | None:
        idle_s = time.monotonic() - last()
        return f"{what} made no progress for {idle_s:.0f} s" if idle_s > limit_s else None

    return check


class Health:
    """Serves /livez, /readyz and /metrics."""

    def __init__(self) -> None:
        self.alive: list[Check] = []
        self.ready = False

    async def _livez(self, _request: web.Request) -> web.Response:
        wrong = [found for check in self.alive if (found := check())]
        return web.Response(status=500 if wrong else 200, text="\n".join(wrong) or "ok")

    async def _readyz(self, _request: web.Request) -> web.Response:
        return web.Response(status=200 if self.ready else 503, text="ok" if self.ready else "waiting for the lease or the first look")

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def serve(self, port: int) -> web.AppRunner:
        """Start serving; port 0 takes a free one."""
        app = web.Application()
        app.add_routes([web.get("/livez", self._livez), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", port).start()
        return runner
