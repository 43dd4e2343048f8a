"""Alive means progress; ready means that it leads and has seen everything."""

from __future__ import annotations

import time

import aiohttp
import pytest

from dedicated.controller.health import Health, stuck_since
from dedicated.telemetry import metrics


async def answer(port, path):
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


@pytest.fixture
async def health():
    found = Health()
    runner = await found.serve(0)
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


async def test_it_is_alive_while_every_part_makes_progress(health):
    health.alive = [stuck_since("the queue", time.monotonic, 10)]
    assert await answer(health.port, "/livez") == (200, "ok")


async def test_a_part_that_stands_still_is_named(health):
    health.alive = [stuck_since("the queue", lambda: time.monotonic() - 60, 10)]
    status, text = await answer(health.port, "/livez")
    assert status == 500 and "the queue made no progress for 60 s" in text


async def test_it_is_ready_only_when_it_says_so(health):
    assert (await answer(health.port, "/readyz"))[0] == 503
    health.ready = True
    assert (await answer(health.port, "/readyz"))[0] == 200


async def test_metrics_are_in_the_prometheus_format(health):
    metrics.RECONCILE_BUGS.inc(0)
    assert "dedicated_reconcile_duration_seconds" in (await answer(health.port, "/metrics"))[1]
