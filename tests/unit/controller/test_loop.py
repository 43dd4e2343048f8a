"""The workers' edge: what is a passing failure and what is a bug, and that neither stops them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from dedicated.adapters.kinds import SERVICE_ACCOUNT
from dedicated.adapters.store import Store
from dedicated.api.errors import ApiUnavailable
from dedicated.controller.feed import NAMESPACE_KEY
from dedicated.controller.loop import Loop
from dedicated.telemetry import metrics


class FakeKube:
    """Deletes fail as they are told, then work."""

    def __init__(self, *errors):
        self.errors, self.deleted = list(errors), []

    def now(self):
        return 0.0

    async def delete(self, kind, namespace, name, uid):
        if self.errors:
            raise self.errors.pop(0)
        self.deleted.append(name)


def bugs():
    return metrics.RECONCILE_BUGS._value.get()


@pytest.mark.parametrize(("error", "counted"), [(ApiUnavailable("503"), 0), (ZeroDivisionError(), 1)], ids=["the API server is away", "a bug"])
async def test_a_failure_is_tried_again_and_only_a_bug_is_counted_as_one(error, counted):
    store, kube = Store(), FakeKube(error)
    store.put(SERVICE_ACCOUNT, {"metadata": {"name": "dedicated-engine", "uid": "a", "namespace": "team-a", "resourceVersion": "1"}})
    loop, before = Loop(SimpleNamespace(store=store, kube=kube)), bugs()
    tasks = [asyncio.create_task(loop.work()), asyncio.create_task(loop.watch_deadlines())]
    loop.wake(f"{NAMESPACE_KEY}team-a")
    for _ in range(300):
        if kube.deleted:
            break
        await asyncio.sleep(0.01)
    for task in tasks:
        assert not task.done()
        task.cancel()
    assert kube.deleted == ["dedicated-engine"]
    assert bugs() - before == counted
