"""An endpoint sleeps and wakes on a real API server, with an operator that is killed at every step; the test plays gateway and kubelet."""

from __future__ import annotations

import json

import pytest

from dedicated.api import names
from tests.support.cluster import Kubectl, endpoint, wait_until
from tests.support.pods import OURS, make_ready, pods

ACTIVITY = "dedicated-activity"


@pytest.fixture
def system(plane):
    """A gateway's pod, as far as an API server knows it, and the namespace of its Leases."""
    found = Kubectl(plane.kubeconfig, "dedicated-system")
    found.run("create", "namespace", ACTIVITY)
    labels = {"app.kubernetes.io/component": "gateway"}
    container = {"name": "gateway", "image": "localhost/dedicated:test"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gw-1", "labels": labels}, "spec": {"containers": [container]}}
    found.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, pod)
    yield found
    found.must("delete", "pod", "gw-1", "--force")


def says(kubectl: Kubectl, name: str, **marks: str) -> None:
    """What a gateway writes on the endpoint's Lease."""
    where = Kubectl(kubectl.kubeconfig, ACTIVITY)
    endpoint_id = names.endpoint_id(kubectl.get("ie", name)["metadata"]["uid"])
    keys = {"ack": names.ack_annotation("gw-1"), "wake": names.ANNOTATION_WAKE}
    meta = {"name": endpoint_id, "annotations": {keys[mark]: word for mark, word in marks.items()}}
    where.run("create", "-f", "-", given={"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": endpoint_id}, "spec": {}})
    where.must("patch", "lease", endpoint_id, "--type=merge", f"-p={json.dumps({'metadata': meta})}")


def an_hour_ago(kubectl: Kubectl, name: str) -> None:
    """It has been up since long ago: the API server lets nobody ask for less than a minute of idleness."""
    conditions = kubectl.get("ie", name)["status"]["conditions"]
    old = [{**one, "lastTransitionTime": "2026-01-01T00:00:00Z"} if one["type"] == "Active" else one for one in conditions]
    kubectl.must("patch", "ie", name, "--subresource=status", "--type=merge", f"-p={json.dumps({'status': {'conditions': old}})}")


def replicas(kubectl: Kubectl) -> list[int]:
    return [one["spec"]["replicas"] for one in kubectl.all("deployment", OURS)]


def again(operator) -> None:
    operator.kill()
    operator.start()


def test_it_sleeps_and_wakes_once_with_an_operator_that_is_killed_at_every_step(operator, kubectl, system):
    operator.start()
    kubectl.apply(endpoint("one", scaling={"idleAfter": "60s", "minAwake": "0s"}))
    wait_until("its pod", lambda: len(pods(kubectl)) == 1)
    make_ready(kubectl)
    spec = kubectl.wait("one", "up AllReady") and kubectl.get("ie", "one")["spec"]
    an_hour_ago(kubectl, "one")
    wait_until("the handover", lambda: (drain := kubectl.status("one").drain) is not None and bool(drain.pods))
    again(operator)
    assert replicas(kubectl) == [1] and kubectl.phase("one") == "up AllReady"
    says(kubectl, "one", ack="1")
    assert kubectl.wait("one", "sleeping NoTraffic").drain.epoch == 1
    wait_until("its pods to be told to go", lambda: replicas(kubectl) == [0] and not pods(kubectl))
    again(operator)
    assert kubectl.phase("one") == "sleeping NoTraffic"
    operator.kill()
    says(kubectl, "one", wake="1")
    operator.start()
    kubectl.wait("one", "waking Waking")
    again(operator)
    wait_until("its pod", lambda: len(pods(kubectl)) == 1)
    make_ready(kubectl)
    status = kubectl.wait("one", "up AllReady")
    assert status.wake.last.succeeded and status.wake.last.epoch == 1 and len(status.wake.history) == 1
    assert status.sleep.seconds > 0 and status.sleep.since is None
    assert kubectl.get("ie", "one")["spec"] == spec
    generation = kubectl.all("deployment", OURS)[0]["metadata"]["generation"]
    assert generation == 3, "made, scaled to none, scaled to one"
