"""`dedicated diagnose`: files in, one cause out."""

from __future__ import annotations

import json

import pytest
import yaml
from typer.testing import CliRunner

from dedicated.cli import app
from dedicated.diagnosis.lines import MAX_BYTES

KV = "ValueError: No available memory for the cache blocks."
UP = "INFO:     Application startup complete."


def status(**changes):
    return {"name": "engine", "ready": False, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, **changes}


def ended(code, reason="Error"):
    return {"terminated": {"reason": reason, "exitCode": code}}


@pytest.fixture
def diagnose(tmp_path):
    """Runs the command; each of log, pod and events is written to a file first."""

    def run(*args, stdin=None, **files):
        options = []
        for name, content in files.items():
            path = tmp_path / name
            path.write_bytes(content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode())
            options += [f"--{name}", str(path)]
        return CliRunner().invoke(app, ["diagnose", *options, *args], input=stdin)

    return run


def told(done):
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_the_answer_as_json(diagnose):
    found = told(diagnose("-o", "json", log=f"noise\n{KV}\n"))
    assert set(found) == {"reason", "retryable", "message", "nextStep", "evidence", "class"}
    assert (found["reason"], found["class"], found["retryable"]) == ("KvCacheTooSmall", "kv_too_small", False)
    assert found["evidence"] == [KV]


def test_a_healthy_log_has_no_reason(diagnose):
    found = told(diagnose("--output=json", log=UP))
    assert (found["reason"], found["class"], found["retryable"], found["evidence"]) == (None, "none_healthy", False, [])


def test_the_answer_for_people(diagnose):
    said = diagnose(log=KV).output
    assert said.startswith("KvCacheTooSmall (kv_too_small): ") and f"Evidence\n  {KV}" in said and "Next: Lower" in said
    assert diagnose(log=UP).output == "Nothing in it says that the engine failed.\n"


def test_a_log_comes_from_standard_input_too(diagnose):
    assert told(diagnose("--log", "-", "-o", "json", stdin=KV))["class"] == "kv_too_small"


def test_bytes_that_are_no_text_and_colours_are_no_hindrance(diagnose):
    assert told(diagnose("-o", "json", log=b"\xff\xfe\n\x1b[31m" + KV.encode() + b"\x1b[0m\n\xc3"))["class"] == "kv_too_small"


def test_of_a_huge_log_the_end_is_read(diagnose):
    huge = KV.encode() + b"\n" + b"x" * MAX_BYTES + b"\nOSError: [Errno 98] Address already in use\n"
    assert told(diagnose("-o", "json", log=huge))["class"] == "port_in_use"


def test_secrets_do_not_pass(diagnose):
    done = diagnose(log="OSError: [Errno 98] Address already in use: --api-key supersecret1 hf_abcdefghijklmnop")
    assert "supersecret1" not in done.output and "hf_abc" not in done.output


PODS = [
    ("a Pod", lambda part: {"kind": "Pod", "metadata": {"name": "p"}, "spec": {}, "status": {"containerStatuses": [part]}}),
    ("a PodStatus", lambda part: {"phase": "Running", "containerStatuses": [part]}),
    ("a fragment", lambda part: {"containerStatuses": [part]}),
    ("a list of Pods", lambda part: {"kind": "List", "items": [{"metadata": {"name": "p"}, "status": {"containerStatuses": [part]}}]}),
]


@pytest.mark.parametrize("form", [row[1] for row in PODS], ids=[row[0] for row in PODS])
@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump], ids=["JSON", "YAML"])
def test_a_pod_in_any_form_goes_before_the_text(diagnose, form, write):
    found = told(diagnose("-o", "json", log=KV, pod=write(form(status(lastState=ended(137, "OOMKilled"))))))
    assert (found["reason"], found["class"], found["retryable"]) == ("HostOutOfMemory", "host_oom", True)
    assert found["evidence"] == ["engine: OOMKilled, exit code 137", "engine: 3 restarts"]


