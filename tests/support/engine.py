"""An engine of a test's own making: it keeps what it was sent, and answers as the test says."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Behaviour = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def model(self) -> Any:
        """The model that it asks for."""
        return json.loads(self.body)["model"]


async def echo(_request: web.Request, body: bytes) -> web.StreamResponse:
    """An answer that holds the length of what came."""
    return web.json_response({"object": "chat.completion", "bytes": len(body)})


@dataclass
class Engine:
    """Listens on one loopback address."""

    address: str
    port: int = 0
    behave: Behaviour = echo
    received: list[Received] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Paths of requests whose caller left before they were answered."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        try:
            body = await request.read()
            self.received.append(Received(request.method, request.path_qs, {k.lower(): v for k, v in request.headers.items()}, body))
            return await self.behave(request, body)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.append(request.path)
            raise

    def reset(self) -> None:
        """As new."""
        self.behave = echo
        self.received.clear()
        self.gone.clear()


@contextmanager
def serving_engine(address: str = "127.0.0.1", port: int = 0) -> Iterator[Engine]:
    """A running one, in a thread of its own."""
    engine = Engine(address)
    runner = engine.loop.run_until_complete(_started(engine, port))
    thread = threading.Thread(target=engine.loop.run_forever, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), engine.loop).result(20)
        engine.loop.call_soon_threadsafe(engine.loop.stop)
        thread.join(10)


async def _started(engine: Engine, port: int) -> web.AppRunner:
    app = web.Application(client_max_size=1 << 28)
    app.router.add_route("*", "/{path:.*}", engine.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, engine.address, port).start()
    engine.port = int(runner.addresses[0][1])
    return runner


def streams_until(ends: threading.Event, piece: bytes = b"data: x\n\n", gap_s: float = 0.05) -> Behaviour:
    """Sends a piece again and again until it is told to end."""

    async def behave(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while not ends.is_set():
            await response.write(piece)
            await asyncio.sleep(gap_s)
        return response

    return behave


def sends(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Behaviour:
    """Answers this, whatever is asked."""

    async def behave(_request: web.Request, _body: bytes) -> web.StreamResponse:
        sent = {"Content-Type": content_type, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return web.Response(status=status, body=body, headers=sent)

    return behave


def streams(*pieces: bytes, gap_s: float = 0.0, breaks: bool = False) -> Behaviour:
    """Sends pieces of an event stream, each as it is; with `breaks` the connection ends without the end of the stream."""

    async def behave(request: web.Request, _body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
            await asyncio.sleep(gap_s)
        if breaks and request.transport:
            request.transport.abort()
        return response

    return behave
