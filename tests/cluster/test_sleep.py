"""Idle endpoints on a real cluster, with a real gateway: they give their room back, a hundred calls wake one once, and a wake that fails says why."""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from hack.demo import forwarded, key_of
from hack.gateway_url import url
from hack.install import SYSTEM
from tests.support.cluster import Kubectl, endpoint, needs_bare, wait_until
from tests.support.node import kill_part
from tests.support.pods import pods

NAMED = [{"name": "STUB_SERVED_MODEL_NAME", "value": "$(DEDICATED_MODEL_NAME)"}]
LIFE = {"scaling": {"idleAfter": "60s", "minAwake": "0s"}, "wake": {"hold": "90s", "maxHeldRequests": 200}}
CALLS = 100


@pytest.fixture
def gateway(installation):
    with forwarded(installation, "service/dedicated-gateway", SYSTEM) as port:
        yield port


def called(port, found, key, host="127.0.0.1"):
    """Status, headers and sentence or answer of one call, and when it ended."""
    connection = http.client.HTTPConnection(host, port, timeout=120)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    body = {"model": found.id, "messages": [{"role": "user", "content": "hello"}]}
    connection.request("POST", f"/api/d/{found.id}/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read().decode(), time.monotonic()


@pytest.fixture
def asleep(kubectl, installation, gateway, stub):
    """Brings endpoints up and lets them sleep; answers each one's status, by name, and a key of their owner."""

    def brought(**engines):
        kubectl.apply(*(endpoint(name, engine=stub(*args, env=NAMED), **LIFE) for name, args in engines.items()))
        found = {name: kubectl.wait(name, "up AllReady", 90) for name in engines}
        key = key_of(installation, "alice")
        wait_until("the key to be known", lambda: called(gateway, next(iter(found.values())), key)[0] == 200)
        for name in engines:
            kubectl.wait(name, "sleeping NoTraffic", 180)
        wait_until("their pods to be gone", lambda: not pods(kubectl), 60)
        return found, key

    return brought


def test_a_hundred_calls_wake_an_idle_endpoint_once_and_a_wake_without_room_says_so(kubectl, gateway, asleep):
    found, key = asleep(one=(), two=())
    one, two = found["one"], found["two"]
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
        with ThreadPoolExecutor(CALLS) as pool:
            refused = list(pool.map(lambda _: called(gateway, two, key), range(CALLS)))
    finally:
        kubectl.must("uncordon", node)
    assert [status for status, *_ in refused] == [503] * CALLS
    assert max(at for *_, at in refused) - min(at for *_, at in refused) < 1, "all are let go together"
    assert kubectl.status("two").wake.last.reason == "NoCapacity", refused[0][2]


SLOWLY = ("--start-delay=4s",)
DEATHS = {
    "operator-first": (0.0, "operator"),
    "operator-later": (2.0, "operator"),
    "gateway-first": (0.0, "gateway"),
    "gateway-later": (2.0, "gateway"),
    "both": (1.0, "operator", "gateway"),
}
"""What is killed, how long after the calls."""


@needs_bare
def test_whoever_dies_with_held_calls_there_is_one_wake_and_it_finishes(kubectl, installation, asleep):
    """Straight to the gateway's port, since a port-forward ends with what it leads to."""
    found, key = asleep(**dict.fromkeys(DEATHS, SLOWLY))
    address = urlsplit(url(Kubectl(kubectl.kubeconfig, SYSTEM).get("service", "dedicated-gateway"), kubectl.all("node")))
    for name, (after_s, *victims) in DEATHS.items():
        with ThreadPoolExecutor(CALLS) as pool:
            answers = [pool.submit(called, address.port, found[name], key, address.hostname) for _ in range(10)]
            time.sleep(after_s)
            for victim in victims:
                kill_part(kubectl.kubeconfig, victim)
            statuses = Counter(answer.result()[0] for answer in answers)
        print(f"\n{name}: {dict(statuses)}")
        assert set(statuses) <= ({200} if victims == ["operator"] else {200, 500}), statuses
        wait_until("the gateway to answer", lambda name=name: called(address.port, found[name], key, address.hostname)[0] == 200, 90)
        wake = kubectl.wait(name, "up AllReady", 60).wake
        assert [one.succeeded for one in wake.history] == [True] and wake.current is None, wake
