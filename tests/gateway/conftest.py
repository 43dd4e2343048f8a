"""One gateway for the session, before an API server in memory; engines on loopback. Each test begins with the same small cluster."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from dedicated.adapters.kinds import API_KEY, ENDPOINT, ENDPOINT_SLICE, LEASE
from tests.support.cluster import wait_until
from tests.support.engine import Engine, serving_engine
from tests.support.fakeapi import FakeApi, serving_api
from tests.support.gateway import TEAM, Gateway, a_gateway, a_key, a_secret, a_slice, an_endpoint, id_of
from tests.support.tokens import AUDIENCE, ISSUER, Signer

HOLD_S = 90.0
LONG_HOLD = "test_a_hold_of_90_seconds_on_each_route_is_one_check_and_one_answer"


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.name == LONG_HOLD)
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


@pytest.fixture(scope="session", autouse=True)
def long_hold(request):
    """
    Two calls that are held for 90 s in their check by an Envoy of their own, while the other tests run; a function waits for their end.

    Only the time is long: started with the first test of the tier and looked at with the last, it costs next to nothing.
    """
    if not any(item.name == LONG_HOLD for item in request.session.items):
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="gw"))
    gateway = Gateway(folder / "kubeconfig", folder)

    async def after_a_while(_request):
        await asyncio.sleep(HOLD_S)
        return web.Response(headers={"X-Dedicated-Endpoint": "e", "X-Dedicated-Address": f"{engine.address}:{engine.port}"})

    with serving_engine("127.0.0.4") as engine, deciding(str(folder / "checks.sock"), after_a_while) as asked, ThreadPoolExecutor(2) as pool:
        gateway.start_envoy()
        calls = [pool.submit(gateway.call, "POST", path, b'{"model": "e"}', ALICE, 120) for path in ("/v1/x", "/api/d/e/v1/x")]
        yield lambda: ([call.result().status for call in calls], asked, [got.path for got in engine.received])
        gateway.stop()
    shutil.rmtree(folder)
