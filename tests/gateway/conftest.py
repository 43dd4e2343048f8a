"""One gateway for the session, before an API server in memory; engines on loopback. Each test begins with the same small cluster."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from dedicated.adapters.kinds import API_KEY, ENDPOINT, ENDPOINT_SLICE, LEASE
from tests.support.cluster import wait_until
from tests.support.engine import Engine, serving_engine
from tests.support.fakeapi import FakeApi, serving_api
from tests.support.gateway import TEAM, Gateway, Reply, a_gateway, a_key, a_secret, a_slice, an_endpoint, id_of
from tests.support.tokens import AUDIENCE, ISSUER, Signer

HOLD_S = 90.0
SILENT_S = 60.0


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: "long_hold" in getattr(item, "fixturenames", ()))
    for item in items:
        if "gateway" in Path(item.fspath).parts and "unit" not in Path(item.fspath).parts:
            item.add_marker(pytest.mark.gateway)


ALICE, BOB = a_secret(1), a_secret(2)
ELASTIC = "Llama 3.1 8B"


@dataclass
class World:
    """The gateway and everything around it."""

    api: FakeApi
    gateway: Gateway
    engine: Engine
    other: Engine
    signer: Signer
    ids: dict[str, str]

    def becomes(self, name, state, **changes):
        """The operator says that an endpoint of Alice's stands otherwise; keyword arguments replace fields of its status."""
        known = self.api.get(ENDPOINT, TEAM, name)
        self.api.put({**known, "status": an_endpoint(name, state, **changes)["status"]})

    def written(self, what):
        """Values written to activity Leases since the test began, of the annotation that begins so."""
        annotations = [(body.get("metadata") or {}).get("annotations") or {} for _, path, body in self.api.writes if "leases" in path]
        return [value for found in annotations for name, value in found.items() if name.split("/")[1].startswith(what)]

    @property
    def leases_written(self):
        """Writes of activity and wakes since the test began."""
        return [write for write in self.api.writes if "leases" in write[1]]


def cluster(engine, other):
    """Alice's endpoints in every state, Bob's, and one in the catalogue."""
    endpoints = {state: an_endpoint(f"is-{state}", state) for state in ("up", "building", "sleeping", "waking", "failed", "paused")}
    endpoints["bobs"] = an_endpoint("bobs", owner="bob")
    endpoints["shared"] = an_endpoint("shared", owner="bob", shared_as=ELASTIC)
    slices = [a_slice(endpoints[name], where.address, port=where.port) for name, where in (("up", engine), ("bobs", other), ("shared", other))]
    return endpoints, slices


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jwks")
    signer = Signer(folder / "jwks.json")
    settings = {
        "DEDICATED_SESSION_JWKS": str(signer.path),
        "DEDICATED_SESSION_ISSUER": ISSUER,
        "DEDICATED_SESSION_AUDIENCE": AUDIENCE,
        "DEDICATED_CORS_ORIGINS": "https://app.example",
    }
    engines = serving_engine("127.0.0.1"), serving_engine("127.0.0.2")
    with serving_api() as api, engines[0] as engine, engines[1] as other, a_gateway(api.url, **settings) as gateway:
        yield World(api, gateway, engine, other, signer, {})


@pytest.fixture
def world(running):
    """The small cluster, as new."""
    running.engine.reset()
    running.other.reset()
    endpoints, slices = cluster(running.engine, running.other)
    keys = [a_key(ALICE, "alice"), a_key(BOB, "bob")]
    wanted = [*endpoints.values(), *slices, *keys]
    names = {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]) for obj in wanted}
    kinds = {kind.name: kind for kind in (ENDPOINT, ENDPOINT_SLICE, API_KEY, LEASE)}
    for key in [key for key in running.api.objects if key not in names and key[0] in kinds]:
        running.api.delete(kinds[key[0]], *key[1:])
    running.api.put(*wanted)
    running.ids = {name: id_of(endpoint) for name, endpoint in endpoints.items()}
    running.api.refusals.clear()
    running.api.writes.clear()
    settle(running)
    return running


