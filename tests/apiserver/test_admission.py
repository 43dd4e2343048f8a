"""Bad manifests are refused at the door with a sentence that names the field; good ones get their defaults."""

from __future__ import annotations

import copy

import pytest
import yaml

from hack.tools import REPO
from tests.support.cluster import endpoint, sample

SAMPLES = sorted(path.stem for path in (REPO / "crds" / "samples").glob("*.yaml"))
GEMMA = {"huggingFace": {"repo": "acme/tiny"}}
LLAMACPP = {"kind": "llamacpp"}
CUSTOM = {"kind": "custom", "image": "x", "port": 1, "healthPath": "/"}

BAD = [
    ("no owner", {"access": {}}, "spec.access.owner"),
    ("no model for an engine that needs one", {"engine": LLAMACPP}, "spec.model is required unless spec.engine.kind is custom"),
    ("a model without a source", {"model": {}}, "spec.model needs exactly one source"),
    ("a model with two sources", {"model": {**GEMMA, "s3": {"uri": "s3://bucket/x"}}}, "spec.model needs exactly one source"),
    ("a repository with a space", {"model": {"huggingFace": {"repo": "a b/c"}}}, "spec.model.huggingFace.repo"),
    ("an S3 URI without a bucket", {"model": {"s3": {"uri": "s3://"}}}, "spec.model.s3.uri"),
    ("an unknown engine", {"engine": {"kind": "vlm"}}, "spec.engine.kind"),
    ("custom without a port", {"engine": {"kind": "custom", "image": "x", "healthPath": "/"}}, "custom needs image, port and healthPath"),
    ("custom without a health path", {"engine": {"kind": "custom", "image": "x", "port": 1}}, "custom needs image, port and healthPath"),
    ("custom without an image", {"engine": {"kind": "custom", "port": 1, "healthPath": "/"}}, "custom needs image, port and healthPath"),
    (
        "a port for another engine",
        {"model": GEMMA, "engine": {**LLAMACPP, "port": 1}},
        "spec.engine.port and spec.engine.healthPath belong to kind custom",
    ),
    ("a port out of range", {"engine": {**CUSTOM, "port": 70000}}, "spec.engine.port"),
    ("a health path without a slash", {"engine": {**CUSTOM, "healthPath": "health"}}, "spec.engine.healthPath"),
    ("a context of zero tokens", {"engine": {**CUSTOM, "maxModelLen": 0}}, "spec.engine.maxModelLen"),
    ("cpu beside another accelerator", {"hardware": {"accelerators": ["cpu", "h100"]}}, "cpu stands alone"),
    ("cpu with a count", {"hardware": {"accelerators": ["cpu"], "count": 1}}, "spec.hardware.count counts accelerators"),
    ("cpu for vllm", {"model": GEMMA, "engine": {"kind": "vllm"}}, "accelerators [cpu] runs with spec.engine.kind llamacpp or custom"),
    ("no GPUs at all", {"hardware": {"count": 0}}, "spec.hardware.count"),
    ("memory that is no quantity", {"hardware": {"memory": "lots"}}, "spec.hardware.memory"),
    ("no replicas", {"replicas": 0}, "spec.replicas"),
    ("a duration without a unit", {"scaling": {"idleAfter": "15"}}, "spec.scaling.idleAfter"),
    ("asleep after a moment", {"scaling": {"idleAfter": "10s"}}, "spec.scaling.idleAfter must be 0s (never sleep) or at least 60s"),
    ("a hold of an hour", {"wake": {"maxHold": "1h"}}, "spec.wake.maxHold must be at most 15m"),
    ("a default hold above the highest", {"wake": {"hold": "5m", "maxHold": "1m"}}, "spec.wake.hold must not be longer than spec.wake.maxHold"),
    ("a drain of a day", {"update": {"drain": "24h"}}, "spec.update.drain must be at most 1h"),
    ("an unknown strategy", {"update": {"strategy": "canary"}}, "spec.update.strategy"),
    ("shared without a name", {"access": {"owner": "a", "visibility": "shared"}}, "spec.access.displayName is required where visibility is shared"),
    ("a price below zero", {"hardware": {"accelerators": ["cpu"], "maxPricePerHour": -1}}, "spec.hardware.maxPricePerHour"),
    ("a toleration with an unknown effect", {"hardware": {"tolerations": [{"key": "a", "effect": "Never"}]}}, "spec.hardware.tolerations"),
]


