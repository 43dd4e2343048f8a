"""From birth to deletion on a real kubelet: pausing, scaling, being killed, leaving nothing."""

from __future__ import annotations

import json
import time

from tests.support.cluster import Kubectl, endpoint, needs_bare, wait_until
from tests.support.node import kill_part, part
from tests.support.pods import OURS, pods


def test_suspend_takes_the_pods_away_and_resuming_brings_the_same_revision_back(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub()))
    before = kubectl.wait("one", "up").revisions.serving
    kubectl.apply(endpoint("one", engine=stub(), suspend=True))
    kubectl.wait("one", "paused Suspended")
    wait_until("the pods to go", lambda: not pods(kubectl))
    kubectl.apply(endpoint("one", engine=stub(), suspend=False))
    assert kubectl.wait("one", "up").revisions.serving == before
    assert len(kubectl.all("deployment", OURS)) == 1


def test_more_replicas_restart_nothing_and_get_a_disruption_budget(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub()))
    kubectl.wait("one", "up")
    (first,) = [pod["metadata"]["name"] for pod in pods(kubectl)]
    kubectl.must("scale", "inferenceendpoint", "one", "--replicas=2")
    wait_until("two ready pods", lambda: kubectl.status("one").ready_replicas == 2)
    assert first in [pod["metadata"]["name"] for pod in pods(kubectl)]
    assert len(kubectl.all("pdb", OURS)) == 1
    kubectl.must("scale", "inferenceendpoint", "one", "--replicas=1")
    wait_until("the budget to go", lambda: not kubectl.all("pdb", OURS))


def test_an_engine_that_ends_is_started_again_and_the_endpoint_is_up_again(kubectl, stub, installation):
    kubectl.apply(endpoint("one", engine=stub("--control")))
    status = kubectl.wait("one", "up")
    (pod,) = pods(kubectl)
    path = f"/api/v1/namespaces/{kubectl.namespace}/pods/{pod['metadata']['name']}:8000/proxy/control/exit?code=7"
    kubectl.run("create", "--raw", path, "-f", "/dev/null")
    wait_until("the restart to be seen", lambda: kubectl.status("one").phase == "building" or restarts(kubectl) == 1)
    assert kubectl.wait("one", "up AllReady").revisions.serving == status.revisions.serving
    assert restarts(kubectl) == 1


def restarts(kubectl: Kubectl) -> int:
    return sum(status["restartCount"] for pod in pods(kubectl) for status in pod["status"].get("containerStatuses", []))


@needs_bare
def test_the_killed_operator_container_acts_again_within_5_s(kubectl, stub, installation):
    kubectl.apply(endpoint("one", engine=stub()))
    kubectl.wait("one", "up")
    before = part(kubectl.kubeconfig, "operator")
    kill_part(kubectl.kubeconfig, "operator")
    began = time.monotonic()
    kubectl.apply(endpoint("two", engine=stub()))
    kubectl.wait("two", "building", 30)
    took_s = time.monotonic() - began
    after = part(kubectl.kubeconfig, "operator")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == before["status"]["containerStatuses"][0]["restartCount"] + 1
    print(f"acted {took_s:.1f} s after kill -9 of the operator's container")
    assert took_s < 5
    kubectl.wait("two", "up")


def test_deleting_leaves_nothing(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub()), endpoint("two", engine=stub("--no-such-flag"), replicas=2))
    kubectl.wait("one", "up")
    kubectl.must("delete", "inferenceendpoint", "one", "two")
    kinds = "deployments,replicasets,pods,services,secrets,networkpolicies,poddisruptionbudgets,endpointslices,inferenceendpoints"
    wait_until("everything to go", lambda: json.loads(kubectl.must("get", kinds, "-o=json"))["items"] == [], 60)
    wait_until("the account to go", lambda: [a["metadata"]["name"] for a in kubectl.all("serviceaccount")] == ["default"])
