"""The operator on a real API server with real controllers but no kubelet: what it writes, and that it converges whatever happens to it."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.cluster import Kubectl, endpoint, wait_until
from tests.support.pods import OURS, children, make_ready

TINY = {"model": {"huggingFace": {"repo": "acme/tiny"}}, "engine": {"kind": "llamacpp"}}


def paths(writes: list[tuple[str, str]]) -> list[str]:
    """Writes as "METHOD kind[/subresource]"."""
    told = []
    for method, path in writes:
        parts = path.split("/namespaces/")[-1].split("/")[1:]
        told.append(" ".join([method, parts[0], *parts[2:]]))
    return told


def quiet(proxy, seconds: float = 1.0) -> list[tuple[str, str]]:
    """Wait until nothing was written for a while; answers all writes."""
    count = -1
    while count != len(proxy.writes):
        count = len(proxy.writes)
        time.sleep(seconds)
    return proxy.writes


def here(writes: list[tuple[str, str]], kubectl: Kubectl) -> list[tuple[str, str]]:
    """Those in the test's own namespace: an operator that starts also sweeps what an earlier test left in another."""
    return [(method, path) for method, path in writes if f"/namespaces/{kubectl.namespace}/" in path]


def test_a_create_is_the_children_and_one_status_write_and_no_event(operator, proxy, kubectl):
    operator.start()
    proxy.reset()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    told = paths(here(quiet(proxy), kubectl))
    per_namespace = ["PATCH serviceaccounts", "PATCH networkpolicies"]
    assert told == [*per_namespace, "PATCH secrets", "PATCH services", "PATCH services", "PATCH deployments", "PATCH inferenceendpoints status"]
    kubectl.apply(endpoint("two"))
    kubectl.wait("two", "building EngineStarting")
    assert paths(here(quiet(proxy), kubectl)[len(told) :]) == [path for path in told if path not in per_namespace]


def test_a_converged_resync_writes_nothing(operator, proxy, kubectl):
    operator.settings["DEDICATED_RESYNC_SECONDS"] = "1"
    operator.start()
    for number in range(5):
        kubectl.apply(endpoint(f"e{number}", replicas=2, hardware={"accelerators": ["cpu"], "cpu": "1000m", "memory": "1024Mi"}))
    for number in range(5):
        kubectl.wait(f"e{number}", "building EngineStarting")
    wait_until("ten pods", lambda: len(kubectl.all("pod", OURS)) == 10)
    make_ready(kubectl)
    for number in range(5):
        kubectl.wait(f"e{number}", "up AllReady")
    quiet(proxy)
    proxy.reset()
    time.sleep(4)  # four resyncs: nothing may happen, so there is nothing to wait for
    assert here(proxy.writes, kubectl) == []


