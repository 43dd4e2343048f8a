"""Manifests against the committed schemas: what kubeconform lets pass, what it refuses and names, and that the generator writes just these."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from hack import gen_schemas, lint_charts
from hack.gen_schemas import FOLDER, KINDS
from hack.lint_charts import kubeconform
from hack.tools import REPO, ToolError

ALL_KINDS = [(api_version, kind) for api_version, kinds in KINDS.items() for kind in kinds]
OURS = ("inference.dedicated.dev/v1alpha1", "InferenceEndpoint")
OUR_KINDS = [OURS, (OURS[0], "AcceleratorClass"), (OURS[0], "ApiKey"), (OURS[0], "EndpointLog")]


def deployment(**spec):
    container = {
        "name": "web",
        "image": "web:1",
        "resources": {"limits": {"cpu": 2, "memory": "1Gi"}},
        "livenessProbe": {"tcpSocket": {"port": "web"}},
    }
    template = {"metadata": {"labels": {"app": "web"}, "creationTimestamp": None}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template, **spec},
    }


def endpoint(**spec):
    (api_version, kind) = OURS
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "llama"}, "spec": {"access": {"owner": "alice"}, **spec}}


def crd(**schema):
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", **schema}}}
    names = {"kind": "Thing", "plural": "things"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def said_of(*objects):
    """What kubeconform says of objects in a file named some/where.yaml."""
    return kubeconform({"some/where": yaml.safe_dump_all(objects)})


@pytest.mark.parametrize(
    "found",
    [
        deployment(),
        deployment(replicas=None),
        deployment(strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": "25%"}}),
        endpoint(hardware={"cpu": 2, "memory": "8Gi"}),
        crd(properties={"spec": {"type": "object", "properties": {"$ref": {"type": "array", "items": {"type": "string"}}}}}),
        {"apiVersion": "v1", "kind": "List", "items": [deployment(), endpoint()]},
    ],
    ids=["a deployment", "an optional null", "integer or string", "an endpoint", "a CRD in a CRD's words", "a list"],
)
def test_what_is_right_passes(found):
    assert "Invalid: 0, Errors: 0, Skipped: 0" in said_of(found)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (deployment(replicaz=3), "'replicaz' not allowed"),
        (deployment(replicas="three"), "'/spec/replicas': got string, want null or integer"),
        (deployment(selector=None), "'/spec/selector': got null, want object"),
        (deployment(template={"spec": {"containers": [{"image": "web:1"}]}}), "missing property 'name'"),
        (deployment(template={"spec": {"containers": [{"name": "web", "comand": []}]}}), "'comand' not allowed"),
        (deployment(strategy={"rollingUpdate": {"maxSurge": [1]}}), "maxSurge': got array"),
        ({**deployment(), "metadata": {"name": "web", "annotations": {"lost": None}}}, "/metadata/annotations/lost': got null"),
        ({**deployment(), "metadata": {"nam": "web"}}, "'nam' not allowed"),
        ({**deployment(), "apiVersion": "apps/v1beta1"}, "could not find schema for Deployment"),
        (endpoint(replicaz=3), "'replicaz' not allowed"),
        (endpoint(engine={"kind": "nonesuch"}), "/spec/engine/kind"),
        (endpoint(hardware={"memory": "8 GiB"}), "/spec/hardware/memory"),
        ({**endpoint(), "metadata": {"nam": "llama"}}, "'nam' not allowed"),
        (crd(propertiez={}), "'propertiez' not allowed"),
        (crd(properties={"spec": {"type": "array", "items": {"typ": "string"}}}), "'typ' not allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_refused_by_file_object_and_field(found, says):
    with pytest.raises(ToolError) as refused:
        said_of(deployment(), found)
    assert says in str(refused.value)
    assert f"some/where.yaml - {found['kind']} " in str(refused.value)


def test_a_key_that_is_there_twice_is_refused():
    with pytest.raises(ToolError, match='key "name" already set'):
        kubeconform({"twice": "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, name: b}\n"})


@pytest.mark.parametrize(("api_version", "kind"), [*ALL_KINDS, *OUR_KINDS], ids=lambda value: value)
def test_every_kind_has_a_strict_schema_that_kubeconform_finds(api_version, kind):
    with pytest.raises(ToolError, match="'nosuchfield' not allowed"):
        said_of({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}, "nosuchfield": 1})


def test_no_schema_file_is_left_over_and_together_they_are_small():
    paths = list(FOLDER.glob("*.json"))
    assert len(paths) == len(ALL_KINDS) + len(OUR_KINDS) + 1  # and HTTPRoute
    assert sum(path.stat().st_size for path in paths) < 3 * 2**20


@pytest.mark.parametrize("path", sorted((REPO / "tests" / "golden").rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_golden_manifest_fits_and_none_is_skipped(path):
    name = str(path.relative_to(REPO))
    text = lint_charts.files()[name]
    objects = [found for found in yaml.safe_load_all(text) if found]
    assert f"Valid: {len(objects)}, Invalid: 0, Errors: 0, Skipped: 0" in kubeconform({name: text})
    assert objects


def test_no_manifest_of_the_checkout_and_no_value_set_is_forgotten(monkeypatch):
    asked = {}
    monkeypatch.setattr(lint_charts, "kubeconform", asked.update)
    assert lint_charts.main() == 0
    lie = [str(path.relative_to(REPO)) for pattern in ("crds/*.yaml", "crds/samples/*.yaml", "tests/golden/*/*.yaml") for path in REPO.glob(pattern)]
    rendered = [f"charts/dedicated with hack/chart-values/{name}.yaml" for name in lint_charts.VALUE_SETS]
    assert set(asked) == {*lie, *rendered, "charts/dedicated-crds", "hack/install.py hub_objects", "hack/s3.py objects"}
    assert all("kind: " in text for text in asked.values())


def test_a_chart_that_renders_a_misspelt_field_is_named_with_its_value_set(monkeypatch, tmp_path, capsys):
    chart = shutil.copytree(lint_charts.CHART, tmp_path / "chart")
    deployment = chart / "templates" / "operator" / "deployment.yaml"
    right, wrong = "  replicas: {{", "  {{ if .Values.operator.replicas }}replicas{{ else }}replicaz{{ end }}: {{"
    assert right in deployment.read_text()
    deployment.write_text(deployment.read_text().replace(right, wrong))
    monkeypatch.setattr(lint_charts, "CHART", chart)
    assert lint_charts.main() == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if "is invalid" in line]
    assert [line.split(" is invalid")[0] for line in lines] == [
        "charts/dedicated with hack/chart-values/minimal.yaml - Deployment dedicated-operator",
    ]
    assert "'replicaz' not allowed" in lines[0]


def unchanged(defaults, given, path=()):
    """Values that a set leaves as they are by default, in dotted form."""
    if isinstance(defaults, dict) and defaults and isinstance(given, dict):
        return [found for name, value in defaults.items() for found in unchanged(value, given.get(name, value), (*path, name))]
    return [".".join(path)] if defaults == given else []


def test_the_set_everything_changed_changes_every_value_of_the_chart():
    defaults = yaml.safe_load((lint_charts.CHART / "values.yaml").read_text())
    # A gateway that is off renders nothing of its own; the set "minimal" turns it off.
    assert unchanged(defaults, lint_charts.VALUE_SETS["everything-changed"]) == ["gateway.enabled"]


def test_the_schemas_of_our_kinds_are_those_in_the_crds():
    # Taken from a committed schema, so that a machine without the Go module checks this too.
    metadata = json.loads((FOLDER / "namespace-v1.json").read_text())["properties"]["metadata"]
    schemas = gen_schemas.custom_schemas({**metadata, "type": "object"})
    assert len(schemas) == len(OUR_KINDS)
    for schema in schemas:
        assert (FOLDER / gen_schemas.file_name(schema)).read_text() == gen_schemas.written(schema), "run python -m hack.gen_schemas"


def test_generating_again_gives_the_same_bytes():
    module = gen_schemas.downloaded()
    if module is None:
        pytest.skip("the Go module k8s.io/kubernetes is not downloaded here: python -m hack.gen_schemas does that")
    files = gen_schemas.outputs(gen_schemas.definitions_in(module))
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == {name: text.encode() for name, text in files.items()}


def test_a_kind_that_kubernetes_does_not_have_is_one_sentence():
    with pytest.raises(ToolError, match="has no Deployment in apps/v9: correct KINDS"):
        gen_schemas.kubernetes_schema("apps/v9", "Deployment", {})
