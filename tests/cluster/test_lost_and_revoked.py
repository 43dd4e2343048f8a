"""What is taken away from an endpoint that works: its node, and the right to read its model."""

from __future__ import annotations

import json
import os
import signal

import pytest

from dedicated.api.conditions import find
from dedicated.api.status import ConditionType
from hack.cluster.layout import Layout
from hack.cluster.processes import Process
from hack.install import HUB
from tests.support.cluster import Kubectl, endpoint, needs_bare, wait_until
from tests.support.pods import OURS


@pytest.fixture
def kubelet(installation):
    """Stops the kubelet as a node stops that is cut off: its containers run on. It goes on at the end."""
    pid = Process.read(Layout(installation.target.name).pid_file).children()["kubelet"]
    yield lambda stop: os.kill(pid, signal.SIGSTOP if stop else signal.SIGCONT)
    os.kill(pid, signal.SIGCONT)


@needs_bare
def test_a_node_that_does_not_answer_is_named_and_nothing_is_given_up(kubectl, stub, kubelet):
    kubectl.apply(endpoint("one", engine=stub()))
    kubectl.wait("one", "up AllReady", 90)
    kubelet(True)
    lost = kubectl.wait("one", "building NodeLost", 90)
    message = find(lost.conditions, ConditionType.READY).message
    assert "has not been ready" in message and lost.pods[0].node in message
    assert lost.diagnosis is None and [one["spec"]["replicas"] for one in kubectl.all("deployment", OURS)] == [1]
    kubelet(False)
    kubectl.wait("one", "up AllReady", 90)


def test_a_token_that_is_revoked_between_two_starts_is_named_before_any_pod(kubectl, stub, installation):
    kubectl.must("create", "secret", "generic", "hub-token", "--from-literal=HF_TOKEN=hf_demo_reader")
    kubectl.must("label", "secret", "hub-token", "inference.dedicated.dev/use=hub-token")
    gated = {"huggingFace": {"repo": "dedicated-demo/gated"}, "tokenSecretRef": {"name": "hub-token"}}
    kubectl.apply(endpoint("one", engine=stub(), model=gated))
    kubectl.wait("one", "up AllReady", 120)
    hub = Kubectl(kubectl.kubeconfig, HUB)
    with_token = hub.get("deployment", "hub")["spec"]["template"]["spec"]["containers"][0]["args"]
    try:
        set_args(hub, ["--port", "8080", "--token", "hf_somebody_else=dedicated-demo/gated"])
        kubectl.apply(endpoint("one", engine=stub(), model=gated, suspend=True))
        kubectl.wait("one", "paused Suspended")
        wait_until("the pods to go", lambda: not kubectl.all("pod", OURS))
        kubectl.apply(endpoint("one", engine=stub(), model=gated, suspend=False))
        found = kubectl.wait("one", "failed TokenInvalid", 90).diagnosis
        assert not found.retryable and found.container is None and not kubectl.all("pod", OURS)
        assert [one["spec"]["replicas"] for one in kubectl.all("deployment", OURS)] in ([], [0])
    finally:
        set_args(hub, with_token)
    kubectl.must("annotate", "inferenceendpoint", "one", "inference.dedicated.dev/retry=1")
    kubectl.wait("one", "up AllReady", 120)


def set_args(hub, args):
    patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": args}]
    hub.must("patch", "deployment", "hub", "--type=json", f"-p={json.dumps(patch)}")
    hub.must("rollout", "status", "deployment/hub", "--timeout=90s")