def test_coming_up_is_one_status_write_and_one_event(operator, proxy, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    wait_until("a pod", lambda: bool(kubectl.all("pod", OURS)))
    quiet(proxy)
    proxy.reset()
    make_ready(kubectl)
    kubectl.wait("one", "up AllReady")
    assert sorted(paths(here(quiet(proxy), kubectl))) == ["PATCH inferenceendpoints status", "POST events"]


@pytest.mark.parametrize("after", [False, True], ids=["before it takes effect", "after it took effect"])
@pytest.mark.parametrize("write", range(1, 8))
def test_kill_9_at_any_write_of_a_create_converges_without_duplicates(operator, proxy, kubectl, write, after):
    operator.start()
    proxy.at_fatal = operator.kill
    proxy.reset(fatal=write, after=after)
    kubectl.apply(endpoint("one", **TINY))
    wait_until("the fatal write", lambda: operator.process.poll() is not None, 20)
    proxy.reset()
    operator.start()
    kubectl.wait("one", "building EngineStarting")
    wait_until("the pod", lambda: len(kubectl.all("pod", OURS)) == 1)
    quiet(proxy, 0.5)
    found = children(kubectl)
    assert {kind: len(names) for kind, names in found.items()} == {
        "deployment": 1,
        "service": 2,
        "secret": 1,
        "poddisruptionbudget": 0,
        "pod": 1,
        "networkpolicy": 1,
    }


def test_kill_9_when_it_comes_up_loses_no_status(operator, proxy, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    wait_until("a pod", lambda: bool(kubectl.all("pod", OURS)))
    quiet(proxy)
    proxy.at_fatal = operator.kill
    proxy.reset(fatal=1)
    make_ready(kubectl)
    wait_until("the fatal write", lambda: operator.process.poll() is not None, 20)
    proxy.reset()
    operator.start()
    assert kubectl.wait("one", "up AllReady").revisions.serving


def test_the_same_operator_takes_its_lease_back_and_acts_within_5_s_of_kill_9(operator, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    operator.kill()
    began = time.monotonic()
    operator.start()
    kubectl.apply(endpoint("two"))
    kubectl.wait("two", "building EngineStarting")
    took_s = time.monotonic() - began
    print(f"acted {took_s:.1f} s after kill -9")
    assert took_s < 5


def test_what_somebody_changes_or_deletes_is_made_good(operator, proxy, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    quiet(proxy)
    service, deployment = children(kubectl)["service"][0], children(kubectl)["deployment"][0]
    kubectl.must("patch", "service", service, "--type=merge", '-p={"spec":{"selector":{"inference.dedicated.dev/revision":"mine"}}}')
    kubectl.must("scale", "deployment", deployment, "--replicas=3")
    kubectl.must("delete", "secret", children(kubectl)["secret"][0])
    wait_until("the service", lambda: kubectl.get("service", service)["spec"]["selector"]["inference.dedicated.dev/revision"] != "mine")
    wait_until("the scale", lambda: kubectl.get("deployment", deployment)["spec"]["replicas"] == 1)
    wait_until("the secret", lambda: len(children(kubectl)["secret"]) == 1)


def test_what_somebody_adds_is_left_alone(operator, proxy, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    service = children(kubectl)["service"][0]
    kubectl.must("annotate", "service", service, "team=a")
    quiet(proxy)
    assert kubectl.get("service", service)["metadata"]["annotations"]["team"] == "a"


def test_an_object_that_only_carries_our_label_is_not_a_child(operator, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    status = kubectl.wait("one", "building EngineStarting")
    impostor = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "impostor", "labels": {OURS: status.id, "inference.dedicated.dev/revision": status.revisions.target}},
        "spec": {"containers": [{"name": "engine", "image": "x"}]},
    }
    kubectl.apply(impostor)
    make_ready(kubectl)
    pods = kubectl.wait("one", "up AllReady").pods
    assert "impostor" not in [pod.name for pod in pods]


def test_the_operator_never_writes_spec_or_metadata(operator, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    found = json.loads(kubectl.must("get", "inferenceendpoint", "one", "-o=json", "--show-managed-fields"))["metadata"]["managedFields"]
    ours = [entry for entry in found if entry["manager"] == "dedicated"]
    assert [entry["subresource"] for entry in ours] == ["status"]
    assert "f:metadata" not in ours[0]["fieldsV1"] and "f:spec" not in ours[0]["fieldsV1"]


def test_deleting_an_endpoint_leaves_nothing(operator, kubectl):
    operator.start()
    kubectl.apply(endpoint("one", replicas=2), endpoint("two"))
    kubectl.wait("one", "building EngineStarting")
    kubectl.wait("two", "building EngineStarting")
    kubectl.must("delete", "inferenceendpoint", "one")
    wait_until("one's children to go", lambda: len(children(kubectl)["deployment"]) == 1 and not children(kubectl)["poddisruptionbudget"])
    assert children(kubectl)["networkpolicy"]
    kubectl.must("delete", "inferenceendpoint", "two")
    wait_until("everything to go", lambda: not any(children(kubectl).values()), 30, lambda: str(children(kubectl)))
    assert [obj["metadata"]["name"] for obj in kubectl.all("serviceaccount")] == ["default"]


def test_an_endpoint_that_is_deleted_while_the_operator_is_down_leaves_nothing_either(operator, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    operator.kill()
    kubectl.must("delete", "inferenceendpoint", "one")
    wait_until("the garbage collector", lambda: not children(kubectl)["deployment"])
    operator.start()
    wait_until("everything to go", lambda: not any(children(kubectl).values()), 30, lambda: str(children(kubectl)))


def test_a_model_is_resolved_once_however_often_the_operator_starts(operator, hub, kubectl):
    hub[1].requests.clear()
    operator.settings["DEDICATED_RESYNC_SECONDS"] = "1"
    operator.start()
    kubectl.apply(endpoint("one", **TINY))
    status = kubectl.wait("one", "building EngineStarting")
    assert len(status.model.revision) == 40 and status.model.weight_bytes == 10 * 1024**2 and status.model.license == "apache-2.0"
    operator.kill()
    operator.start()
    time.sleep(3)  # three resyncs: nothing may happen, so there is nothing to wait for
    assert len([path for _, path, _ in hub[1].requests if path.startswith("/api/models/acme/tiny")]) == 1
    kubectl.must("annotate", "inferenceendpoint", "one", "inference.dedicated.dev/refresh=1")
    wait_until("the hub to be asked again", lambda: len([1 for _, path, _ in hub[1].requests if path.startswith("/api/models/acme/tiny")]) == 2)


def test_a_gated_model_without_a_token_stalls_and_a_labelled_secret_starts_it_by_itself(operator, proxy, kubectl):
    operator.start()
    gated = {"model": {"huggingFace": {"repo": "acme/secret"}, "tokenSecretRef": {"name": "hub-token"}}, "engine": {"kind": "llamacpp"}}
    kubectl.apply(endpoint("one", **gated))
    status = kubectl.wait("one", "failed TokenMissing")
    assert "Secret hub-token does not exist" in status.diagnosis.message
    kubectl.must("create", "secret", "generic", "hub-token", "--from-literal=HF_TOKEN=hf_goodgoodgood")
    kubectl.must("annotate", "inferenceendpoint", "one", "inference.dedicated.dev/retry=1")
    wait_until("the label to be asked for", lambda: "is not labelled" in kubectl.status("one").diagnosis.message)
    kubectl.must("label", "secret", "hub-token", "inference.dedicated.dev/use=hub-token")
    kubectl.wait("one", "building EngineStarting")
    (deployment,) = kubectl.all("deployment", OURS)
    pod = deployment["spec"]["template"]["spec"]
    assert [env["name"] for env in pod["initContainers"][0]["env"]] == ["HF_ENDPOINT", "HF_TOKEN"]
    assert "hub-token" not in json.dumps(pod["containers"])


def test_a_secret_of_the_engine_counts_only_when_it_is_labelled_for_it(operator, kubectl):
    operator.start()
    env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "a"}}}]
    kubectl.must("create", "secret", "generic", "mine", "--from-literal=a=1")
    kubectl.apply(endpoint("one", engine={"kind": "custom", "image": "x", "port": 1, "healthPath": "/", "env": env}))
    assert "refers to Secret mine" in kubectl.wait("one", "failed InvalidSpec").diagnosis.message
    kubectl.must("label", "secret", "mine", "inference.dedicated.dev/use=engine-env")
    kubectl.wait("one", "building EngineStarting")


def test_a_hub_that_is_down_is_waited_for(operator, hub, proxy, kubectl):
    operator.hub = "http://127.0.0.1:9"
    operator.start()
    kubectl.apply(endpoint("one", **TINY))
    status = kubectl.wait("one", "building HubUnavailable")
    assert status.diagnosis is None and not children(kubectl)["deployment"]
    operator.kill()
    operator.hub = hub[0]
    operator.start()
    kubectl.wait("one", "building EngineStarting")


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        (
            {"model": {"huggingFace": {"repo": "acme/none"}}, "engine": {"kind": "llamacpp"}},
            "ModelNotFound",
            "acme/none does not exist or is private",
        ),
        ({"model": {"huggingFace": {"repo": "acme/tiny", "revision": "v9"}}, "engine": {"kind": "llamacpp"}}, "RevisionNotFound", "no revision 'v9'"),
        ({"model": {"huggingFace": {"repo": "acme/sharded"}}, "engine": {"kind": "llamacpp"}}, "InvalidSpec", "no GGUF file"),
        ({"model": {"huggingFace": {"repo": "acme/tiny"}}, "engine": {"kind": "llamacpp", "args": ["-m", "x"]}}, "ConflictingArgs", "-m"),
        ({"model": {"s3": {"uri": "s3://bucket/x", "credentialsSecretRef": {"name": "none"}}}}, "ObjectStoreDenied", "Secret none does not exist"),
        ({"hardware": {"accelerators": ["h100"]}}, "NoAcceleratorAllowed", "h100"),
        (
            {"model": {"huggingFace": {"repo": "acme/sharded"}}, "engine": {"kind": "vllm", "image": "x", "args": ["-tp", "2"]}, "hardware": {}},
            "ConflictingArgs",
            "-tp (--tensor-parallel-size)",
        ),
    ],
    ids=["no such model", "no such revision", "no GGUF", "our own flag", "S3 without its Secret", "an unknown accelerator", "our own flag in short"],
)
def test_what_only_the_operator_can_see_stalls_with_a_next_step(operator, kubectl, spec, reason, says):
    operator.start()
    kubectl.apply(endpoint("one", **spec))
    status = kubectl.wait("one", f"failed {reason}")
    assert says in status.diagnosis.message and status.diagnosis.next_step
    assert not children(kubectl)["deployment"]


