"""Idle endpoints on a real cluster, with a real gateway: they give their room back, a hundred calls wake one once, and a wake that fails says why."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hack.demo import forwarded, key_of
from hack.install import SYSTEM
from tests.support.cluster import endpoint, wait_until
from tests.support.pods import pods

NAMED = [{"name": "STUB_SERVED_MODEL_NAME", "value": "$(DEDICATED_MODEL_NAME)"}]
LIFE = {"scaling": {"idleAfter": "60s", "minAwake": "0s"}, "wake": {"hold": "90s", "maxHeldRequests": 200}}
CALLS = 100


@pytest.fixture
def gateway(installation):
    with forwarded(installation, "service/dedicated-gateway", SYSTEM) as port:
        yield port


def called(port, found, key):
    """Status, headers and sentence or answer of one call, and when it ended."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    body = {"model": found.id, "messages": [{"role": "user", "content": "hello"}]}
    connection.request("POST", f"/api/d/{found.id}/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read().decode(), time.monotonic()


def test_a_hundred_calls_wake_an_idle_endpoint_once_and_a_wake_without_room_says_so(kubectl, installation, gateway, stub):
    kubectl.apply(endpoint("one", engine=stub(env=NAMED), **LIFE), endpoint("two", engine=stub(env=NAMED), **LIFE))
    one, two = (kubectl.wait(name, "up AllReady", 90) for name in ("one", "two"))
    key = key_of(installation, "alice")
    wait_until("the key to be known", lambda: called(gateway, one, key)[0] == 200)
    for name in ("one", "two"):
        kubectl.wait(name, "sleeping NoTraffic", 180)
    wait_until("their pods to be gone", lambda: not pods(kubectl), 60)
    spec = kubectl.get("ie", "one")["spec"]

    with ThreadPoolExecutor(CALLS) as pool:
        answers = list(pool.map(lambda _: called(gateway, one, key), range(CALLS)))
    assert [status for status, *_ in answers] == [200] * CALLS, next(text for status, _, text, _ in answers if status != 200)
    assert {headers.get("x-cold-start") or headers.get("X-Cold-Start") for _, headers, *_ in answers} == {"true"}
    status = kubectl.wait("one", "up AllReady", 60)
    assert len(status.wake.history) == 1 and status.wake.last.succeeded, status.wake
    assert kubectl.get("ie", "one")["spec"] == spec

    node = kubectl.all("node")[0]["metadata"]["name"]
    kubectl.must("cordon", node)
    try:
        with ThreadPoolExecutor(10) as pool:
            refused = list(pool.map(lambda _: called(gateway, two, key), range(10)))
    finally:
        kubectl.must("uncordon", node)
    assert [status for status, *_ in refused] == [503] * 10
    assert max(at for *_, at in refused) - min(at for *_, at in refused) < 1, "all are let go together"
    assert kubectl.status("two").wake.last.reason == "NoCapacity", refused[0][2]
