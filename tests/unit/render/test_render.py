"""From a spec to manifests: the golden cases hold the whole, these the rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dedicated.api.errors import InvalidSpec
from dedicated.api.s3 import S3Location
from dedicated.api.status import Plan
from dedicated.lifecycle.manifests import covers, manifest_hash, with_hash
from dedicated.planner.catalogue import CLASSES
from dedicated.render.cache import credentials
from dedicated.render.devices import claims_are_used, devices
from dedicated.render.engines import launch
from dedicated.render.isolation import engine_key, key_secret, network_policy, service_account
from dedicated.render.nodes import tolerations
from dedicated.render.workload import deployment
from hack.gen_golden import case_text
from tests.support.builders import PLATFORM, UID, a_spec, wanted

GOLDEN = sorted(path for path in (Path(__file__).resolve().parents[2] / "golden").iterdir() if path.is_dir())
LLAMACPP = {"model": {"huggingFace": {"repo": "acme/tiny"}}, "engine": {"kind": "llamacpp"}}


@pytest.mark.parametrize("case", GOLDEN, ids=lambda path: path.name)
def test_an_endpoint_becomes_what_the_golden_file_shows(case):
    assert case_text(case) == (case / "rendered.yaml").read_text()


def llamacpp(**engine):
    return a_spec(model={"huggingFace": {"repo": "acme/tiny"}}, engine={"kind": "llamacpp", **engine})


def started(spec, **changes):
    return launch(wanted(spec, **changes), 600)


def test_llamacpp_shares_its_context_among_its_slots_so_it_gets_as_much_as_all_need():
    args = started(llamacpp(maxModelLen=2048, maxNumSeqs=4)).args
    assert args[args.index("--ctx-size") + 1] == "8192" and args[args.index("--parallel") + 1] == "4"


def test_llamacpp_without_a_gguf_file_is_an_error_in_the_spec():
    with pytest.raises(InvalidSpec, match="GGUF"):
        started(llamacpp(), entry=None)


def test_the_startup_budget_grows_with_the_weights():
    one, forty = wanted(weight_bytes=1024**3), wanted(weight_bytes=40 * 1024**3)
    assert (one.startup_s(600), forty.startup_s(600)) == (620, 1400)
    probe = deployment(forty, 1, PLATFORM)["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] > 1400


def test_the_grace_period_covers_the_drain():
    spec = a_spec(update={"drain": "10m"})
    pod = deployment(wanted(spec), 1, PLATFORM)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= 600 + pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]


def test_memory_that_is_not_asked_for_follows_the_weights():
    assert wanted(weight_bytes=10 * 1024**3).memory() == "12288Mi"


def test_each_engine_has_a_key_of_its_own_and_the_secret_holds_it():
    assert engine_key(b"system", UID) != engine_key(b"system", UID.replace("5", "6")) != engine_key(b"other", UID)
    secret = key_secret(wanted(), b"system")
    assert len(engine_key(b"system", UID)) == 64 and secret["metadata"]["ownerReferences"][0]["uid"] == UID


def test_engines_reach_the_world_but_not_the_cluster_or_link_local():
    names, world = network_policy("team-a", PLATFORM)["spec"]["egress"]
    assert "169.254.0.0/16" in world["to"][0]["ipBlock"]["except"] and "10.0.0.0/8" in world["to"][0]["ipBlock"]["except"]
    assert [port["port"] for port in names["ports"]] == [53, 53]


def test_the_hash_of_a_manifest_does_not_know_replicas_and_knows_everything_else():
    one, two = (with_hash(deployment(wanted(), count, PLATFORM)) for count in (1, 2))
    other = with_hash(deployment(wanted(a_spec(update={"drain": "1s"})), 1, PLATFORM))
    assert manifest_hash(one) == manifest_hash(two) != manifest_hash(other)


@pytest.mark.parametrize(
    ("live", "asked", "holds"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 2}, {"a": 1}, False),
        ({}, {"a": 1}, False),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}, True),
        ({"cpu": "1"}, {"cpu": "1000m"}, True),
        ({"memory": "2Gi"}, {"memory": "1024Mi"}, False),
        ({}, {"list": [], "map": {}, "text": ""}, True),
        ({"list": [1]}, {"list": []}, False),
        ({"list": [{"a": 1, "added": 2}]}, {"list": [{"a": 1}]}, True),
        ({"list": [1, 2]}, {"list": [1]}, False),
        ({"flag": True}, {"flag": False}, False),
    ],
    ids=str,
)
def test_what_others_add_is_no_drift_and_what_they_change_is(live, asked, holds):
    assert covers(live, asked) is holds


L4_NODES = CLASSES["l4"]


def test_devices_are_counted_where_a_device_plugin_counts_them_and_claimed_where_only_a_driver_is():
    assert not claims_are_used({"gpu.nvidia.com"}, {"nvidia.com/gpu"})
    assert claims_are_used({"gpu.nvidia.com"}, {"ephemeral-storage"})
    assert not claims_are_used({"other.example"}, set())


def test_a_claim_asks_for_the_memory_of_the_class_within_the_tolerance_of_labels():
    planned = wanted(a_spec(hardware={}), plan=Plan(accelerator="l4", count=2), accelerator_class=L4_NODES)
    (template,) = devices(planned, replace(PLATFORM, claims=True)).manifests
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    expression = request["exactly"]["selectors"][0]["cel"]["expression"]
    assert request["exactly"]["count"] == 2 and "quantity('20730Mi')" in expression and "quantity('25337Mi')" in expression
    assert "semver('8.9.0')" in expression


def test_an_amd_device_is_an_extended_resource_also_where_nvidias_are_claimed():
    planned = wanted(a_spec(hardware={}), plan=Plan(accelerator="mi300x", count=8), accelerator_class=CLASSES["mi300x"])
    assert devices(planned, replace(PLATFORM, claims=True)).resources == {"amd.com/gpu": "8"}
    assert {"key": "amd.com/gpu", "operator": "Exists"} in tolerations(planned)


CACHED = replace(
    PLATFORM,
    weights=S3Location("weights", endpoint="https://s3.example", path_style=True),
    weights_credentials=(("AWS_ACCESS_KEY_ID", "writer"), ("AWS_SECRET_ACCESS_KEY", "writerwriter")),
)
TEAM = "1c9a8e1f-6d8b-4a7f-8e54-4b9b2e2a3d66"


def pod_of(platform):
    template = deployment(wanted(namespace_uid=TEAM), 1, platform)["spec"]["template"]
    (fetch,), (engine,) = template["spec"]["initContainers"], template["spec"]["containers"]
    return template, {entry["name"]: entry for entry in fetch["env"]}, {entry["name"]: entry for entry in engine["env"]}


def test_the_container_that_fetches_gets_the_cache_and_the_engine_does_not():
    _, fetch, engine = pod_of(CACHED)
    secret = credentials(wanted(), CACHED)
    assert fetch["DEDICATED_S3_BUCKET"]["value"] == "weights" and fetch["DEDICATED_NAMESPACE_UID"]["value"] == TEAM
    assert fetch["AWS_SECRET_ACCESS_KEY"]["valueFrom"]["secretKeyRef"]["name"] == secret["metadata"]["name"]
    assert not [name for name in engine if "S3" in name or "AWS" in name]
    assert set(secret["data"]) == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} and secret["metadata"]["ownerReferences"]
    assert "writerwriter" not in repr(CACHED), "credentials are in no representation"


def test_without_a_cache_nothing_of_it_is_rendered():
    template, fetch, _ = pod_of(PLATFORM)
    assert not [name for name in fetch if "S3" in name or "AWS" in name] and credentials(wanted(), PLATFORM) is None
    assert "annotations" not in template["metadata"] and "annotations" not in service_account("team-a", PLATFORM)["metadata"]


def test_an_identity_of_the_cloud_needs_no_secret_and_is_kept_out_of_the_engine():
    role = (("eks.amazonaws.com/role-arn", "arn:aws:iam::1:role/weights"),)
    platform = replace(CACHED, weights_credentials=(), engine_account_annotations=role)
    template, fetch, _ = pod_of(platform)
    assert credentials(wanted(), platform) is None and "AWS_ACCESS_KEY_ID" not in fetch
    assert template["metadata"]["annotations"] == {"eks.amazonaws.com/skip-containers": "engine"}
    assert service_account("team-a", platform)["metadata"]["annotations"] == dict(role)