def test_correcting_the_spec_starts_a_stalled_endpoint_by_itself(operator, kubectl):
    operator.start()
    kubectl.apply(endpoint("one", model={"huggingFace": {"repo": "acme/none"}}, engine={"kind": "llamacpp"}))
    kubectl.wait("one", "failed ModelNotFound")
    kubectl.apply(endpoint("one", **TINY))
    assert kubectl.wait("one", "building EngineStarting").diagnosis is None


def test_a_quota_that_does_not_allow_the_pod_is_named(operator, kubectl):
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    kubectl.apply(quota)
    wait_until("the quota to count", lambda: "hard" in kubectl.get("resourcequota", "none").get("status", {}))
    operator.start()
    kubectl.apply(endpoint("one"))
    assert "exceeded quota: none" in kubectl.wait("one", "failed QuotaExceeded").diagnosis.message


def test_pods_are_admitted_under_restricted_pod_security(operator, kubectl):
    kubectl.must("label", "namespace", kubectl.namespace, "pod-security.kubernetes.io/enforce=restricted")
    operator.start()
    kubectl.apply(endpoint("one", **TINY))
    kubectl.wait("one", "building EngineStarting")
    wait_until("the pod", lambda: len(kubectl.all("pod", OURS)) == 1)


def test_an_operator_without_its_custom_resource_says_which_chart_is_missing(tmp_path):
    from hack.cluster.controlplane import start_control_plane
    from tests.support.process import Operator

    with start_control_plane(tmp_path / "bare") as empty:
        operator = Operator(empty.kubeconfig, tmp_path / "log").start(wait=False)
        assert operator.process.wait(20) == 1
        assert "install the chart dedicated-crds first" in operator.text()


