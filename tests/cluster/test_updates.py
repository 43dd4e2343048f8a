"""Updates on a real kubelet: the old revision serves until the new one answers, and goes on serving where that never happens."""

from __future__ import annotations

from tests.support.cluster import endpoint, wait_until
from tests.support.pods import OURS, pods

ALL_GPUS = {"accelerators": [], "count": 2, "cpu": "10m", "memory": "64Mi"}
"""Every GPU that the cluster of the tests has."""


def revisions(found: list[dict]) -> list[str]:
    return [pod["metadata"]["labels"]["inference.dedicated.dev/revision"] for pod in found]


def test_a_surge_update_serves_the_old_revision_until_the_new_one_answers(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub()))
    old = kubectl.wait("one", "up").revisions.serving
    kubectl.apply(endpoint("one", engine=stub("--start-delay=4s")))
    during = kubectl.wait("one", "up Updating")
    assert during.revisions.serving == old and during.revisions.target != old
    assert any(pod.ready and pod.revision == old for pod in during.pods)
    new = kubectl.wait("one", "up AllReady", 60).revisions.serving
    assert new == during.revisions.target
    wait_until("the old revision to go", lambda: len(kubectl.all("deployment", OURS)) == 1)
    selectors = {service["spec"]["selector"]["inference.dedicated.dev/revision"] for service in kubectl.all("service", OURS)}
    assert selectors == {new}


def test_an_update_that_fails_leaves_the_old_revision_serving_and_says_why(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub()))
    old = kubectl.wait("one", "up").revisions.serving
    kubectl.apply(endpoint("one", engine=stub("--no-such-flag")))
    status = kubectl.wait("one", "up UpdateFailed", 90)
    stalled = next(c for c in status.conditions if c.type == "Stalled")
    assert status.revisions.serving == old and stalled.reason == "BadEngineArgument"
    assert "flag provided but not defined" in status.diagnosis.log_tail and status.diagnosis.exit_code == 2
    assert [pod["metadata"]["labels"]["inference.dedicated.dev/revision"] for pod in pods(kubectl)] == [old]
    kubectl.apply(endpoint("one", engine=stub()))
    assert kubectl.wait("one", "up AllReady").revisions.serving == old


def test_replace_frees_the_hardware_before_the_new_revision_starts(kubectl, stub):
    update = {"strategy": "replace", "drain": "1s"}
    kubectl.apply(endpoint("one", engine=stub(), update=update))
    old = kubectl.wait("one", "up").revisions.serving
    kubectl.apply(endpoint("one", engine=stub("--tokens=3"), update=update))
    seen: list[set[str]] = []

    def replaced() -> bool:
        seen.append({pod["metadata"]["labels"]["inference.dedicated.dev/revision"] for pod in kubectl.all("pod", OURS)})
        return kubectl.status("one").revisions.serving != old

    wait_until("the new revision", replaced, 60)
    assert all(len(revisions) <= 1 for revisions in seen), seen


def test_a_surge_without_room_for_a_second_pod_fails_and_the_old_one_serves_on(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub(), hardware=ALL_GPUS))
    old = kubectl.wait("one", "up").revisions.serving
    (before,) = pods(kubectl)
    kubectl.apply(endpoint("one", engine=stub("--tokens=3"), hardware=ALL_GPUS))
    status = kubectl.wait("one", "up UpdateFailed", 60)
    stalled = next(c for c in status.conditions if c.type == "Stalled")
    assert stalled.reason == "NoCapacity" and "set spec.update.strategy to replace" in stalled.message
    assert status.revisions.serving == old
    (after,) = pods(kubectl)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    kubectl.apply(endpoint("one", engine=stub("--tokens=3"), hardware=ALL_GPUS, update={"strategy": "replace", "drain": "1s"}))
    kubectl.must("annotate", "inferenceendpoint", "one", "inference.dedicated.dev/retry=1")
    assert kubectl.wait("one", "up AllReady", 90).revisions.serving == status.revisions.target


def test_a_failed_replace_brings_the_old_revision_back_and_is_not_tried_again_by_itself(kubectl, stub):
    update = {"strategy": "replace", "drain": "1s"}
    kubectl.apply(endpoint("one", engine=stub(), update=update))
    old = kubectl.wait("one", "up").revisions.serving
    kubectl.apply(endpoint("one", engine=stub("--exit-after=100ms", "--exit-code=3"), update=update))  # a crash loop: it might mend by itself
    status = kubectl.wait("one", "up UpdateFailed", 120)
    assert status.revisions.serving == old and status.diagnosis.next_attempt_at is None
    assert "inference.dedicated.dev/retry" in status.diagnosis.next_step
    assert revisions(pods(kubectl)) == [old]


def test_after_a_failed_update_what_served_last_starts_from_zero(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub()))
    old = kubectl.wait("one", "up").revisions.serving
    kubectl.apply(endpoint("one", engine=stub("--no-such-flag")))
    kubectl.wait("one", "up UpdateFailed", 90)
    kubectl.must("patch", "inferenceendpoint", "one", "--type=merge", '-p={"spec":{"suspend":true}}')
    kubectl.wait("one", "paused Suspended")
    wait_until("the pods to go", lambda: not kubectl.all("pod", OURS))
    kubectl.must("patch", "inferenceendpoint", "one", "--type=merge", '-p={"spec":{"suspend":false}}')
    assert kubectl.wait("one", "up UpdateFailed", 60).revisions.serving == old
    assert any(pod.ready and pod.revision == old for pod in kubectl.status("one").pods)