CASES = [
    ("the text says why it ended", status(lastState=ended(1)), KV, "KvCacheTooSmall", "kv_too_small"),
    ("a child killed for memory while the first process ends with 0", status(lastState=ended(0, "OOMKilled")), UP, "HostOutOfMemory", "host_oom"),
    ("nobody says why it ended", status(lastState=ended(7)), "x", "CrashLoop", "python_exception_other"),
    ("killed, and nothing says by whom", status(lastState=ended(137)), "loading", "HostOutOfMemory", "host_oom"),
    ("a bus error by its exit code", status(lastState=ended(135)), "loading", "SharedMemoryTooSmall", "shm_too_small"),
    ("ended as it was told to", status(restartCount=0, state=ended(143)), f"{UP}\nINFO:     Shutting down", None, "none_healthy"),
    ("ended well", status(restartCount=0, state=ended(0, "Completed")), UP, None, "none_healthy"),
    ("it serves, whatever the log says", status(ready=True, restartCount=0, state={"running": {}}), KV, None, "none_healthy"),
    ("an image that does not come", status(state={"waiting": {"reason": "ImagePullBackOff"}}), "", "ImagePullFailed", "image_or_exec_error"),
    ("only a back-off", status(), KV, "KvCacheTooSmall", "kv_too_small"),
]


@pytest.mark.parametrize(("part", "log", "reason", "coarse"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_what_pod_and_log_say_together(diagnose, part, log, reason, coarse):
    found = told(diagnose("-o", "json", log=log, pod={"containerStatuses": [part]}))
    assert (found["reason"], found["class"]) == (reason, coarse)


def event(reason, message, kind="Warning"):
    return {"reason": reason, "message": message, "type": kind, "metadata": {}}


EVENTS = [
    (
        "the kernel killed a child",
        event("OOMKilling", "Memory cgroup out of memory: Killed process 31 (VLLM::EngineCor)"),
        "HostOutOfMemory",
        "host_oom",
    ),
    (
        "the kubelet killed it for its probe",
        event("Killing", "Container engine failed liveness probe, will be restarted", "Normal"),
        "ProbeNeverPassed",
        None,
    ),
]


@pytest.mark.parametrize(("told_event", "reason", "coarse"), [row[1:] for row in EVENTS], ids=[row[0] for row in EVENTS])
def test_events_explain_an_end_that_the_log_does_not(diagnose, told_event, reason, coarse):
    pod = {"containerStatuses": [status(lastState=ended(137))]}
    found = told(diagnose("-o", "json", log=UP, pod=pod, events={"kind": "EventList", "items": [told_event]}))
    assert found["reason"] == reason and (coarse is None or found["class"] == coarse)


def test_events_alone_name_a_cause_too(diagnose):
    pull = event("Failed", 'Failed to pull image "x:1": rpc error: code = NotFound desc = x:1: not found')
    assert told(diagnose("-o", "json", log="", events=[pull]))["reason"] == "ImageNotFound"


@pytest.mark.parametrize(
    ("message", "coarse"),
    [("The node was low on resource: ephemeral-storage.", "disk_full"), ("The node was low on resource: memory.", "host_oom")],
)
def test_an_evicted_pod_says_of_what_its_node_was_short(diagnose, message, coarse):
    found = told(diagnose("-o", "json", log="", pod={"phase": "Failed", "reason": "Evicted", "message": message}))
    assert (found["reason"], found["class"], found["retryable"]) == ("Evicted", coarse, True)
    assert message in found["message"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"log": "x", "pod": "{"}, "The pod"),
        ({"log": "x", "pod": "- a\n- b"}, "it holds no object"),
        ({"log": "x", "pod": {"containerStatuses": "many"}}, "containerStatuses is no list of objects"),
        ({"log": "x", "pod": {"containerStatuses": [{"name": "e", "state": "running"}]}}, "the state of container e is no object"),
        ({"log": "x", "events": "just words"}, "it holds no list of Events"),
        ({"log": "x", "events": {"items": [1]}}, "it holds no list of Events"),
    ],
    ids=["broken JSON", "a list of words", "no list", "no state", "words for events", "numbers for events"],
)
def test_files_that_are_something_else_are_named_in_one_sentence(diagnose, files, says):
    done = diagnose(**files)
    assert done.exit_code == 2 and says in done.output and len(done.output.splitlines()) == 1


def test_files_that_are_not_there_are_named(diagnose, tmp_path):
    missing = diagnose("--log", str(tmp_path / "nobody"))
    assert missing.exit_code == 2 and "nobody cannot be read: No such file or directory." in missing.output
    folder = diagnose("--log", str(tmp_path))
    assert folder.exit_code == 2 and "cannot be read" in folder.output
    assert diagnose("--pod", str(tmp_path / "nobody"), log="x").exit_code == 2


def test_it_needs_a_log(diagnose):
    assert diagnose().exit_code == 2
