"""Calls at random moments around the decision to sleep: each is answered, by a pod that lives, and is put to an engine once."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from dedicated.api.names import CRD_NAME
from hack.demo import key_of
from hack.gateway_url import url
from hack.install import SYSTEM, upgrade
from tests.cluster.test_sleep import NAMED
from tests.support.cluster import Kubectl, endpoint, wait_until

SECONDS = float(os.environ.get("DEDICATED_RACE_SECONDS", "60"))
"""How long calls go on: `make race` takes ten minutes."""
NAMES = ("one", "two", "three", "four")
LIFE = {"scaling": {"idleAfter": "2s", "minAwake": "0s"}, "wake": {"hold": "60s"}, "update": {"drain": "5s"}}
IDLE_S = 3.0
"""idleAfter, and the shortest renewal period: from then on an endpoint may be put to sleep."""


@pytest.fixture
def hurried(installation, chart_settings):
    """Time is compressed: gateways tell of calls within a second, and an endpoint may ask to sleep after two."""
    cluster = Kubectl(installation.target.kubeconfig)
    schema = cluster.get("crd", CRD_NAME)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rules = schema["properties"]["spec"]["properties"]["scaling"]["x-kubernetes-validations"]
    allow(cluster, [rule for rule in rules if "60s" not in rule["message"]])
    upgrade(installation, **chart_settings, operator__renewalSeconds=1)
    yield
    upgrade(installation, **chart_settings)
    allow(cluster, rules)


def allow(cluster: Kubectl, rules: list[dict[str, str]]) -> None:
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/scaling/x-kubernetes-validations"
    cluster.must("patch", "crd", CRD_NAME, "--type=json", f"-p={json.dumps([{'op': 'replace', 'path': path, 'value': rules}])}")


@pytest.fixture
def gateway(installation, hurried):
    cluster = Kubectl(installation.target.kubeconfig, SYSTEM)
    return url(cluster.get("service", "dedicated-gateway"), cluster.all("node"))


def call(gateway: str, endpoint_id: str, key: str) -> tuple[int, str, bool]:
    """Status, the engine's own id of the answer (or what was said instead), and whether it waited for a wake."""
    body = {"model": endpoint_id, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"Authorization": f"Bearer {key}", "Prefer": "wait=60"}
    response = httpx.post(f"{gateway}/api/d/{endpoint_id}/v1/chat/completions", json=body, headers=headers, timeout=90)
    told = response.json()["id"] if response.status_code == 200 else response.text
    return response.status_code, told, "x-cold-start" in response.headers


def test_calls_around_the_decision_to_sleep_are_all_answered_and_each_only_once(kubectl, installation, gateway, stub):
    kubectl.apply(*(endpoint(name, engine=stub(env=NAMED), **LIFE) for name in NAMES))
    found = {name: kubectl.wait(name, "sleeping NoTraffic", 120) for name in NAMES}  # up for too short a time to be seen
    key = key_of(installation, "alice")
    wait_until("the key to be known", lambda: call(gateway, found["one"].id, key)[0] == 200)
    kubectl.wait("one", "sleeping NoTraffic", 60)
    until, answers, lock = time.monotonic() + SECONDS, defaultdict(list), threading.Lock()

    def calls(name: str) -> None:
        chance = random.Random(f"{name} {SECONDS}")
        while time.monotonic() < until:
            answered = call(gateway, found[name].id, key)
            with lock:
                answers[name].append(answered)
            time.sleep(chance.choice((chance.uniform(0, 0.2), chance.uniform(IDLE_S - 1, IDLE_S + 3), chance.uniform(IDLE_S, IDLE_S + 8))))

    with ThreadPoolExecutor() as pool:
        list(pool.map(calls, NAMES * 2))
    everything = [answer for name in NAMES for answer in answers[name]]
    assert {status for status, *_ in everything} == {200}, Counter((status, text) for status, text, _ in everything if status != 200)
    woken = sum(cold for *_, cold in everything)
    print(f"\n{len(everything)} calls at {len(NAMES)} endpoints in {SECONDS:.0f} s, {woken} of them waited for a wake")
    assert woken >= SECONDS / 20, "the race was hardly run"
    numbers = defaultdict(list)
    for _, answered, _ in everything:
        pod, _, number = answered.removeprefix("cmpl-").rpartition("-")
        numbers[pod].append(int(number))
    # The engine numbers what it is asked: a number that nobody got is a call that was put to it twice.
    assert {pod: sorted(got) for pod, got in numbers.items()} == {pod: list(range(1, len(got) + 1)) for pod, got in numbers.items()}
