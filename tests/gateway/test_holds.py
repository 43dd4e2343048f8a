"""A check may take its time: Envoy holds the call, asks once, and passes it on once. The decision service is one of the test's own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.gateway.conftest import ALICE
from tests.support.gateway import Gateway

HOLD_S = 90.0


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


@pytest.fixture
def envoy():
    """Envoy alone."""
    folder = Path(tempfile.mkdtemp(prefix="gw"))
    gateway = Gateway(folder / "kubeconfig", folder)
    gateway.start_envoy()
    yield gateway
    gateway.stop()
    shutil.rmtree(folder)


@pytest.mark.timeout(150)
def test_a_hold_of_90_seconds_on_each_route_is_one_check_and_one_answer(world, envoy):
    async def after_a_while(_request):
        await asyncio.sleep(HOLD_S)
        return web.Response(headers={"X-Dedicated-Endpoint": "e", "X-Dedicated-Address": f"{world.engine.address}:{world.engine.port}"})

    with deciding(str(envoy.folder / "decisions.sock"), after_a_while) as asked, ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(envoy.call, "POST", path, b'{"model": "e"}', ALICE, 120) for path in ("/v1/x", "/api/d/e/v1/x")]
        assert [call.result().status for call in calls] == [200, 200]
    assert sorted(asked) == ["/check/api/d/e/v1/x", "/check/v1/x"]
    assert [got.path for got in world.engine.received] == ["/v1/x", "/v1/x"]
