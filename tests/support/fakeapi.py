"""An API server in memory: lists, watches, merge patches. For tests that change a cluster many times and need no admission."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from dedicated.adapters.kinds import BY_NAME, Kind

Manifest = dict[str, Any]


def merged(old: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    found = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        else:
            found[key] = merged(found.get(key), value)
    return found


@dataclass
class FakeApi:
    """Objects by kind, namespace and name, and every event there was."""

    url: str = ""
    objects: dict[tuple[str, str, str], Manifest] = field(default_factory=dict)
    events: list[tuple[int, str, str, Manifest]] = field(default_factory=list)
    writes: list[tuple[str, str, Any]] = field(default_factory=list)
    """Those that were not refused."""
    logs: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """Logs by pod, container, and now or previous."""
    broken: bool = False
    """Every request is answered 503."""
    refusals: list[int] = field(default_factory=list)
    """Statuses by which the next writes are answered."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def put(self, *manifests: Manifest) -> None:
        """Create or replace objects."""
        asyncio.run_coroutine_threadsafe(self._put(manifests), self.loop).result(20)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Manifest) -> None:
        """Change an object."""
        self.put(merged(self.objects[kind.name, namespace, name], patch))

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete an object."""
        asyncio.run_coroutine_threadsafe(self._delete((kind.name, namespace, name)), self.loop).result(20)

    def get(self, kind: Kind, namespace: str, name: str) -> Manifest | None:
        """One object."""
        return self.objects.get((kind.name, namespace, name))

    async def _put(self, manifests: tuple[Manifest, ...]) -> None:
        for manifest in manifests:
            meta = manifest["metadata"]
            key = (manifest["kind"], meta.get("namespace", ""), meta["name"])
            version = next(self._versions)
            obj = {**manifest, "metadata": {"uid": f"uid-{key[0]}-{key[1]}-{key[2]}", **meta, "resourceVersion": str(version)}}
            kind = "MODIFIED" if key in self.objects else "ADDED"
            self.objects[key] = obj
            self.events.append((version, kind, key[0], obj))
        async with self._changed:
            self._changed.notify_all()

    async def _delete(self, key: tuple[str, str, str]) -> None:
        version = next(self._versions)
        self.events.append((version, "DELETED", key[0], self.objects.pop(key)))
        async with self._changed:
            self._changed.notify_all()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        if self.broken:
            return web.json_response({"message": "made by a test"}, status=503)
        parts = request.path.strip("/").split("/")
        parts = parts[3:] if parts[0] == "apis" else parts[2:]
        namespace = parts[1] if parts[0] == "namespaces" else ""
        plural, *rest = parts[2:] if namespace else parts
        kind = next(kind for kind in BY_NAME.values() if kind.plural == plural)
        if request.method != "GET":
            return await self._write(request, kind, namespace, rest)
        if request.query.get("watch") == "true":
            return await self._watch(request, kind, namespace)
        if rest:
            return self._one(request, kind, namespace, rest)
        items = [obj for (name, where, _), obj in self.objects.items() if name == kind.name and namespace in ("", where)]
        return web.json_response({"metadata": {"resourceVersion": str(next(self._versions))}, "items": items})

    def _one(self, request: web.Request, kind: Kind, namespace: str, rest: list[str]) -> web.Response:
        """One object, or a pod's log."""
        if rest[1:] == ["log"]:
            run = "previous" if request.query.get("previous") == "true" else "now"
            text = self.logs.get((rest[0], request.query["container"], run))
            return web.Response(text=text) if text is not None else web.json_response({"message": "no log"}, status=400)
        found = self.objects.get((kind.name, namespace, rest[0]))
        return web.json_response(found) if found else web.json_response({"message": rest[0]}, status=404)

    async def _write(self, request: web.Request, kind: Kind, namespace: str, rest: list[str]) -> web.Response:
        body = await request.json()
        if self.refusals:
            return web.json_response({"message": "made by a test"}, status=self.refusals.pop(0))
        name = rest[0] if rest else body["metadata"]["name"]
        known = self.objects.get((kind.name, namespace, name))
        if (known is None) != (request.method == "POST"):
            return web.json_response({"message": name}, status=409 if known else 404)
        self.writes.append((request.method, request.path, body))
        if request.method == "POST":
            await self._put((body,))
            return web.json_response(body)
        await self._put((merged(known, body),))
        return web.json_response(self.objects[kind.name, namespace, name])

    async def _watch(self, request: web.Request, kind: Kind, namespace: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        since = int(request.query["resourceVersion"])
        while True:
            new = [event for event in self.events if event[0] > since]
            for version, event, name, obj in new:
                since = version
                if name == kind.name and namespace in ("", obj["metadata"].get("namespace", "")):
                    await response.write(json.dumps({"type": event, "object": obj}).encode() + b"\n")
            async with self._changed:
                if not (self.events and self.events[-1][0] > since):
                    await self._changed.wait()


@contextmanager
def serving_api() -> Iterator[FakeApi]:
    """A running one, in a thread of its own."""
    api = FakeApi()
    runner = api.loop.run_until_complete(_started(api))
    thread = threading.Thread(target=api.loop.run_forever, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), api.loop).result(20)
        api.loop.call_soon_threadsafe(api.loop.stop)
        thread.join(10)


async def _started(api: FakeApi) -> web.AppRunner:
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    return runner
