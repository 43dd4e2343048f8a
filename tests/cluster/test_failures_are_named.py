"""What fails on a real kubelet says its one cause, gives its hardware back, and starts by itself when the cause is gone."""

from __future__ import annotations

import json
import re
import subprocess

import httpx
import pytest

from dedicated.api.conditions import find
from dedicated.api.status import ConditionType
from dedicated.render.engines import WEIGHTS_DIR
from hack.cluster import devices
from hack.cluster.layout import Layout
from hack.demo import forwarded
from hack.install import HUB
from tests.support.cluster import endpoint, needs_bare, sample, wait_until
from tests.support.node import process_of
from tests.support.pods import pods

OURS = "inference.dedicated.dev/endpoint-id"


def gave_its_hardware_back(kubectl) -> bool:
    return all(found["spec"]["replicas"] == 0 for found in kubectl.all("deployment", OURS)) and not kubectl.all("pod", OURS)


def failed(kubectl, name, reason, timeout_s=60):
    status = kubectl.wait(name, f"failed {reason}", timeout_s)
    wait_until("the hardware to be given back", lambda: gave_its_hardware_back(kubectl), 60)
    return status.diagnosis


def test_an_image_that_does_not_exist(kubectl):
    kubectl.apply(sample("wrong-image"))
    found = failed(kubectl, "wrong-image", "ImagePullFailed")
    assert "localhost/nobody/nothing:1" in found.message and found.next_attempt_at


def test_a_flag_that_the_engine_does_not_know_is_named_and_not_tried_again(kubectl):
    kubectl.apply(sample("wrong-flag"))
    found = failed(kubectl, "wrong-flag", "BadEngineArgument", 90)
    assert (found.container, found.exit_code, found.retryable, found.next_attempt_at) == ("engine", 1, False, None)
    assert "invalid argument: --no-such-flag" in found.evidence[0] and "invalid argument: --no-such-flag" in found.log_tail


def test_an_exit_code_on_demand_is_reported_and_secrets_in_the_log_are_not(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub("--log-text=loading with hf_abcdefghijklmnop", "--exit-after=100ms", "--exit-code=42")))
    found = failed(kubectl, "one", "CrashLoop", 90)
    assert found.exit_code == 42
    assert "loading with hf_***" in found.log_tail and "hf_abc" not in found.log_tail


def test_an_engine_that_never_becomes_healthy(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub("--start-delay=1h")))
    found = failed(kubectl, "one", "ProbeNeverPassed", 90)
    assert "never answered its health check" in found.message and "serving stub on port 8000" in found.log_tail


def test_an_engine_that_listens_on_another_port_is_told_so_and_not_tried_again(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub("--port=8001")))
    found = failed(kubectl, "one", "PortMismatch", 90)
    assert "listens on port 8001, and is asked on port 8000" in found.message and not found.retryable


def test_too_little_memory_is_an_out_of_memory_not_an_exit_code(kubectl):
    """Weights are mapped, and the kernel may drop and read them again: what does not fit must be the engine's own, such as its vocabulary."""
    small = sample("gemma")
    small["spec"]["hardware"]["memory"] = "32Mi"
    kubectl.apply(small)
    found = failed(kubectl, "gemma", "HostOutOfMemory", 90)
    assert not found.retryable and found.next_attempt_at is None


@pytest.fixture
def slow_contents(installation):
    """The hub lets wait for the contents of large files; it does so no more after the test."""
    with forwarded(installation, "service/hub", HUB) as port:
        faults = f"http://127.0.0.1:{port}/control/faults"
        httpx.post(faults, json=[{"kind": "content", "delay_s": 5.0}]).raise_for_status()
        yield
        httpx.post(faults, json=[]).raise_for_status()


def fetching(pod) -> int | None:
    """The process that fetches a pod's weights."""
    return process_of(pod, "dedicated fetch")