@pytest.fixture(scope="session")
def second(running):
    with a_gateway(running.api.url, DEDICATED_IDENTITY="gateway-1") as gateway:
        yield gateway


@pytest.fixture
def own(world, second):
    """A second gateway before the same cluster, for tests that kill its parts: the next one finds it running again."""
    second.revive()
    settle(world, second)
    return second


_marks = iter(range(1000, 10**9))


def settle(world, gateway=None):
    """Wait until the gateway has seen everything that was written before: each kind is one ordered stream."""
    number = next(_marks)
    mark = an_endpoint(f"mark-{number}", owner="mark")
    secret = a_secret(number)
    world.api.put(a_slice(mark, "127.0.0.1", port=1), mark, a_key(secret, "mark"))
    wait_until(
        "the gateway to see what was written",
        lambda: (gateway or world.gateway).call("GET", f"/api/d/{id_of(mark)}", key=secret).status == 200,
        10,
        every_s=0.01,
    )
    for kind in (ENDPOINT, ENDPOINT_SLICE):
        for key in [key for key in world.api.objects if key[0] == kind.name and "mark-" in key[2]]:
            world.api.delete(kind, TEAM, key[2])


def held(gateway, count):
    """Wait until so many calls are held."""
    wait_until(f"{count} calls to be held", lambda: f"dedicated_gateway_waiting_requests {count}.0" in gateway.metrics(), 10, every_s=0.05)


@contextmanager
def deciding(path, decide):
    """A decision service that does as the test says; answers the paths that it was asked about."""
    asked, loop = [], asyncio.new_event_loop()

    async def handle(request):
        asked.append(request.path)
        await request.read()
        return await decide(request)

    async def begin():
        runner = web.ServerRunner(web.Server(handle, access_log=None))
        await runner.setup()
        await web.UnixSite(runner, path).start()

    loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield asked
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)


@dataclass
class Waits:
    """What takes long and is under way while the other tests run."""

    calls: dict[str, list[Future]]
    asked: list[str]
    engine: Engine

    def statuses(self, which):
        """Of the answers, once they are there."""
        return [call.result().status for call in self.calls[which]]


@pytest.fixture(scope="session", autouse=True)
def long_waits(request):
    """
    Calls that take a minute and more, by an Envoy and a decision service of their own, begun with the first test of the tier.

    Only the time is long: looked at with the last tests, they cost next to nothing.
    """
    if not any("long_hold" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="gw"))
    gateway = Gateway(folder / "kubeconfig", folder)

    async def after_a_while(request):
        await asyncio.sleep(0 if "silent" in request.path else HOLD_S)
        return web.Response(headers={"X-Dedicated-Endpoint": "e", "X-Dedicated-Address": f"{engine.address}:{engine.port}"})

    async def late(request, _body):
        await asyncio.sleep(SILENT_S if request.path == "/v1/silent" else 0)
        return web.json_response({})

    with serving_engine("127.0.0.4") as engine, deciding(str(folder / "checks.sock"), after_a_while) as asked, ThreadPoolExecutor(4) as pool:
        engine.behave = late
        gateway.start_envoy()

        def called(path):
            return pool.submit(gateway.call, "POST", path, b'{"model": "e"}', ALICE, 120)

        calls = {"held": [called("/v1/x"), called("/api/d/e/v1/x")], "silent": [called("/api/d/e/v1/silent")]}
        yield Waits({**calls, "slow headers": [pool.submit(slow_headers, gateway)]}, asked, engine)
        gateway.stop()
    shutil.rmtree(folder)


@pytest.fixture
def long_hold(long_waits):
    """What takes long; asked for by the tests that come last."""
    return long_waits


def slow_headers(gateway):
    """A caller that never ends its headers; answers what it got, and after how long."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(b"POST /v1/x HTTP/1.1\r\nHost: a\r\n")
        began = time.monotonic()
        return reply_of(connection.recv(65536)), time.monotonic() - began


def reply_of(data):
    """The first reply in what came over a connection."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(int(first.split()[1]), headers, body[: int(headers.get("content-length", 0))])
