"""From a pod's facts to one cause: a row for each thing that happens to pods."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dedicated.api.reasons import Reason
from dedicated.diagnosis.diagnose import diagnose, next_deadline, wants_log
from dedicated.diagnosis.evidence import ContainerFacts, EventFacts
from tests.support.builders import LIMITS, NOW, a_pod, an_engine, ended

SERVED = replace(LIMITS, served=True)
R = Reason


def fetch(**changes):
    return replace(ContainerFacts("fetch", init=True), **changes)


def told(reason, retryable):
    return json.dumps({"reason": reason, "message": "It said so.", "retryable": retryable})


PULL = EventFacts("Failed", 'Failed to pull image "x:1": rpc error: x:1: not found', True)
PROBE = EventFacts("Unhealthy", "Startup probe failed: connection refused", True)
MOUNT = EventFacts("FailedMount", 'MountVolume.SetUp failed for volume "v"', True)
LIVENESS = EventFacts("Killing", "Container engine failed liveness probe, will be restarted", False)
KERNEL = EventFacts("OOMKilling", "Memory cgroup out of memory: Killed process 31 (VLLM::EngineCor)", True)
BAD_FLAG = "error: invalid argument: --no-such-flag"
PORT = "OSError: [Errno 98] Address already in use"
NOT_READ_YET = "failed to sync secret cache: timed out waiting for the condition"

AT_8000 = replace(LIMITS, port=8000)
STUCK = {"running_since": NOW - 600, "log_tail": "INFO: Uvicorn running on http://0.0.0.0:8001"}


def test_an_engine_that_listens_on_another_port_is_told_from_one_that_hangs():
    found = diagnose([a_pod(containers=(an_engine(**STUCK),))], AT_8000, NOW)
    assert (found.reason, found.final, found.retryable) == (R.PORT_MISMATCH, True, False)
    assert "listens on port 8001, and is asked on port 8000" in found.message and "8001" in found.evidence[0]
    right = replace(AT_8000, port=8001)
    assert diagnose([a_pod(containers=(an_engine(**STUCK),))], right, NOW).reason is R.PROBE_NEVER_PASSED
    itself = an_engine(running_since=NOW - 600, log_tail="Uvicorn running on http://127.0.0.1:8001")
    assert "for its own pod only" in diagnose([a_pod(containers=(itself,))], right, NOW).message


def test_a_slow_start_that_says_something_new_is_never_given_up_and_one_that_falls_silent_is():
    for hours in (1, 5, 20):
        engine = an_engine(running_since=NOW - 3600 * hours, progressed_at=NOW - 599, log_tail="loading")
        found = diagnose([a_pod(containers=(engine,))], LIMITS, NOW)
        assert (found.reason, found.final) == (R.ENGINE_STARTING, False) and "makes progress" in found.message
        assert next_deadline([a_pod(containers=(engine,))], LIMITS, NOW) == NOW + 1
    silent = an_engine(running_since=NOW - 7200, progressed_at=NOW - 600, log_tail="loading")
    assert diagnose([a_pod(containers=(silent,))], LIMITS, NOW).reason is R.PROBE_NEVER_PASSED


def test_a_node_that_does_not_answer_is_named_before_what_its_pods_once_said():
    engine = an_engine(running_since=NOW - 9000, started=True)
    found = diagnose([a_pod(node_silent_since=NOW - 45, containers=(engine,))], SERVED, NOW)
    assert (found.reason, found.final, found.retryable) == (R.NODE_LOST, False, True)
    assert "Node node-1" in found.message and "45 s" in found.message
    assert diagnose([a_pod(ready=True, node_silent_since=NOW - 1)], SERVED, NOW) is None


def test_the_run_before_explains_one_that_said_nothing():
    mute = an_engine(terminated=ended(1), last=ended(1), restarts=1, log_tail="", earlier_log=PORT)
    assert diagnose([a_pod(containers=(mute,))], LIMITS, NOW).reason is R.PORT_IN_USE


def test_an_image_that_is_still_being_fetched_has_half_an_hour():
    pulling = (EventFacts("Scheduled", "x", False), EventFacts("Pulling", 'Pulling image "x:1"', False))
    for waited_s, reason in ((301, None), (1801, R.START_DEADLINE_EXCEEDED)):
        found = diagnose([a_pod(scheduled_at=NOW - waited_s, events=pulling)], LIMITS, NOW)
        assert (found.reason if found else None) == reason


ROWS = [
    ("a pod that answers", a_pod(ready=True), None, None),
    ("a pod that goes", a_pod(deleting=True, containers=(an_engine(terminated=ended(1)),)), None, None),
    ("a pod that starts", a_pod(containers=(an_engine(running_since=NOW - 5),)), None, None),
    ("no room yet", a_pod(scheduled=False, created_at=NOW - 599), R.NO_CAPACITY, False),
    ("no room at the deadline", a_pod(scheduled=False, created_at=NOW - 600), R.NO_CAPACITY, True),
    ("a pod that a queue holds back", a_pod(scheduled=None, scheduled_at=None), None, None),
    ("the first failed pull", a_pod(containers=(an_engine(waiting_reason="ErrImagePull", waiting_message="refused"),)), R.IMAGE_PULL_FAILED, False),
    ("pulls in back-off", a_pod(containers=(an_engine(waiting_reason="ImagePullBackOff"),)), R.IMAGE_PULL_FAILED, True),
    ("an image that does not exist", a_pod(containers=(an_engine(waiting_reason="ImagePullBackOff"),), events=(PULL,)), R.IMAGE_NOT_FOUND, True),
    ("an image name that cannot be", a_pod(containers=(an_engine(waiting_reason="InvalidImageName"),)), R.IMAGE_NOT_FOUND, True),
    ("an image that may not be pulled and is not there", a_pod(containers=(an_engine(waiting_reason="ErrImageNeverPull"),)), R.IMAGE_NOT_FOUND, True),
    (
        "no such program",
        a_pod(containers=(an_engine(terminated=ended(128, "StartError", "exec: x: executable file not found")),)),
        R.IMAGE_NOT_EXECUTABLE,
        True,
    ),
    (
        "another architecture",
        a_pod(containers=(an_engine(waiting_reason="RunContainerError", waiting_message="exec format error"),)),
        R.IMAGE_NOT_EXECUTABLE,
        True,
    ),
    (
        "a Secret of the engine that is missing",
        a_pod(containers=(an_engine(waiting_reason="CreateContainerConfigError", waiting_message='secret "x" not found'),)),
        R.INVALID_SPEC,
        True,
    ),
    (
        "the token's Secret that is missing",
        a_pod(containers=(fetch(waiting_reason="CreateContainerConfigError", waiting_message='secret "x" not found'),)),
        R.TOKEN_MISSING,
        True,
    ),
    (
        "a Secret that the node has not read yet",
        a_pod(containers=(an_engine(waiting_reason="CreateContainerConfigError", waiting_message=NOT_READ_YET),)),
        None,
        None,
    ),
    (
        "a Secret that the node could not read in time",
        a_pod(scheduled_at=NOW - 300, containers=(an_engine(waiting_reason="CreateContainerConfigError", waiting_message=NOT_READ_YET),)),
        R.START_DEADLINE_EXCEEDED,
        True,
    ),
    ("out of memory while loading", a_pod(containers=(an_engine(terminated=ended(137, "OOMKilled")),)), R.HOST_OUT_OF_MEMORY, True),
    ("out of memory of a child, exit code 0", a_pod(containers=(an_engine(terminated=ended(0, "OOMKilled")),)), R.HOST_OUT_OF_MEMORY, True),
    (
        "out of memory, started again",
        a_pod(containers=(an_engine(running_since=NOW, last=ended(137, "OOMKilled"), restarts=1),)),
        R.HOST_OUT_OF_MEMORY,
        True,
    ),
    (
        "weights denied for good",
        a_pod(containers=(fetch(terminated=ended(3, message=told("GatedAccessDenied", False))),)),
        R.GATED_ACCESS_DENIED,
        True,
    ),
    ("weights that may come", a_pod(containers=(fetch(terminated=ended(1, message=told("HubUnavailable", True))),)), R.HUB_UNAVAILABLE, False),
    (
        "weights that did not come three times",
        a_pod(containers=(fetch(terminated=ended(1, message=told("NodeDiskFull", True)), restarts=3),)),
        R.NODE_DISK_FULL,
        True,
    ),
    ("a fetch that left no message", a_pod(containers=(fetch(terminated=ended(1, message="Traceback")),)), R.HUB_UNAVAILABLE, False),
    ("an engine within its budget", a_pod(containers=(an_engine(running_since=NOW - 599),)), None, None),
    ("an engine at the end of its budget", a_pod(containers=(an_engine(running_since=NOW - 600),)), R.PROBE_NEVER_PASSED, True),
    (
        "an engine that the kubelet gave up",
        a_pod(containers=(an_engine(last=ended(137, ran_s=700), restarts=1),), events=(PROBE,)),
        R.PROBE_NEVER_PASSED,
        True,
    ),
    ("an engine that answered and is busy now", a_pod(containers=(an_engine(running_since=NOW - 6000, started=True),)), None, None),
    ("one crash", a_pod(containers=(an_engine(terminated=ended(1)),)), R.ENGINE_EXITED, False),
    ("three crashes", a_pod(containers=(an_engine(waiting_reason="CrashLoopBackOff", last=ended(1), restarts=3),)), R.CRASH_LOOP, True),
    ("one crash with a cause that cannot mend", a_pod(containers=(an_engine(terminated=ended(1), log_tail=BAD_FLAG),)), R.BAD_ENGINE_ARGUMENT, True),
    ("one crash with a cause that may mend", a_pod(containers=(an_engine(terminated=ended(1), log_tail=PORT),)), R.PORT_IN_USE, False),
    (
        "three crashes with a cause that may mend",
        a_pod(containers=(an_engine(waiting_reason="CrashLoopBackOff", last=ended(1), restarts=3, log_tail=PORT),)),
        R.PORT_IN_USE,
        True,
    ),
    (
        "three crashes with an exception",
        a_pod(containers=(an_engine(terminated=ended(1), restarts=3, log_tail="KeyError: 'x'"),)),
        R.CRASH_LOOP,
        True,
    ),
    ("a cause in the termination message", a_pod(containers=(an_engine(terminated=ended(1, message=BAD_FLAG)),)), R.BAD_ENGINE_ARGUMENT, True),
    (
        "a driver that the runtime finds too old",
        a_pod(containers=(an_engine(terminated=ended(128, "StartError", "requirement error: unsatisfied condition: cuda>=12.9")),)),
        R.DRIVER_MISMATCH,
        True,
    ),
    ("a bus error", a_pod(containers=(an_engine(terminated=ended(135)),)), R.SHARED_MEMORY_TOO_SMALL, False),
    ("a segmentation fault", a_pod(containers=(an_engine(terminated=ended(139)),)), R.ENGINE_EXITED, False),
    ("killed by nobody that says so", a_pod(containers=(an_engine(terminated=ended(137)),)), R.HOST_OUT_OF_MEMORY, False),
    ("killed for its liveness probe", a_pod(containers=(an_engine(last=ended(137), restarts=1),), events=(LIVENESS,)), R.PROBE_NEVER_PASSED, False),
    ("a child killed by the kernel", a_pod(containers=(an_engine(terminated=ended(1)),), events=(KERNEL,)), R.HOST_OUT_OF_MEMORY, False),
    (
        "put out of its node",
        a_pod(deleting=True, phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        R.EVICTED,
        False,
    ),
    ("a node that is gone", a_pod(deleting=True, phase="Failed", reason="DeletionByTaintManager"), R.NODE_LOST, False),
    ("placed, nothing started yet", a_pod(scheduled_at=NOW - 299), None, None),
    ("placed, nothing started in time", a_pod(scheduled_at=NOW - 300, events=(MOUNT,)), R.START_DEADLINE_EXCEEDED, True),
]


@pytest.mark.parametrize(("pod", "reason", "final"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_happens_to_a_pod_has_one_cause(pod, reason, final):
    finding = diagnose([pod], LIMITS, NOW)
    assert (finding.reason, finding.final) == (reason, final) if reason else finding is None


@pytest.mark.parametrize(
    ("container", "final"),
    [
        (an_engine(running_since=NOW, last=ended(137, "OOMKilled"), restarts=1), False),
        (an_engine(running_since=NOW, last=ended(1), restarts=9), False),
        (an_engine(waiting_reason="CrashLoopBackOff", last=ended(1), restarts=3), True),
    ],
    ids=["one out of memory", "nine restarts over months", "in back-off again"],
)
def test_an_engine_that_has_served_is_not_given_up_for_one_crash(container, final):
    finding = diagnose([a_pod(containers=(container,))], SERVED, NOW)
    assert finding is not None and finding.final is final and finding.retryable


def test_an_engine_that_has_served_is_not_given_up_for_a_cause_of_its_log():
    crashed = a_pod(containers=(an_engine(terminated=ended(1), log_tail=BAD_FLAG),))
    assert diagnose([crashed], LIMITS, NOW).final and not diagnose([crashed], LIMITS, NOW).retryable
    assert not diagnose([crashed], SERVED, NOW).final and diagnose([crashed], SERVED, NOW).retryable


def test_the_line_that_proves_a_cause_is_the_first_evidence():
    found = diagnose([a_pod(containers=(an_engine(terminated=ended(1), log_tail=f"noise\n{BAD_FLAG}\nmore"),))], LIMITS, NOW)
    assert found.evidence == (BAD_FLAG, "engine: Error, exit code 1")
    assert "Container engine ended once" in found.message and BAD_FLAG in found.message
    assert found.next_step == "Correct spec.engine.args or spec.engine.env."


def test_a_pod_that_was_put_out_does_not_hide_what_the_next_one_meets():
    gone = a_pod(deleting=True, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    assert diagnose([gone, a_pod(containers=(an_engine(running_since=NOW - 5),))], LIMITS, NOW) is None


def test_a_final_cause_goes_before_one_that_still_waits():
    waits = a_pod(scheduled=False, created_at=NOW)
    lost = a_pod(containers=(an_engine(terminated=ended(137, "OOMKilled")),))
    assert diagnose([waits, lost], LIMITS, NOW).reason == R.HOST_OUT_OF_MEMORY


def test_a_message_that_waits_does_not_change_with_every_second():
    pod = a_pod(scheduled=False, created_at=NOW)
    assert diagnose([pod], LIMITS, NOW + 1).message == diagnose([pod], LIMITS, NOW + 2).message


def test_a_log_tail_keeps_the_end_and_loses_the_secrets():
    log = "x" * 5000 + "\nlast line with Bearer abcdefghijkl"
    found = diagnose([a_pod(containers=(an_engine(terminated=ended(1), log_tail=log),))], LIMITS, NOW)
    assert found.log_tail.endswith("\nlast line with Bearer ***") and len(found.log_tail) <= 2048


@pytest.mark.parametrize(
    ("container", "wanted"),
    [
        (an_engine(ready=True, last=ended(1)), False),
        (an_engine(running_since=NOW - 5), False),
        (an_engine(terminated=ended(1)), True),
        (an_engine(running_since=NOW - 600), True),
        (an_engine(running_since=NOW - 600, started=True), False),
    ],
    ids=["it answers", "it starts", "it ended", "it never answered", "it answered before"],
)
def test_logs_are_asked_for_only_where_they_tell_of_a_failure(container, wanted):
    assert wants_log(container, LIMITS, NOW) is wanted


@pytest.mark.parametrize(
    ("pod", "in_s"),
    [
        (a_pod(ready=True), None),
        (a_pod(scheduled=False, scheduled_at=None, created_at=NOW - 100), 500),
        (a_pod(scheduled_at=NOW - 100), 200),
        (a_pod(scheduled_at=NOW - 400, containers=(an_engine(running_since=NOW - 100),)), 500),
        (a_pod(scheduled_at=NOW - 400, containers=(an_engine(running_since=NOW - 100, restarts=2, last=ended(1)),)), 500),
        (a_pod(scheduled_at=NOW - 400, containers=(an_engine(running_since=NOW - 100, started=True),)), None),
    ],
    ids=["it answers", "no room", "nothing started", "the engine starts", "the engine starts again", "the engine was healthy"],
)
def test_an_endpoint_is_looked_at_again_when_its_next_deadline_comes(pod, in_s):
    assert next_deadline([pod], LIMITS, NOW) == (None if in_s is None else NOW + in_s)
