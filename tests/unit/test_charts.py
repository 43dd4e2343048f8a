"""The chart: what it lets the operator do, how it runs it, and which values it refuses."""

from __future__ import annotations

import pytest
import yaml

from dedicated.planner.catalogue import CLASSES
from hack.lint_charts import VALUE_SETS, helm, sets, template
from hack.tools import REPO, ToolError


def objects(values=None):
    return [found for found in yaml.safe_load_all(template(values or {})) if found]


def one(kind, name=None, values=None):
    (found,) = [o for o in objects(values) if o["kind"] == kind and (name is None or o["metadata"]["name"] == name)]
    return found


@pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())
def test_every_value_set_renders_objects_with_labels(values):
    assert all(found["metadata"]["labels"]["app.kubernetes.io/part-of"] == "dedicated" for found in objects(values))


def rights():
    rules = one("ClusterRole", "dedicated-operator")["rules"]
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def test_the_operator_may_not_write_a_spec_or_touch_what_is_not_its_own():
    assert {verb for resource, verb in rights() if resource == "inferenceendpoints"} == {"get", "list", "watch"}
    assert {verb for resource, verb in rights() if resource == "inferenceendpoints/status"} == {"patch"}
    assert not any(verb == "*" or resource == "*" for resource, verb in rights())
    assert not any(
        verb in ("create", "update", "patch", "delete", "deletecollection") for resource, verb in rights() if resource in ("nodes", "replicasets")
    )
    # Of several replicas the ones that gateways have let go of are marked to go first (controller.kubernetes.io/pod-deletion-cost).
    assert {verb for resource, verb in rights() if resource == "pods"} == {"get", "list", "watch", "patch"}
    assert not any(resource in ("pods/exec", "pods/portforward", "roles", "clusterroles", "rolebindings", "leases") for resource, _ in rights())
    assert ("secrets", "delete") not in rights()


def test_it_holds_leases_in_its_own_namespace_and_only_reads_and_sweeps_those_of_activity():
    found = {o["metadata"]["namespace"]: o["rules"] for o in objects() if o["kind"] == "Role" and o["metadata"]["name"] == "dedicated-operator"}
    own, activity = (found.pop(next(name for name in found if name.endswith(end))) for end in ("system", "activity"))
    assert found == {}
    assert [(rule["resources"], rule["verbs"]) for rule in own] == [(["leases"], ["get", "create", "update"])]
    assert [(rule["resources"], rule["verbs"]) for rule in activity] == [(["leases"], ["get", "list", "watch", "delete"])]


def test_the_operator_runs_without_rights_on_its_node():
    pod = one("Deployment", "dedicated-operator")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_new_version_never_runs_beside_the_old_one():
    assert one("Deployment", "dedicated-operator")["spec"]["strategy"] == {"type": "Recreate"}


def test_a_digest_goes_before_a_tag():
    digest = "sha256:" + "0" * 64
    pod = one("Deployment", "dedicated-operator", values={"image.digest": digest})["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"].endswith(f"@{digest}")


def test_every_setting_of_the_operator_that_the_chart_sets_is_one_that_it_reads():
    from dedicated.settings import from_environment

    env = one("Deployment", "dedicated-operator")["spec"]["template"]["spec"]["containers"][0]["env"]
    unknown = [e["name"] for e in env if e["name"] not in (from_environment.__doc__ or "") and not e["name"].startswith("POD_")]
    assert unknown == []


def gateway(values=None):
    """The gateway's pod, and its containers by name."""
    pod = one("Deployment", "dedicated-gateway", values)["spec"]["template"]["spec"]
    return pod, {container["name"]: container for container in (*pod["initContainers"], *pod["containers"])}


def test_the_gateway_may_read_what_it_routes_by_and_write_leases_and_last_use_alone():
    rules = [
        (o["kind"], o["metadata"].get("namespace"), r) for o in objects() if o["metadata"]["name"] == "dedicated-gateway" for r in o.get("rules", [])
    ]
    found = {(kind, namespace, resource): rule["verbs"] for kind, namespace, rule in rules for resource in rule["resources"]}
    assert found == {
        ("ClusterRole", None, "inferenceendpoints"): ["list", "watch"],
        ("ClusterRole", None, "endpointlogs"): ["get"],
        ("ClusterRole", None, "endpointslices"): ["list", "watch"],
        ("Role", "dedicated-system", "apikeys"): ["list", "watch"],
        ("Role", "dedicated-system", "apikeys/status"): ["patch"],
        ("Role", "dedicated-activity", "leases"): ["list", "watch", "create", "patch"],
    }


def test_envoy_meets_the_world_without_a_token_or_the_key_of_engines():
    pod, containers = gateway()
    assert pod["automountServiceAccountToken"] is False
    assert [mount["name"] for mount in containers["envoy"]["volumeMounts"]] == ["run"]
    for container in containers.values():
        assert container["securityContext"]["readOnlyRootFilesystem"] and container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_the_decision_service_begins_before_envoy_and_ends_after_it():
    pod, _ = gateway()
    assert [(c["name"], c["restartPolicy"]) for c in pod["initContainers"]] == [("decisions", "Always")]
    assert pod["terminationGracePeriodSeconds"] > 120


