"""
What the gateway costs beside a plain nginx and a plain Go reverse proxy, in one run on the same engine.

    .venv/bin/python -m hack.bench.gateway [--runs 5] [--small] [--streams 5000] [--scale]

CPU per SSE chunk and per short call (of all processes of each), and the latency that each adds at 500 calls a second. They take turns in each run, so
that what else the machine does meets them alike; figures are medians of the runs. `--streams` measures memory with that many idle streams, `--scale`
start and memory with 10,000 endpoints and 100,000 keys. nginx is left out where there is none (NGINX names a program). Loopback only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from hack.bench import machine
from hack.cluster.go import go_program
from hack.cluster.processes import free_port, start, wait_until
from hack.images.build import stub_program
from hack.tools import REPO, run, say
from tests.support.fakeapi import FakeApi, serving_api
from tests.support.gateway import Gateway, a_gateway, a_key, a_secret, a_slice, an_endpoint, id_of

SECRET = a_secret(1)
RATE = 500
NGINX = """
worker_processes 2; daemon off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;
  scgi_temp_path {folder}/s;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 512; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; proxy_read_timeout 600s; }}
  }}
}}
"""


@dataclass(frozen=True)
class Way:
    """One way to the engines: where calls go, and whose CPU counts."""

    name: str
    quick: str
    slow: str
    pids: tuple[int, ...]

    def cpu_s(self) -> float:
        """CPU that its processes used so far."""
        return sum(machine.used_by(pid).cpu_s for pid in self.pids)


@dataclass(frozen=True)
class Sizes:
    """How much is asked in one run."""

    calls: int
    streams: int
    chunks: int
    open_s: float


WHOLE, SMALL = Sizes(10_000, 400, 300, 10.0), Sizes(1500, 100, 100, 2.0)


def traffic_program() -> Path:
    """The caller and the Go proxy, built anew where their source changed."""
    source = REPO / "hack" / "bench" / "traffic"
    program = Path(tempfile.gettempdir()) / f"traffic-{int((source / 'main.go').stat().st_mtime)}"
    if not program.exists():
        run("building the bench's traffic", [go_program(), "build", "-o", program, "."], cwd=source, env={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"})
    return program


def load(url: str, model: str, calls: int, parallel: int, rate: float = 0.0, **body: object) -> dict[str, float]:
    """Call, and answer what the caller counted; no call may fail."""
    text = json.dumps({"model": model, "messages": [], **body})
    command = [str(traffic_program()), "load", "-url", url, "-key", SECRET, "-body", text, "-n", str(calls), "-c", str(parallel), "-rate", str(rate)]
    found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["errors"] == 0, found
    return found


@contextmanager
def engine(model: str, tokens_per_second: int, tokens: int) -> Iterator[int]:
    """A stub engine; answers its port."""
    port = free_port()
    flags = [f"--port={port}", f"--served-model-name={model}", f"--tokens-per-second={tokens_per_second}", f"--tokens={tokens}"]
    process = subprocess.Popen([stub_program(), *flags], stdout=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextmanager
def nginx(port: int, folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """nginx before one engine."""
    own = free_port()
    folder.mkdir()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, engine=port, port=own))
    program = os.environ.get("NGINX") or which("nginx") or ""
    process = start("nginx", [program, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "error.log"], folder / "log", die_with_us=True)
    wait_until(lambda: len(children(process.pid)) == 2, 5)
    try:
        yield f"http://127.0.0.1:{own}/v1/chat/completions", (process.pid, *children(process.pid))
    finally:
        process.terminate()
        process.wait()


@contextmanager
def go_proxy(port: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """httputil.ReverseProxy before one engine."""
    own = free_port()
    process = subprocess.Popen([traffic_program(), "proxy", f"127.0.0.1:{own}", f"http://127.0.0.1:{port}"])
    time.sleep(0.3)
    try:
        yield f"http://127.0.0.1:{own}/v1/chat/completions", (process.pid,)
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> tuple[int, ...]:
    """Processes that a process started."""
    return tuple(int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def gateway_pids(gateway: Gateway) -> tuple[int, ...]:
    """The decision service, and Envoy without the process that only started it."""
    assert gateway.decisions and gateway.envoy
    return (gateway.decisions.pid, *children(gateway.envoy.pid))


@contextmanager
def ways(api: FakeApi, gateway: Gateway, folder: Path) -> Iterator[list[tuple[Way, str, str]]]:
    """Every way, with the model names of the quick and the slow engine."""
    quick, slow = an_endpoint("quick"), an_endpoint("slow")
    with ExitStack() as stack:
        ports = [stack.enter_context(engine(id_of(quick), 100_000, 1)), stack.enter_context(engine(id_of(slow), 500, 300))]
        slices = [a_slice(endpoint, "127.0.0.1", port=port) for endpoint, port in zip((quick, slow), ports, strict=True)]
        api.put(quick, slow, *slices, a_key(SECRET))
        url = f"http://127.0.0.1:{gateway.port}/v1/chat/completions"
        found = [Way("gateway", url, url, gateway_pids(gateway))]
        proxies = [[stack.enter_context(go_proxy(port)) for port in ports]]
        names = ["Go proxy"]
        if os.environ.get("NGINX") or which("nginx"):
            proxies.append([stack.enter_context(nginx(port, folder / f"nginx-{port}")) for port in ports])
            names.append("nginx")
        found += [Way(name, a[0], b[0], (*a[1], *b[1])) for name, (a, b) in zip(names, proxies, strict=True)]
        direct = [f"http://127.0.0.1:{port}/v1/chat/completions" for port in ports]
        found.append(Way("direct", direct[0], direct[1], ()))
        time.sleep(1)
        yield [(way, id_of(quick), id_of(slow)) for way in found]


def measured(way: Way, quick: str, slow: str, sizes: Sizes) -> dict[str, float]:
    """One turn of one way."""
    load(way.quick, quick, 200, 50)
    before = way.cpu_s()
    short = load(way.quick, quick, sizes.calls, 50)
    between = way.cpu_s()
    stream = load(way.slow, slow, sizes.streams, 100, stream=True, max_tokens=sizes.chunks)
    after = way.cpu_s()
    paced = load(way.quick, quick, int(sizes.open_s * RATE), 200, RATE)
    return {
        "us_per_call": (between - before) / short["calls"] * 1e6,
        "us_per_chunk": (after - between) / stream["chunks"] * 1e6,
        "calls_per_s": short["calls"] / short["seconds"],
        "p50_ms": paced["p50_ms"],
        "p99_ms": paced["p99_ms"],
    }


def side_by_side(runs: int, sizes: Sizes) -> None:
    """Every way in turn, several times; medians at the end."""
    figures: dict[str, list[dict[str, float]]] = {}
    with (
        serving_api() as api,
        a_gateway(api.url) as gateway,
        tempfile.TemporaryDirectory(prefix="ngx") as folder,
        ways(api, gateway, Path(folder)) as found,
    ):
        for number in range(runs):
            for way, quick, slow in found[number % len(found) :] + found[: number % len(found)]:
                figure = measured(way, quick, slow, sizes)
                figures.setdefault(way.name, []).append(figure)
                say(f"run {number + 1}: {way.name:9} " + "  ".join(f"{name} {value:8.1f}" for name, value in figure.items()))
    print(f"\n{machine.described()}; load {os.getloadavg()[0]:.1f}; medians of {runs} runs (smallest-largest)\n")
    for name, rows in figures.items():
        columns = {column: [row[column] for row in rows] for column in rows[0]}
        print(f"{name:9} " + "  ".join(f"{column} {statistics.median(v):.1f} ({min(v):.1f}-{max(v):.1f})" for column, v in columns.items()))


def rss_mib(pids: tuple[int, ...]) -> list[float]:
    """Memory of processes."""
    return [round(machine.used_by(pid).rss_bytes / 2**20, 1) for pid in pids]


def idle_streams(count: int) -> None:
    """Memory of the gateway while this many streams are open and say nothing."""
    with serving_api() as api, a_gateway(api.url) as gateway, engine("x", 1, 1) as _:
        asyncio.run(_held_open(api, gateway, count))


async def _held_open(api: FakeApi, gateway: Gateway, count: int) -> None:
    async def says_hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n: hi\n\r\n")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(says_hello, "127.0.0.1", 0, backlog=4096)
    endpoint = an_endpoint("idle")
    await asyncio.to_thread(api.put, endpoint, a_slice(endpoint, "127.0.0.1", port=server.sockets[0].getsockname()[1]), a_key(SECRET))
    await asyncio.sleep(1)
    before = rss_mib(gateway_pids(gateway))
    head = f"POST /api/d/{id_of(endpoint)}/v1/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 0\r\n\r\n".encode()
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head)
        assert b"200" in await reader.readuntil(b": hi\n")
        writers.append(writer)
    await asyncio.sleep(6)
    after = rss_mib(gateway_pids(gateway))
    print(f"{count} idle streams: decisions {before[0]} -> {after[0]} MiB, Envoy {before[1]} -> {after[1]} MiB, together {sum(after):.0f} MiB")
    for writer in writers:
        writer.close()
    server.close()
    await asyncio.sleep(2)  # until the engine's side has seen it


def scale() -> None:
    """Start and memory of the decision service with many endpoints and keys."""
    with serving_api() as api:
        say("making 10,000 endpoints and 100,000 keys")
        endpoints = [an_endpoint(f"e-{number}", owner=f"owner-{number % 1000}") for number in range(10_000)]
        keys = (a_key(a_secret(number), f"owner-{number % 1000}") for number in range(100_000))
        api.put(*endpoints, *(a_slice(endpoint, f"127.1.{n // 250}.{n % 250}", port=8000) for n, endpoint in enumerate(endpoints[:500])), *keys)
        with a_gateway(api.url) as gateway:
            gateway.kill_decisions()
            began = time.monotonic()
            gateway.start_decisions()
            lasted_s = time.monotonic() - began
            print(f"10,000 endpoints, 100,000 keys: ready after {lasted_s:.1f} s, decisions {rss_mib(gateway_pids(gateway))[0]} MiB")


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m hack.bench.gateway")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a tenth of the traffic")
    parser.add_argument("--streams", type=int, default=0, help="measure memory with this many idle streams instead")
    parser.add_argument("--scale", action="store_true", help="measure start and memory with many endpoints and keys instead")
    asked = parser.parse_args()
    print(machine.described())
    if asked.streams:
        idle_streams(asked.streams)
    elif asked.scale:
        scale()
    else:
        side_by_side(asked.runs, SMALL if asked.small else WHOLE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
