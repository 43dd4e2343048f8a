"""Whose an endpoint is and what the catalogue shows: only who was granted the verb may say it. By the chart's own manifests, on a real API server."""

from __future__ import annotations

import pytest
import yaml

from hack.lint_charts import template
from tests.support.cluster import Kubectl, endpoint, wait_until

OTHERS = "dedicated-endpoints-for-others"


@pytest.fixture(scope="module")
def policies(plane):
    """The chart's admission policies and roles, as long as this module's tests last."""
    admin = Kubectl(plane.kubeconfig)
    wanted = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ClusterRole"}
    objects = [found for found in yaml.safe_load_all(template({})) if found and found["kind"] in wanted]
    admin.apply(*objects)
    probe = endpoint("probe", access={"owner": "somebody"})
    everybody = {"rules": [{"apiGroups": ["inference.dedicated.dev"], "resources": ["inferenceendpoints"], "verbs": ["create"]}]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "probe"}, **everybody}
    admin.apply(role)
    admin.must("create", "rolebinding", "probe", "--role=probe", "--user=probe")

    def refuses():
        return "assign-owner" in admin.run("create", "--as=probe", "--dry-run=server", "-f", "-", given=probe).stderr

    wait_until("the policies to be in force", refuses, 30)
    yield
    for found in objects:
        admin.must("delete", found["kind"], found["metadata"]["name"])
    admin.must("delete", "role/probe", "rolebinding/probe")


@pytest.fixture
def tenant(kubectl, policies):
    """alice, who may edit endpoints in her namespace."""
    kubectl.must("create", "rolebinding", "alice", "--clusterrole=dedicated-endpoints-edit", "--user=alice")
    return kubectl


def applied(kubectl, manifest, user="alice"):
    return kubectl.run("apply", f"--as={user}", "-f", "-", given=manifest)


def test_who_names_herself_needs_nothing(tenant):
    done = applied(tenant, endpoint("mine", access={"owner": "alice"}))
    assert done.returncode == 0, done.stderr
    assert applied(tenant, endpoint("mine", access={"owner": "alice"}, replicas=2)).returncode == 0


def test_who_names_another_is_refused_and_told_the_verb(tenant):
    done = applied(tenant, endpoint("theirs", access={"owner": "bob"}))
    assert done.returncode != 0
    assert "spec.access.owner is bob, but you are alice" in done.stderr and "assign-owner" in done.stderr


def test_an_endpoint_is_not_given_away_either(tenant):
    assert applied(tenant, endpoint("mine", access={"owner": "alice"})).returncode == 0
    assert "assign-owner" in applied(tenant, endpoint("mine", access={"owner": "bob"})).stderr


def test_who_may_edit_anothers_endpoint_leaves_its_owner(tenant):
    tenant.apply(endpoint("theirs", access={"owner": "bob"}))
    done = applied(tenant, endpoint("theirs", access={"owner": "bob"}, replicas=2))
    assert done.returncode == 0, done.stderr


SHARED = {"owner": "alice", "visibility": "shared", "displayName": "Llama"}


def test_nobody_publishes_without_the_verb(tenant):
    done = applied(tenant, endpoint("mine", access=SHARED))
    assert done.returncode != 0 and "publishes Llama in the catalogue" in done.stderr and "share" in done.stderr
    assert applied(tenant, endpoint("mine", access={"owner": "alice"})).returncode == 0
    assert "publishes Llama" in applied(tenant, endpoint("mine", access=SHARED)).stderr


def test_a_published_endpoint_is_edited_but_not_renamed(tenant):
    tenant.apply(endpoint("mine", access=SHARED))
    assert applied(tenant, endpoint("mine", access=SHARED, replicas=2)).returncode == 0
    assert "publishes Claude" in applied(tenant, endpoint("mine", access={**SHARED, "displayName": "Claude"})).stderr


def test_the_platform_grants_both_verbs_by_one_role(tenant):
    tenant.must("create", "rolebinding", "others", f"--clusterrole={OTHERS}", "--user=alice")
    done = applied(tenant, endpoint("theirs", access={"owner": "bob", "visibility": "shared", "displayName": "Bob's"}))
    assert done.returncode == 0, done.stderr


def test_a_grant_in_one_namespace_is_none_in_another(tenant):
    other = Kubectl(tenant.kubeconfig, f"{tenant.namespace}-other")
    other.must("create", "namespace", other.namespace)
    other.must("create", "rolebinding", "alice", "--clusterrole=dedicated-endpoints-edit", "--user=alice")
    tenant.must("create", "rolebinding", "others", f"--clusterrole={OTHERS}", "--user=alice")
    assert "assign-owner" in applied(other, endpoint("theirs", access={"owner": "bob"})).stderr
    other.must("delete", "namespace", other.namespace, "--wait=false")


def test_the_status_is_still_the_operators_to_write(tenant):
    tenant.apply(endpoint("theirs", access={"owner": "bob"}))
    tenant.must("patch", "inferenceendpoint", "theirs", "--subresource=status", "--type=merge", '-p={"status":{"replicas":1}}')
