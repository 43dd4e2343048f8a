"""The decision service as a process: connect, watch, and answer Envoy as soon as everything was listed once."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from dedicated.adapters.activity import Activity
from dedicated.adapters.health import Health
from dedicated.adapters.informer import Informer
from dedicated.adapters.jwks import KeySetSource, KeySetUnavailable
from dedicated.adapters.kinds import API_KEY, ENDPOINT, ENDPOINT_SLICE, LEASE, Kind
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.records import recorded
from dedicated.api import names
from dedicated.api.endpointlog import EndpointLogSpec
from dedicated.api.errors import DedicatedError
from dedicated.gateway.access import View
from dedicated.gateway.accesslog import AccessLog
from dedicated.gateway.activity import Reporter
from dedicated.gateway.addresses import networks
from dedicated.gateway.app import App
from dedicated.gateway.checks import Checks, Deps
from dedicated.gateway.draining import Draining
from dedicated.gateway.holding import Holding
from dedicated.gateway.ledger import Ledger
from dedicated.gateway.sessions import Issuer, Sessions
from dedicated.gateway.table import Endpoint, Table
from dedicated.gateway.waitroom import Caps, WaitRoom
from dedicated.gateway.watching import Watched
from dedicated.gateway.wire import Connection
from dedicated.render.dataplane import Plane
from dedicated.render.isolation import engine_key
from dedicated.settings import GatewaySettings

BACKLOG = 4096
KEEP_ALIVE_S = 75.0
"""Above the 30 s after which Envoy closes an idle connection to us."""
MAX_HEADER = 64 * 1024
JWKS_EVERY_S = 2.0
"""For a file, and for a URL when a token named a key that is not known; a URL is read anew each JWKS_LONG_S in any case."""
JWKS_MISSED_S = 10.0
JWKS_LONG_S = 300.0
CACHED_KEYS = 4096
LAST_WORDS_S = 5.0
"""For what was seen last, when the process ends."""
log = logging.getLogger(__name__)


class CannotStart(Exception):
    """One sentence: why the gateway does not start, and what to do."""


async def run(settings: GatewaySettings) -> int:
    """
    Run the decision service until it is told to stop or a part of it ends.

    Returns:
        The exit code: 0 when told to stop, 1 when something broke.
    Raises:
        CannotStart: A setting leads nowhere.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    system_key = _system_key(settings.engine_key_file)
    kube = await KubeApi.connect(settings.kubeconfig, agent="dedicated-gateway")
    watched = Watched(Table(networks(settings.pod_cidrs)), settings.identity)
    ledger = Ledger()
    sessions = Sessions(Issuer(settings.session_issuer, settings.session_audience) if settings.session_jwks else None)
    activity = Activity(kube, settings.activity_namespace, settings.identity)
    reporter = Reporter(kube, activity, watched, ledger, settings.system_namespace, settings.renewal_s)
    access_log = AccessLog(Path(settings.plane.log), ledger, watched.table.disprove)
    health = Health()
    room = WaitRoom(Caps(settings.max_held_requests, settings.max_held_bytes))
    holding = Holding(room, watched.table, reporter, health, kube.now)
    draining = Draining(watched, ledger, reporter)
    watched.changed = _told(watched.table, holding, draining)
    informers = _informers(kube, watched, settings)
    listed = asyncio.Event()
    deps = Deps(
        table=watched.table,
        view=View(watched.table, watched.keys, sessions.subject, ledger.pick),
        ledger=ledger,
        reporter=reporter,
        holding=holding,
        engine_key=lru_cache(CACHED_KEYS)(lambda uid: engine_key(system_key, uid)),
        now=kube.now,
        listed=listed,
        recorded=lambda endpoint: _recorded(kube, endpoint),
    )
    servers = [await _serve_decisions(App(deps), settings.plane), await _serve_private(settings.port, listed)]
    checks = await _serve_checks(Checks(deps), settings.plane)
    tasks = {
        _task(stop.wait(), "stop"),
        _task(reporter.run(), "activity"),
        _task(access_log.run(), "access log"),
        _task(holding.run(), "held calls"),
        _task(draining.run(), "drains"),
        *(_task(informer.run(settings.watch_silence_s), f"watch of {informer.kind.plural}") for informer in informers),
        *([_task(_follow_jwks(sessions, settings.session_jwks), "session keys")] if settings.session_jwks else []),
    }
    ready = _task(_when_listed(informers, listed), "first list")
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, ready):
        task.cancel()
    access_log.read()
    await asyncio.wait([_task(reporter.report(), "last activity")], timeout=LAST_WORDS_S)
    checks.close()
    await asyncio.gather(*(server.cleanup() for server in servers), health.close())
    return _ended(done)


