"""Kubernetes objects -> facts, with the odd forms that real clusters write."""

from __future__ import annotations

from dedicated.adapters import facts
from dedicated.adapters.view import status_of


def a_pod(**status):
    meta = {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"inference.dedicated.dev/revision": "r"}}
    return {"metadata": meta, "spec": {"nodeName": "n"}, "status": status}


def test_a_pod_that_the_scheduler_has_not_seen_is_neither_placed_nor_refused():
    assert facts.pod(a_pod()).scheduled is None


def test_a_pod_that_a_queue_holds_back_is_not_without_room():
    gated = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "waits"}]
    found = facts.pod(a_pod(conditions=gated))
    assert (found.scheduled, found.unschedulable_message) == (None, "")


def test_a_pod_that_has_ended_counts_as_going():
    assert facts.pod(a_pod(phase="Failed", reason="Evicted")).deleting


def test_init_containers_come_first_and_the_newest_bad_end_is_the_failure():
    statuses = {
        "initContainerStatuses": [{"name": "fetch", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
        "containerStatuses": [
            {
                "name": "engine",
                "restartCount": 2,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {
                    "terminated": {"exitCode": 3, "reason": "Error", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:07Z"}
                },
            }
        ],
    }
    fetch, engine = facts.pod(a_pod(**statuses)).containers
    assert fetch.init and fetch.failure is None
    assert (engine.failure.exit_code, engine.failure.ran_s, engine.restarts) == (3, 7, 2)


def test_a_refused_pod_is_read_from_its_deployment_only_while_one_is_wanted():
    failure = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}

    def deployment(replicas):
        return {"metadata": {"labels": {"inference.dedicated.dev/revision": "r"}}, "spec": {"replicas": replicas}, "status": failure}

    assert facts.workload(deployment(1)).refused == "exceeded quota"
    assert facts.workload(deployment(0)).refused == ""


def test_a_status_of_a_newer_operator_is_read_as_far_as_it_is_understood():
    newer = {"id": "endpt-x", "phase": "hibernating", "diagnosis": {"reason": "MoonPhase", "message": "m", "nextStep": "n", "retryable": True}}
    found = status_of(newer)
    assert (found.id, found.diagnosis, found.phase) == ("endpt-x", None, None)