@pytest.mark.parametrize(("spec", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_manifest_is_refused_with_a_sentence_that_names_the_field(kubectl_shared, spec, says):
    assert says in kubectl_shared.refused(endpoint("bad", **spec))


@pytest.mark.parametrize("name", ["Upper", "9lives", "has.dot", "x" * 64])
def test_a_name_that_cannot_name_a_service_is_refused(kubectl_shared, name):
    said = kubectl_shared.refused(endpoint(name))
    assert "metadata.name" in said or "Invalid value" in said


def test_a_misspelt_field_is_refused_by_name(kubectl_shared):
    assert 'unknown field "spec.replcas"' in kubectl_shared.refused(endpoint("bad", replcas=2))


@pytest.fixture(scope="module")
def kubectl_shared(plane):
    from tests.support.cluster import Kubectl

    found = Kubectl(plane.kubeconfig, "admission")
    found.must("create", "namespace", "admission")
    yield found
    found.must("delete", "inferenceendpoints", "--all")
    found.must("delete", "namespace", "admission", "--wait=false")


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_is_accepted(kubectl_shared, name):
    kubectl_shared.apply(sample(name))


def test_defaults_are_filled_in_by_the_api_server(kubectl_shared):
    kubectl_shared.apply(endpoint("defaults", update=None))
    spec = kubectl_shared.get("inferenceendpoint", "defaults")["spec"]
    assert spec["replicas"] == 1 and spec["suspend"] is False
    assert spec["scaling"] == {"idleAfter": "15m", "minAwake": "5m"}
    assert spec["wake"] == {"hold": "0s", "maxHold": "10m", "maxHeldRequests": 100, "maxHeldBytes": "64Mi"}
    assert spec["update"] == {"strategy": "surge", "drain": "2m"}
    assert spec["access"]["visibility"] == "private"


def test_numbers_may_be_written_without_quotes(kubectl_shared):
    manifest = endpoint("numbers", hardware={"accelerators": ["cpu"], "cpu": 2, "memory": "1Gi"})
    kubectl_shared.apply(manifest)
    assert kubectl_shared.get("inferenceendpoint", "numbers")["spec"]["hardware"]["cpu"] == 2


def test_a_user_cannot_write_the_status(kubectl_shared):
    manifest = copy.deepcopy(endpoint("no-status"))
    manifest["status"] = {"phase": "up"}
    kubectl_shared.apply(manifest)
    assert "status" not in kubectl_shared.get("inferenceendpoint", "no-status")


def test_every_field_is_explained(kubectl_shared):
    said = kubectl_shared.must("explain", "inferenceendpoint.spec", "--recursive=false")
    for field in ("model", "engine", "hardware", "replicas", "scaling", "wake", "update", "access", "suspend"):
        assert field in said
    crd = yaml.safe_load((REPO / "crds" / "inferenceendpoints.inference.dedicated.dev.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    assert list(undescribed(schema["spec"], "spec")) + list(undescribed(schema["status"], "status")) == []


def undescribed(node, path):
    for name, field in node.get("properties", {}).items():
        here = f"{path}.{name}"
        if not field.get("description"):
            yield here
        yield from undescribed(field, here)
        yield from undescribed(field.get("items", {}), here)


def test_the_columns_tell_phase_reason_model_accelerator_readiness_and_the_last_call_and_wake(kubectl_shared):
    kubectl_shared.apply(sample("gemma"))
    header = kubectl_shared.must("get", "ie").splitlines()[0].split()
    assert header == ["NAME", "PHASE", "REASON", "MODEL", "ACCELERATOR", "READY", "LAST-ACTIVE", "LAST-WAKE", "AGE"]
