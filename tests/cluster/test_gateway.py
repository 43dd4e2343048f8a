"""Calls through the gateway on a real cluster: the right pod answers its owner, and nobody else."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys

import httpx
import pytest

from hack.demo import forwarded, key_of, posted
from hack.install import SYSTEM
from hack.tools import REPO
from tests.support.cluster import endpoint, sample, wait_until

PROMPT = "Question: What is the largest planet?\nAnswer: The largest planet is Jupiter.\nQuestion: What is the capital of France?\nAnswer:"
NAMED = [{"name": "STUB_SERVED_MODEL_NAME", "value": "$(DEDICATED_MODEL_NAME)"}]
"""The stub engine serves the name that it is told, as the engines do."""


@pytest.fixture
def gateway(installation):
    with forwarded(installation, "service/dedicated-gateway", SYSTEM) as port:
        yield port


def call(port, method, path, key=None, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    connection.request(method, path, json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_a_real_model_answers_its_owner_by_path_and_by_name_and_nobody_else(kubectl, installation, gateway):
    kubectl.apply(sample("gemma"))
    found = kubectl.wait("gemma", "up AllReady", 90)
    alice, bob = key_of(installation, "alice"), key_of(installation, "bob")
    body = {"model": found.id, "prompt": PROMPT, "max_tokens": 8, "temperature": 0}
    assert "Paris" in posted(gateway, f"/api/d/{found.id}/v1/completions", alice, body).read().decode()
    assert "Paris" in posted(gateway, "/v1/completions", alice, body).read().decode()
    path = f"/api/d/{found.id}/v1/completions"
    wait_until("the second key to be known", lambda: call(gateway, "POST", path, bob, body)[0] == 403)
    assert call(gateway, "POST", path, bob, body) == (403, '{"error": "Forbidden: Access denied."}')
    assert call(gateway, "POST", path, None, body) == (401, '{"error": "Missing or invalid Authorization header"}')
    assert call(gateway, "POST", path, alice[:-1] + ("x" if alice[-1] != "x" else "y"), body) == (401, '{"error": "Invalid API key"}')
    assert found.id in call(gateway, "GET", "/v1/models", alice)[1]


def test_make_prints_the_address_at_which_the_gateway_answers(installation):
    done = subprocess.run(["make", "-s", "gateway-url"], cwd=REPO, capture_output=True, text=True, check=False)
    (address,) = done.stdout.splitlines()
    assert httpx.get(f"{address}/v1/models", timeout=10).json() == {"error": "Missing or invalid Authorization header"}


def test_a_paused_endpoint_says_so_and_a_revoked_key_opens_nothing(kubectl, installation, gateway, stub):
    kubectl.apply(endpoint("one", engine=stub(env=NAMED)))
    found = kubectl.wait("one", "up AllReady")
    key = key_of(installation, "alice")
    body = {"model": found.id, "messages": [{"role": "user", "content": "hello"}]}
    path = f"/api/d/{found.id}/v1/chat/completions"
    assert posted(gateway, path, key, body).status == 200
    kubectl.apply(endpoint("one", engine=stub(env=NAMED), suspend=True))
    wait_until("the pause to be told", lambda: call(gateway, "POST", path, key, body)[0] == 503)
    assert "paused" in call(gateway, "POST", path, key, body)[1]
    name = next(one["name"] for one in keys(installation) if one["prefix"] and key.startswith(one["prefix"]))
    dedicated(installation, "keys", "revoke", name)
    wait_until("the key to open nothing", lambda: call(gateway, "POST", path, key, body)[0] == 401, 5)


def dedicated(installation, *args):
    env = {**os.environ, "KUBECONFIG": str(installation.target.kubeconfig)}
    return subprocess.run([sys.executable, "-m", "dedicated", *args], env=env, capture_output=True, text=True, check=True).stdout


def keys(installation):
    return json.loads(dedicated(installation, "keys", "list", "--output=json"))