def _told(table: Table, holding: Holding, draining: Draining) -> Callable[[Kind, str], None]:
    """What a change of the cluster means for calls that are held and for drains."""

    def told(kind: Kind, uid: str) -> None:
        if kind.name == ENDPOINT_SLICE.name:
            holding.addresses_changed()
        elif kind.name == ENDPOINT.name:
            endpoint_id = names.endpoint_id(uid)
            holding.endpoint_changed(endpoint_id)
            endpoint = table.by_id(endpoint_id)
            if endpoint is not None and endpoint.drain.pods:
                draining.look(endpoint)

    return told


def _informers(kube: KubeApi, watched: Watched, settings: GatewaySettings) -> list[Informer]:
    keys = replace(API_KEY, within=settings.system_namespace)
    leases = replace(LEASE, within=settings.activity_namespace)
    return [Informer(kube, kind, watched, watched.seen, watched.gone) for kind in (ENDPOINT, ENDPOINT_SLICE, keys, leases)]


async def _recorded(kube: KubeApi, endpoint: Endpoint) -> Sequence[EndpointLogSpec]:
    """What is recorded of an endpoint; without an API server nothing."""
    try:
        return await recorded(kube, endpoint.namespace, endpoint.name, endpoint.uid)
    except DedicatedError as failure:
        log.warning("recorded logs not read", extra={"endpoint": endpoint.id, "error": str(failure)})
        return ()


async def _when_listed(informers: list[Informer], listed: asyncio.Event) -> None:
    began = time.monotonic()
    for informer in informers:
        await informer.listed.wait()
    log.info("ready", extra={"after_s": round(time.monotonic() - began, 2)})
    listed.set()
    gc.collect()
    gc.freeze()  # a hundred thousand keys need not be walked through again and again: each walk would hold up every check


async def _serve_checks(checks: Checks, plane: Plane) -> asyncio.Server:
    """On a socket that only this pod has."""
    Path(plane.run_dir).mkdir(parents=True, exist_ok=True)
    Path(plane.checks).unlink(missing_ok=True)
    return await asyncio.get_running_loop().create_unix_server(lambda: Connection(checks.answer), plane.checks, backlog=BACKLOG)


async def _serve_decisions(app: App, plane: Plane) -> web.ServerRunner:
    """On a socket that only this pod has."""
    Path(plane.run_dir).mkdir(parents=True, exist_ok=True)
    Path(plane.decisions).unlink(missing_ok=True)
    limits: dict[str, Any] = {"max_line_size": MAX_HEADER, "max_field_size": MAX_HEADER, "keepalive_timeout": KEEP_ALIVE_S, "access_log": None}
    server = web.Server(app.handle, **limits)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.UnixSite(runner, plane.decisions, backlog=BACKLOG).start()
    return runner


async def _serve_private(port: int, listed: asyncio.Event) -> web.AppRunner:
    """Probes and metrics, on a port that is not the callers'."""

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_request: web.Request) -> web.Response:
        return web.Response(status=200 if listed.is_set() else 503, text="ok" if listed.is_set() else "waiting for the first full list")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/healthz", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()
    except OSError as taken:
        raise CannotStart(f"Port {port} cannot be listened on ({taken.strerror}): set DEDICATED_PORT to a free one.") from taken
    return runner


async def _follow_jwks(sessions: Sessions, where: str) -> None:
    """Keep the keys of sessions fresh; the last good ones stay while the source does not answer."""
    source = KeySetSource(where)
    pause_s = JWKS_LONG_S if where.startswith("http") else JWKS_EVERY_S
    read_at = -JWKS_LONG_S
    while True:
        since_s = time.monotonic() - read_at
        if since_s >= pause_s or (sessions.missed and since_s >= JWKS_MISSED_S):
            read_at = time.monotonic()
            await _read_jwks(sessions, source)
        await asyncio.sleep(JWKS_EVERY_S / 2)


async def _read_jwks(sessions: Sessions, source: KeySetSource) -> None:
    try:
        key_set = await source.fetch()
        if key_set is not None:
            log.info("session keys read", extra={"keys": sessions.use(key_set)})
        sessions.missed = False
    except (KeySetUnavailable, ValueError) as wrong:
        log.warning("session keys not read", extra={"error": str(wrong)})


def _system_key(path: str) -> bytes:
    try:
        key = Path(path).read_bytes()
    except OSError as wrong:
        raise CannotStart(
            f"The key that engine keys derive from cannot be read from {path} ({wrong.strerror}): set DEDICATED_ENGINE_KEY_FILE."
        ) from wrong
    if not key:
        raise CannotStart(f"The key that engine keys derive from is empty: {path}.")
    return key


def _task(what: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(what, name=name)


def _ended(done: set[asyncio.Task[Any]]) -> int:
    if any(task.get_name() == "stop" for task in done):
        log.info("stopping as told")
        return 0
    for task in done:
        log.error("stopping: a part ended", extra={"part": task.get_name(), "error": repr(task.exception())})
    return 1
