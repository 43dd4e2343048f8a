"""Idle endpoints on a real cluster, with a real gateway: they give their room back, a hundred calls wake one once, and a wake that fails says why."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from hack.demo import key_of
from hack.gateway_url import url
from hack.install import SYSTEM
from tests.support.cluster import Kubectl, endpoint, needs_bare, wait_until
from tests.support.node import kill_part
from tests.support.pods import pods

NAMED = [{"name": "STUB_SERVED_MODEL_NAME", "value": "$(DEDICATED_MODEL_NAME)"}]
LIFE = {"scaling": {"idleAfter": "60s", "minAwake": "0s"}, "wake": {"hold": "90s", "maxHeldRequests": 200}}
CALLS = 100


def called(gateway, found, key):
    """Status, headers and sentence or answer of one call, and when it ended."""
    connection = http.client.HTTPConnection(*gateway, timeout=120)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    body = {"model": found.id, "messages": [{"role": "user", "content": "hello"}]}
    connection.request("POST", f"/api/d/{found.id}/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read().decode(), time.monotonic()


SLOWLY = ("--start-delay=4s",)
DEATHS = {"operator-first": (0.0, "operator"), "gateway-later": (2.0, "gateway"), "both": (1.0, "operator", "gateway")}
"""What is killed, how long after the calls."""
ENGINES = {"one": (), "two": (), **dict.fromkeys(DEATHS, SLOWLY)}


@pytest.fixture(scope="module")
def kubectl(installation):
    """One namespace for all tests here: their endpoints fall asleep together, once."""
    found = Kubectl(installation.target.kubeconfig, f"sleep-{uuid.uuid4().hex[:8]}")
    found.must("create", "namespace", found.namespace)
    yield found
    found.must("delete", "inferenceendpoints", "--all", "--wait=true")
    found.must("delete", "namespace", found.namespace, "--wait=false")


@pytest.fixture(scope="module")
def gateway(installation):
    """Its port on the node: a port-forward would end with the process that it leads to."""
    cluster = Kubectl(installation.target.kubeconfig, SYSTEM)
    where = urlsplit(url(cluster.get("service", "dedicated-gateway"), cluster.all("node")))
    return where.hostname, where.port


@pytest.fixture(scope="module")
def asleep(kubectl, installation, gateway, stub):
    """Endpoints that were up and sleep: each one's status, by name, and a key of their owner."""
    kubectl.apply(*(endpoint(name, engine=stub(*args, env=NAMED), **LIFE) for name, args in ENGINES.items()))
    found = {name: kubectl.wait(name, "up AllReady", 120) for name in ENGINES}
    key = key_of(installation, "alice")
    wait_until("the key to be known", lambda: called(gateway, found["one"], key)[0] == 200)
    for name in ENGINES:
        kubectl.wait(name, "sleeping NoTraffic", 180)
    wait_until("their pods to be gone", lambda: not pods(kubectl), 60)
    return found, key


def test_a_hundred_calls_wake_an_idle_endpoint_once_and_a_wake_without_room_says_so(kubectl, gateway, asleep):
    found, key = asleep
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


@needs_bare
@pytest.mark.parametrize("name", DEATHS)
def test_whoever_dies_with_held_calls_there_is_one_wake_and_it_finishes(kubectl, gateway, asleep, name):
    found, key = asleep
    after_s, *victims = DEATHS[name]
    with ThreadPoolExecutor(CALLS) as pool:
        answers = [pool.submit(called, gateway, found[name], key) for _ in range(10)]
        time.sleep(after_s)
        for victim in victims:
            kill_part(kubectl.kubeconfig, victim)
        statuses = Counter(answer.result()[0] for answer in answers)
    print(f"\n{name}: {dict(statuses)}")
    assert set(statuses) <= ({200} if victims == ["operator"] else {200, 500}), statuses
    wait_until("the gateway to answer", lambda: answers_again(gateway, found[name], key), 90)
    wake = kubectl.wait(name, "up AllReady", 60).wake
    assert [one.succeeded for one in wake.history] == [True] and wake.current is None, wake


def answers_again(gateway, found, key) -> bool:
    """Whether a call is answered; a gateway of one pod refuses connections while that is not ready."""
    try:
        return called(gateway, found, key)[0] == 200
    except OSError:
        return False
