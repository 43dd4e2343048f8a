"""
A proxy before the API server: it counts what a client writes, does something terrible at a chosen write, and shows every fault that an API server
and the network before it can show.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from hack.cluster.controlplane import ControlPlane

SESSION = web.AppKey("session", aiohttp.ClientSession)
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
DROPPED = {"Host", "Content-Length", "Transfer-Encoding", "Content-Encoding", "Connection"}


@dataclass
class Fault:
    """An answer in place of the API server's, for the next `times` requests that match."""

    status: int
    method: str
    path: str
    times: int
    headers: Mapping[str, str]
    after: bool
    """Whether the request takes effect all the same, and only its answer is lost."""
    shown: int = 0

    def matches(self, request: web.Request) -> bool:
        """Whether this request gets it."""
        return self.shown < self.times and bool(re.search(self.method, request.method) and re.search(self.path, request.path_qs))

    def answer(self) -> web.Response:
        """As the API server words it."""
        text = {409: "the object has been modified", 410: "The provided continue parameter is too old", 422: "is invalid: made so by a test"}
        status = {"kind": "Status", "apiVersion": "v1", "code": self.status, "message": text.get(self.status, "a fault made by a test")}
        return web.json_response(status, status=self.status, headers=self.headers)


@dataclass(eq=False)
class Watch:
    """One open watch."""

    response: web.StreamResponse
    over: asyncio.Event
    frozen: bool = False


@dataclass
class Proxy:
    """
    Passes everything on. Writes but for leases are recorded; at the `fatal`-th one `at_fatal` is called, before or after it takes effect.

    `latency_s` delays every request but those of the lease; `page_size` makes lists come in pages; `watches_refused` answers new watches 503, and
    `versions_expired` tells them that their version is gone, as after a compaction.
    """

    plane: ControlPlane
    url: str = ""
    writes: list[tuple[str, str]] = field(default_factory=list)
    calls: int = 0
    fatal: int | None = None
    after: bool = False
    at_fatal: Callable[[], None] = lambda: None
    latency_s: float = 0.0
    page_size: int | None = None
    watches_refused: bool = False
    versions_expired: bool = False
    faults: list[Fault] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _watches: set[Watch] = field(default_factory=set)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def reset(self, fatal: int | None = None, after: bool = False) -> None:
        """Begin counting anew."""
        self.writes, self.calls, self.fatal, self.after = [], 0, fatal, after

    def answer(
        self, status: int, *, method: str = "", path: str = "", times: int = 1, headers: Mapping[str, str] | None = None, after: bool = False
    ) -> Fault:
        """Answer the next requests that match (regular expressions) with this status."""
        fault = Fault(status, method, path, times, headers or {}, after)
        self.faults.append(fault)
        return fault

    def drop_watches(self) -> int:
        """Cut every open watch; answers how many there were."""
        return self._at_watches(lambda watch: watch.over.set())

    def freeze_watches(self) -> int:
        """No open watch tells anything any more, though its connection stays."""
        return self._at_watches(lambda watch: setattr(watch, "frozen", True))

    def end_watches(self, code: int) -> int:
        """Every open watch ends with an ERROR event."""
        return self._at_watches(lambda watch: self._tasks.append(self.loop.create_task(_end(watch, code))))

    def heal(self) -> None:
        """From now on everything passes."""
        self.latency_s, self.page_size, self.watches_refused, self.versions_expired, self.faults = 0.0, None, False, False, []

    def _at_watches(self, do: Callable[[Watch], object]) -> int:
        async def at_all() -> int:
            open_ones = list(self._watches)
            for watch in open_ones:
                do(watch)
            return len(open_ones)

        return asyncio.run_coroutine_threadsafe(at_all(), self.loop).result(10)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        watch = request.query.get("watch") in ("true", "1")
        counted = request.method in WRITES and "/leases" not in request.path
        if counted:
            self.writes.append((request.method, request.path))
        self.calls += 0 if watch or "/leases" in request.path else 1
        if self.latency_s and not watch and "/leases" not in request.path:
            await asyncio.sleep(self.latency_s)
        if watch:
            return await self._watch(request)
        if counted and self.fatal == len(self.writes):
            if self.after:
                await self._ask(request)
            self.at_fatal()
            return web.Response(status=502)
        if fault := next((fault for fault in self.faults if fault.matches(request)), None):
            fault.shown += 1
            if fault.after:
                await self._ask(request)
            return fault.answer()
        return await self._ask(request)

    async def _ask(self, request: web.Request) -> web.Response:
        async with self._passed_on(request) as answer:
            headers = {k: v for k, v in answer.headers.items() if k not in DROPPED}
            return web.Response(status=answer.status, headers=headers, body=await answer.read())

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if self.watches_refused:
            return web.Response(status=503)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if self.versions_expired:
            await response.prepare(request)
            await response.write(_error_event(410))
            return response
        async with self._passed_on(request) as answer:
            response.set_status(answer.status)
            await response.prepare(request)
            watch = Watch(response, asyncio.Event())
            self._watches.add(watch)
            passing = asyncio.create_task(_pass(answer, watch))
            over = asyncio.create_task(watch.over.wait())
            try:
                await asyncio.wait({passing, over}, return_when=asyncio.FIRST_COMPLETED)
                if watch.over.is_set() and request.transport:
                    request.transport.abort()
            finally:
                self._watches.discard(watch)
                passing.cancel()
                over.cancel()
        return response

    def _passed_on(self, request: web.Request) -> aiohttp.client._RequestContextManager:
        headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
        url = self.plane.server + request.path_qs
        if self.page_size and request.method == "GET":
            url = re.sub(r"limit=\d+", f"limit={self.page_size}", url)
        return request.app[SESSION].request(request.method, url, data=request.content if request.can_read_body else None, headers=headers)


async def _pass(answer: aiohttp.ClientResponse, watch: Watch) -> None:
    async for line in answer.content:
        if not watch.frozen:
            await watch.response.write(line)


async def _end(watch: Watch, code: int) -> None:
    await watch.response.write(_error_event(code))
    watch.over.set()


def _error_event(code: int) -> bytes:
    reason = {410: "Expired", 500: "InternalError"}.get(code, "Unknown")
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": "made by a test"}
    return json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"


@contextmanager
def proxied(plane: ControlPlane) -> Iterator[Proxy]:
    """A running proxy, in a thread of its own; it speaks to the API server as administrator."""
    proxy = Proxy(plane)
    loop = proxy.loop
    context = ssl.create_default_context(cafile=str(plane.pki.ca.cert))
    context.load_cert_chain(plane.admin.cert, plane.admin.key)

    async def start() -> web.AppRunner:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app[SESSION] = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            read_bufsize=8 * 1024 * 1024,
        )
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_stop(runner), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


async def _stop(runner: web.AppRunner) -> None:
    await runner.app[SESSION].close()
    await runner.shutdown()
    await asyncio.wait_for(runner.cleanup(), 15)