def test_an_operator_that_is_newer_than_the_custom_resource_says_so(operator, plane, kubectl):
    crd = "crd/inferenceendpoints.inference.dedicated.dev"
    key = "inference.dedicated.dev/schema-hash"
    right = kubectl.must("get", crd, r"-o=jsonpath={.metadata.annotations.inference\.dedicated\.dev/schema-hash}")
    kubectl.must("annotate", crd, f"{key}=older", "--overwrite")
    try:
        operator.start(wait=False)
        assert operator.process.wait(20) == 1
        assert "upgrade the chart dedicated-crds first" in operator.text()
    finally:
        kubectl.must("annotate", crd, f"{key}={right}", "--overwrite")


def test_an_api_server_that_cannot_be_reached_is_exit_code_3(operator, tmp_path):
    from tests.support.process import kubeconfig_for

    operator.kubeconfig = kubeconfig_for("http://127.0.0.1:9", tmp_path / "nowhere")
    operator.start(wait=False)
    assert operator.process.wait(20) == 3
    assert "The cluster cannot be reached" in operator.text()


def test_a_new_operator_version_restarts_no_serving_engine_and_renders_anew_when_it_is_started_anew(operator, proxy, kubectl):
    operator.start()
    kubectl.apply(endpoint("one", **TINY))
    kubectl.wait("one", "building EngineStarting")
    wait_until("a pod", lambda: bool(kubectl.all("pod", OURS)))
    make_ready(kubectl)
    kubectl.wait("one", "up AllReady")
    assert operator.stop() == 0
    operator.settings["DEDICATED_IMAGE"] = "localhost/dedicated:newer"
    proxy.reset()
    operator.start()
    quiet(proxy)
    assert [path for _, path in here(proxy.writes, kubectl) if "deployments" in path] == []
    kubectl.must("scale", "inferenceendpoint", "one", "--replicas=2")
    wait_until("the scale", lambda: kubectl.all("deployment", OURS)[0]["spec"]["replicas"] == 2)
    assert "localhost/dedicated:test" in json.dumps(kubectl.all("deployment", OURS)[0]["spec"]["template"])
    kubectl.must("patch", "inferenceendpoint", "one", "--type=merge", '-p={"spec":{"suspend":true}}')
    kubectl.wait("one", "paused Suspended")
    kubectl.must("patch", "inferenceendpoint", "one", "--type=merge", '-p={"spec":{"suspend":false}}')
    kubectl.wait("one", "building EngineStarting")
    wait_until("the new rendering", lambda: "localhost/dedicated:newer" in json.dumps(kubectl.all("deployment", OURS)[0]["spec"]["template"]))


def test_an_operator_whose_lease_was_taken_ends_at_once(operator, plane, kubectl):
    operator.start()
    system = Kubectl(plane.kubeconfig, "dedicated-system")
    system.must("patch", "lease", "dedicated-operator", "--type=merge", '-p={"spec":{"holderIdentity":"somebody-else"}}')
    assert operator.process.wait(10) == 1
    assert "another operator holds the lease" in operator.text()