def test_every_setting_of_the_gateway_that_the_chart_sets_is_one_that_it_reads():
    from dedicated.settings import gateway_from_environment

    for values in VALUE_SETS.values():
        if values.get("gateway", {}).get("enabled", True) is False:
            continue
        _, containers = gateway({"gateway": values.get("gateway", {})} if values else None)
        env = {entry["name"]: entry.get("value", "") for entry in containers["envoy"]["env"]}
        assert [name for name in env if name not in (gateway_from_environment.__doc__ or "")] == []
        gateway_from_environment(env)


def test_a_key_set_without_an_issuer_is_refused():
    with pytest.raises(ToolError, match=r"gateway\.sessions\.issuer is needed"):
        template({"gateway.sessions.jwksUrl": "https://login.example/jwks"})


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("gateway.podCidrs", ["everywhere"], "podCidrs"),
        ("gateway.corsOrigins", ["app.example"], "corsOrigins"),
        ("gateway.limits.bodyBytes", 0, "bodyBytes"),
        ("operator.replicas", -1, "replicas"),
        ("operator.logLevel", "loud", "logLevel"),
        ("hub.endpoint", "huggingface.co", "endpoint"),
        ("image.digest", "latest", "digest"),
        ("operatr", {}, "operatr"),
        ("operator.resyncSeconds", "soon", "resyncSeconds"),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, value, says):
    with pytest.raises(ToolError, match=says):
        template({name: value})


def test_the_crd_chart_holds_the_generated_crds():
    shown = {found["metadata"]["name"]: found for found in yaml.safe_load_all(helm("template", "crds", str(REPO / "charts" / "dedicated-crds")))}
    committed = [yaml.safe_load(path.read_text()) for path in (REPO / "crds").glob("*.yaml")]
    assert shown == {found["metadata"]["name"]: found for found in committed}
    assert sets({"a": 1}) == ["--set-json", "a=1"]


def classes(values=None):
    return {found["metadata"]["name"]: found["spec"] for found in objects(values) if found["kind"] == "AcceleratorClass"}


def test_the_chart_installs_the_catalogue_as_it_is_in_the_package():
    assert classes() == {name: spec.to_dict() for name, spec in CLASSES.items()}


def test_the_catalogue_can_be_left_out():
    assert classes({"acceleratorClasses.install": False}) == {}


def test_an_admin_changes_a_price_and_adds_a_card_of_his_own():
    own = {"memory": "24Gi", "computeCapability": "8.9"}
    shown = classes({"acceleratorClasses.overrides": {"h100-80gb": {"pricePerHour": 4.5}, "our-card": own}})
    assert shown["h100-80gb"] == {**CLASSES["h100-80gb"].to_dict(), "pricePerHour": 4.5}
    assert shown["our-card"] == own


WEIGHTS = {"weights": VALUE_SETS["weights"]["weights"]}


def test_the_operator_and_the_collection_get_the_cache_and_the_gateway_does_not():
    job = one("CronJob", values=WEIGHTS)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (collect,) = job["containers"]
    (operator,) = one("Deployment", "dedicated-operator", WEIGHTS)["spec"]["template"]["spec"]["containers"]
    assert collect["args"] == ["cache", "gc", "--budget=500Gi"]
    env = {entry["name"]: entry.get("value") for entry in operator["env"]}
    assert (env["DEDICATED_S3_BUCKET"], env["DEDICATED_S3_SECRET"]) == ("weights", "weights-s3")
    assert "AWS_SECRET_ACCESS_KEY" in [entry["name"] for entry in collect["env"]]
    _, containers = gateway(WEIGHTS)
    assert not [e["name"] for c in containers.values() for e in c["env"] if "S3" in e["name"] or "AWS" in e["name"]]


def test_without_a_bucket_there_is_no_collection():
    assert not [found for found in objects() if found["kind"] == "CronJob" or found["metadata"]["name"].endswith("-weights")]


def test_recorded_logs_are_for_those_who_may_edit_and_not_for_all_who_may_view():
    text = (REPO / "charts" / "dedicated" / "templates" / "operator" / "rbac.yaml").read_text()
    roles = {
        part.split("name: {{ .Release.Name }}-")[1].split()[0]: part for part in text.split("---") if "endpointlogs]" in part or "aggregate" in part
    }
    assert "aggregate-to-view" in roles["endpoints-view"] and "endpointlogs" not in roles["endpoints-view"]
    assert "aggregate-to-edit" in roles["endpoint-logs"] and "aggregate-to-view" not in roles["endpoint-logs"]


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, ""),
        ({"gateway.ingress.enabled": True, "gateway.ingress.host": "llm.example.com"}, "http://llm.example.com"),
        ({"gateway.ingress.enabled": True, "gateway.ingress.host": "a.b", "gateway.ingress.tlsSecretName": "tls"}, "https://a.b"),
        ({"gateway.ingress.enabled": True, "gateway.ingress.host": "a.b", "gateway.url": "https://c.d"}, "https://c.d"),
    ],
    ids=["nobody knows", "an ingress", "an ingress with a certificate", "what is said counts first"],
)
def test_the_operator_is_told_where_the_gateway_is(values, url):
    (container,) = one("Deployment", "dedicated-operator", values)["spec"]["template"]["spec"]["containers"]
    assert next(variable["value"] for variable in container["env"] if variable["name"] == "DEDICATED_GATEWAY_URL") == url