@needs_bare
def test_a_disk_that_fills_up_while_weights_come_is_named_and_tried_again(kubectl, stub, slow_contents):
    """A disk of 16 MiB takes the place of the pod's own while the fetch waits for the hub; the next start has the pod's own again."""
    kubectl.apply(endpoint("one", engine=stub(), model=sample("gemma")["spec"]["model"]))
    wait_until("the fetch to run", lambda: any(map(fetching, pods(kubectl))), 60)
    (pid,) = map(fetching, pods(kubectl))
    small = ["mount", "-t", "tmpfs", "-o", "size=16M,mode=1777", "tmpfs", WEIGHTS_DIR]
    subprocess.run(["nsenter", "--target", str(pid), "--mount", *small], check=True)

    told = kubectl.wait("one", "building NodeDiskFull", 60)
    message = find(told.conditions, ConditionType.READY).message
    assert re.search(r"The disk is full: gemma-3-270m\S* needs [\d.]+ MiB more", message), message
    assert kubectl.wait("one", "up AllReady", 120).diagnosis is None


def test_a_token_secret_that_is_missing_in_the_pod_is_named(kubectl):
    manifest = sample("gemma")
    manifest["spec"]["model"]["tokenSecretRef"] = {"name": "nobody"}
    kubectl.apply(manifest)
    assert "Secret nobody does not exist" in failed(kubectl, "gemma", "TokenMissing").message


def test_weights_that_may_not_be_read_are_refused_before_any_pod_and_a_token_mends_it(kubectl):
    """Metadata of a gated model is public, so the operator resolves it; that its files may be read is proven before a pod is made."""
    manifest = sample("gemma")
    manifest["spec"]["model"]["huggingFace"]["repo"] = "dedicated-demo/gated"
    kubectl.apply(manifest)
    found = failed(kubectl, "gemma", "TokenMissing", 60)
    assert (found.container, found.exit_code, found.retryable) == (None, None, False)
    assert "dedicated-demo/gated is gated" in found.message and not kubectl.all("deployment", OURS)
    kubectl.must("create", "secret", "generic", "hub-token", "--from-literal=HF_TOKEN=hf_demo_reader")
    kubectl.must("label", "secret", "hub-token", "inference.dedicated.dev/use=hub-token")
    manifest["spec"]["model"]["tokenSecretRef"] = {"name": "hub-token"}
    kubectl.apply(manifest)
    found = failed(kubectl, "gemma", "WeightsCorrupt", 90)  # its file is no model
    assert "invalid magic" in found.evidence[0]
    assert found.container == "engine" and "hf_demo_reader" not in str(found)


@pytest.fixture
def gpus(kubectl, installation):
    """Sets how many GPUs the cluster's node has, and puts them back."""

    def become(count: int) -> None:
        if installation.target.provider == "bare":
            devices.set_gpu_count(Layout(installation.target.name), count)
            return
        node = kubectl.must("get", "nodes", "--selector=nvidia.com/gpu.present=true", "-o=jsonpath={.items[0].metadata.name}")
        patch = json.dumps({"status": {"capacity": {"nvidia.com/gpu": str(count)}}})
        kubectl.must("patch", "node", node, "--subresource=status", "--type=merge", f"-p={patch}")

    yield become
    become(2)


def test_no_room_is_waited_for_then_given_up_then_tried_at_once_when_a_node_grows(kubectl, stub, gpus):
    kubectl.apply(endpoint("one", engine=stub(), hardware={"count": 8, "cpu": "10m", "memory": "64Mi"}))
    assert "No node has room" in kubectl.wait("one", "building NoCapacity").conditions[0].message
    failed(kubectl, "one", "NoCapacity")
    gpus(8)
    kubectl.wait("one", "up AllReady", 30)
    kubectl.must("delete", "inferenceendpoint", "one")


def test_a_child_that_is_killed_for_memory_is_an_out_of_memory_whatever_the_engine_exits_with(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub("--allocate=256Mi", "--allocate-in=child", "--child-exit=exit")))
    found = failed(kubectl, "one", "HostOutOfMemory", 90)
    assert "used more memory than its limit" in found.message and not found.retryable


def test_an_engine_that_takes_too_much_memory_itself_is_an_out_of_memory(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub("--allocate=256Mi")))
    assert failed(kubectl, "one", "HostOutOfMemory", 90).exit_code == 137


def test_an_engine_that_accepts_and_never_answers_never_becomes_healthy(kubectl, stub):
    kubectl.apply(endpoint("one", engine=stub("--hang=all")))
    failed(kubectl, "one", "ProbeNeverPassed", 90)


def test_an_engine_that_is_mute_on_its_api_but_healthy_is_up(kubectl, stub):
    """Health is all that is asked of it here: whether an answer comes is for its callers to see."""
    kubectl.apply(endpoint("one", engine=stub("--mute")))
    kubectl.wait("one", "up AllReady")
