"""The gateway on a real API server, with the rights that the chart gives it and no other."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from dedicated.api import names
from hack.lint_charts import template
from tests.support.cluster import Kubectl, endpoint, wait_until
from tests.support.engine import serving_engine
from tests.support.gateway import CONDITIONS, Gateway, a_slice

SYSTEM, ACTIVITY = "dedicated-system", "dedicated-activity"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:dedicated-gateway"
RIGHTS = {"Namespace", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}


def own_address():
    """An address of this machine that is not loopback: the API server takes no other into an EndpointSlice. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]


@pytest.fixture(scope="module")
def engine():
    with serving_engine(own_address()) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(plane, engine):
    admin = Kubectl(plane.kubeconfig)
    rights = [found for found in yaml.safe_load_all(template({})) if found and found["kind"] in RIGHTS]
    objects = [found for found in rights if found["metadata"]["name"] in (ACTIVITY, "dedicated-gateway")]
    for obj in objects:
        Kubectl(plane.kubeconfig, obj["metadata"].get("namespace", "default")).apply(obj)
    who = plane.pki.issue("gateway", ACCOUNT, f"system:serviceaccounts:{SYSTEM}")
    folder = Path(tempfile.mkdtemp(prefix="gw"))
    kubeconfig = plane.pki.kubeconfig(folder / "kubeconfig", plane.server, who)
    found = Gateway(kubeconfig, folder, {"DEDICATED_POD_CIDRS": f"{engine.address}/32"})
    yield found.start()
    found.stop()
    for obj in reversed(objects):
        if obj["kind"] != "Namespace":
            where = ["-n", obj["metadata"]["namespace"]] if "namespace" in obj["metadata"] else []
            admin.must("delete", obj["kind"], obj["metadata"]["name"], *where)


def keys(plane, *args):
    env = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
    done = subprocess.run([sys.executable, "-m", "dedicated", "keys", *args, "-o", "json"], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def key(plane):
    found = keys(plane, "create", "--owner", "alice")
    yield found["key"]
    Kubectl(plane.kubeconfig, SYSTEM).must("delete", "apikey", found["name"])


def set_state(kubectl, name, state, **more):
    conditions = [{"type": kind, "status": value, "reason": reason} for kind, value, reason in CONDITIONS[state]]
    patch = json.dumps({"status": {"conditions": conditions, "revisions": {"serving": "rev1"}, **more}})
    kubectl.must("patch", "inferenceendpoint", name, "--subresource=status", "--type=merge", f"-p={patch}")
    return kubectl.get("inferenceendpoint", name)


@pytest.fixture
def up(kubectl, engine):
    """An endpoint that is up, as the operator and Kubernetes would tell it; answers its id."""
    engine.reset()
    kubectl.apply(endpoint("llama"))
    found = set_state(kubectl, "llama", "up")
    kubectl.apply(a_slice(found, engine.address, port=engine.port))
    return names.endpoint_id(found["metadata"]["uid"])


def test_a_call_is_answered_and_a_revoked_key_is_refused_within_two_seconds(plane, gateway, up, key, engine):
    wait_until("the call to be answered", lambda: gateway.chat(up, key).status == 200, 5, gateway.text, every_s=0.05)
    assert engine.received
    keys(plane, "revoke", key)
    began = time.monotonic()
    wait_until("the key to be refused", lambda: gateway.chat(up, key).status == 401, 2, every_s=0.02)
    assert time.monotonic() - began < 2


def test_activity_and_the_last_use_of_a_key_are_written_with_the_rights_of_the_chart(plane, gateway, up, key):
    wait_until("the call to be answered", lambda: gateway.chat(up, key).status == 200, 5, every_s=0.05)
    activity = Kubectl(plane.kubeconfig, ACTIVITY)
    wait_until("the Lease", lambda: activity.run("get", "lease", up).returncode == 0, 5, gateway.text)
    assert activity.get("lease", up)["spec"]["holderIdentity"] == "gateway-0"
    wait_until("the last use", lambda: any(row["lastUsedTime"] for row in keys(plane, "list") if key.startswith(row["prefix"])), 5, gateway.text)


def test_a_call_for_a_sleeping_endpoint_asks_for_a_wake(plane, gateway, up, key, kubectl):
    set_state(kubectl, "llama", "sleeping")
    wait_until("it to sleep", lambda: gateway.chat(up, key).status == 503, 5, every_s=0.05)
    activity = Kubectl(plane.kubeconfig, ACTIVITY)
    wait_until("the wake", lambda: names.ANNOTATION_WAKE in activity.run("get", "lease", up, "-o=yaml").stdout, 5, gateway.text)


def test_a_deleted_endpoint_is_nobodys_at_once(gateway, up, key, kubectl):
    wait_until("the call to be answered", lambda: gateway.chat(up, key).status == 200, 5, every_s=0.05)
    kubectl.must("delete", "inferenceendpoint", "llama")
    wait_until("it to be nobody's", lambda: gateway.chat(up, key).status == 403, 2, every_s=0.02)


def test_the_gateway_may_do_nothing_else(plane, gateway):
    admin = Kubectl(plane.kubeconfig)
    for what in ("get secrets", "list pods", "patch inferenceendpoints", "patch inferenceendpoints/status", "create apikeys", "patch apikeys"):
        verb, resource = what.split()
        said = admin.run("auth", "can-i", verb, resource, f"--as={ACCOUNT}", "--all-namespaces").stdout.strip()
        assert said == "no", what
    assert admin.run("auth", "can-i", "update", "leases", f"--as={ACCOUNT}", f"--namespace={SYSTEM}").stdout.strip() == "no"
