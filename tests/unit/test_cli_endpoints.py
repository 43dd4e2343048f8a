"""`dedicated get`, `describe` and `logs` against an API server in memory."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from dedicated.api.endpointlog import Moment, object_name, packed
from dedicated.api.names import endpoint_id
from dedicated.cli import app
from tests.support.fakeapi import serving_api
from tests.support.process import kubeconfig_for

UID = "uid-1"
DIAGNOSIS = {
    "reason": "HostOutOfMemory",
    "message": "Container engine used more memory than its limit.",
    "nextStep": "Raise spec.hardware.memory.",
    "retryable": False,
    "evidence": ["engine: OOMKilled, exit code 137"],
    "container": "engine",
    "exitCode": 137,
    "logTail": "loading\nlast words",
    "attempts": 2,
}


def an_endpoint(name="llama", **status):
    meta = {"name": name, "namespace": "team-a", "uid": UID, "creationTimestamp": "2026-03-01T10:00:00Z"}
    conditions = [
        {"type": "Ready", "status": "False", "reason": "HostOutOfMemory", "message": "It broke.", "lastTransitionTime": "2026-03-01T10:02:00Z"},
        {"type": "Planned", "status": "True", "reason": "AllReady", "lastTransitionTime": "2026-03-01T10:01:00Z"},
    ]
    plan = {"accelerator": "l4", "count": 1, "memory": {"budgetBytes": 22 * 1024**3}}
    found = {"phase": "failed", "id": "endpt-1", "conditions": conditions, "plan": plan, "diagnosis": DIAGNOSIS, **status}
    spec = {"model": {"huggingFace": {"repo": "acme/tiny"}}, "access": {"owner": "alice"}}
    return {"kind": "InferenceEndpoint", "metadata": meta, "spec": spec, "status": found}


def an_event():
    meta = {"name": "e1", "namespace": "team-a"}
    told = {"reason": "HostOutOfMemory", "message": "Failed: it broke.", "lastTimestamp": "2026-03-01T10:03:00Z"}
    return {"kind": "Event", "metadata": meta, "involvedObject": {"uid": UID}, **told}


def a_pod(name="llama-x", **meta):
    labels = {"inference.dedicated.dev/endpoint-id": endpoint_id(UID)}
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "team-a", "labels": labels, **meta}, "status": status}


def a_record(moment, text):
    meta = {"name": object_name("llama", UID, moment), "namespace": "team-a", "ownerReferences": [{"uid": UID}]}
    spec = {"moment": moment, "container": "engine", "pod": "gone-x", "attempt": 2, "exitCode": 137, "encoding": "gzip+base64", "text": packed(text)}
    return {"kind": "EndpointLog", "metadata": meta, "spec": spec}


@pytest.fixture
def api(tmp_path, monkeypatch):
    with serving_api() as running:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig_for(running.url, tmp_path / "kubeconfig")))
        yield running


def dedicated(*args):
    return CliRunner().invoke(app, [*args, "--namespace=team-a"])


def test_endpoints_are_shown_one_a_line_with_phase_and_reason(api):
    api.put(an_endpoint(), an_endpoint("other", phase="up"))
    lines = dedicated("get").stdout.splitlines()
    assert lines[0].split() == ["NAMESPACE", "NAME", "PHASE", "REASON", "MODEL", "ACCELERATOR", "READY", "AGE"]
    assert lines[1].split()[:7] == ["team-a", "llama", "failed", "HostOutOfMemory", "acme/tiny", "l4", "False"]
    (one,) = json.loads(dedicated("get", "llama", "-o", "json").stdout)
    assert (one["phase"], one["reason"], one["id"]) == ("failed", "HostOutOfMemory", "endpt-1")


@pytest.mark.parametrize("command", ["get", "describe", "logs"])
def test_what_does_not_exist_is_exit_code_1_and_what_cannot_be_reached_3(api, command):
    assert dedicated(command, "nobody").exit_code == 1
    api.broken = True
    assert dedicated(command, "nobody").exit_code == 3


def test_no_endpoint_at_all_is_exit_code_1(api):
    assert dedicated("get").exit_code == 1


def test_a_description_tells_timeline_plan_diagnosis_and_last_words(api):
    api.put(an_endpoint(), an_event())
    told = dedicated("describe", "llama").stdout
    parts = ["llama in team-a: failed (HostOutOfMemory)", "Timeline", "Created", "Planned (AllReady)", "Failed: it broke.", "\nPlan\n", "22.0 GiB"]
    parts += ["Diagnosis", "HostOutOfMemory: Container engine used", "exit code 137", "Raise spec.hardware.memory.", "Tried 2 times", "last words"]
    places = [told.index(part) for part in parts]
    assert places == sorted(places)
    found = json.loads(dedicated("describe", "llama", "-o", "json").stdout)
    assert found["diagnosis"]["reason"] == "HostOutOfMemory" and [one["at"] for one in found["timeline"]] == sorted(
        one["at"] for one in found["timeline"]
    )


def test_colours_are_for_terminals_only(api):
    api.put(an_endpoint())
    assert "\x1b[" not in dedicated("describe", "llama").stdout
    coloured = CliRunner().invoke(app, ["describe", "llama", "--namespace=team-a"], color=True).stdout
    assert "\x1b[31m" in coloured and "\x1b[1m" in coloured


def test_the_log_of_a_pod_that_there_is_goes_before_a_record(api):
    api.put(an_endpoint(), a_pod(), a_record(Moment.FAILED, "recorded words"))
    api.logs["llama-x", "engine", "now"] = "serving with hf_abcdefghijklmnop\n"
    found = dedicated("logs", "llama")
    assert found.stdout == "serving with hf_***\n" and "Pod llama-x, container engine" in found.stderr
    told = json.loads(dedicated("logs", "llama", "-o", "json").stdout)
    assert (told["source"], told["pod"]) == ("pod", "llama-x")


def test_without_a_pod_the_record_of_the_last_failure_is_shown_and_says_so(api):
    api.put(an_endpoint(), a_record(Moment.READY, "up"), a_record(Moment.FAILED, "recorded words"))
    found = dedicated("logs", "llama")
    assert found.stdout == "recorded words\n"
    assert "Recorded at the last failure: pod gone-x, container engine, attempt 2 with exit code 137" in found.stderr


def test_the_run_before_is_that_of_the_pod_or_the_one_that_was_recorded(api):
    api.put(an_endpoint(), a_pod(), a_record(Moment.FAILED, "recorded words"))
    assert dedicated("logs", "llama", "--previous").stdout == "recorded words\n"
    api.logs["llama-x", "engine", "previous"] = "crashed"
    assert dedicated("logs", "llama", "--previous").stdout == "crashed\n"


def test_a_log_is_followed_until_it_ends_or_there_is_none(api):
    api.put(an_endpoint(), a_pod())
    api.logs["llama-x", "engine", "now"] = "one\ntwo"
    assert dedicated("logs", "llama", "--follow").stdout == "one\ntwo\n"


def test_no_log_at_all_is_exit_code_1_and_options_that_do_not_go_together_2(api):
    api.put(an_endpoint(), a_pod(deletionTimestamp="2026-03-01T10:00:00Z"))
    assert dedicated("logs", "llama").exit_code == 1
    assert dedicated("logs", "llama", "--follow", "--previous").exit_code == 2
    assert CliRunner().invoke(app, ["get", "llama", "-A"]).exit_code == 2
