"""The main story: a sample manifest becomes a real model that streams its answer."""

from __future__ import annotations

import base64
import http.client
import json

import pytest

from hack.demo import forwarded
from tests.support.cluster import Kubectl, sample, wait_until


@pytest.fixture
def gemma(kubectl):
    kubectl.apply(sample("gemma"))
    return kubectl.wait("gemma", "up AllReady", 120)


def child(status) -> str:
    return f"gemma-{status.id.removeprefix('endpt-')}"


def key_of(kubectl: Kubectl, status) -> str:
    return base64.b64decode(kubectl.get("secret", f"{child(status)}-key")["data"]["key"]).decode()


def post(port: int, body: dict, key: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    return connection.getresponse()


def test_a_real_model_streams_its_answer_and_demands_its_key(kubectl, installation, gemma):
    assert gemma.model.entry == "gemma-3-270m-q4_k_m.gguf" and len(gemma.model.revision) == 40
    key = key_of(kubectl, gemma)
    body = {"model": gemma.id, "prompt": "Question: What is the capital of France?\nAnswer:", "stream": True, "max_tokens": 24, "temperature": 0}
    with forwarded(installation, f"service/{child(gemma)}", kubectl.namespace) as port:
        assert post(port, body, "wrong").status == 401
        response = post(port, body, key)
        assert response.status == 200
        lines = [line for line in response if line.startswith(b"data: ")]
    assert lines[-1].strip() == b"data: [DONE]"
    pieces = [json.loads(line[6:])["choices"] for line in lines[:-1]]
    text = "".join(choices[0]["text"] for choices in pieces if choices)
    assert len(pieces) > 5 and "Paris" in text


def test_the_engine_pod_has_no_token_no_service_account_token_and_reads_its_weights_only(kubectl, gemma):
    (pod,) = kubectl.all("pod", f"inference.dedicated.dev/endpoint-id={gemma.id}")
    spec = pod["spec"]
    engine = spec["containers"][0]
    assert spec["automountServiceAccountToken"] is False and spec["enableServiceLinks"] is False
    assert {mount["name"]: mount.get("readOnly", False) for mount in engine["volumeMounts"]} == {"weights": True, "tmp": False}
    assert engine["securityContext"]["readOnlyRootFilesystem"] and spec["securityContext"]["runAsNonRoot"]
    assert "HF_TOKEN" not in json.dumps(engine)
    log = kubectl.must("logs", pod["metadata"]["name"], "--container=fetch")
    assert "fetched 241.4 MiB of 241.4 MiB (100 %)" in log


def test_services_resolve_by_name_inside_the_cluster(kubectl, gemma):
    wait_until("endpoints", lambda: bool(kubectl.all("endpointslices", f"kubernetes.io/service-name={child(gemma)}")[0]["endpoints"]))
    headless = kubectl.get("service", f"{child(gemma)}-pods")
    assert headless["spec"]["clusterIP"] == "None" and headless["spec"]["publishNotReadyAddresses"]
