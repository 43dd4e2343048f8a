"""
Write hack/schemas/: a strict JSON schema of each kind that the project uses, for kubeconform.

Kubernetes' own kinds come from the swagger.json in the Go module k8s.io/kubernetes, ours from crds/, so linting needs no network. They are made as
the ones that kubeconform fetches by default (https://github.com/yannh/kubernetes-json-schema, folders "standalone-strict") and are stricter in one
thing: null stands for an absent field only. As an item or as a map's value it is refused, since a template that renders it has lost a value.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.go import go_program
from hack.tools import REPO, ToolError, run, versions

Json = dict[str, Any]

FOLDER = REPO / "hack" / "schemas"
MODULE = "k8s.io/kubernetes"
KINDS = {
    "v1": ("ConfigMap", "Namespace", "PersistentVolumeClaim", "Pod", "Secret", "Service", "ServiceAccount"),
    "admissionregistration.k8s.io/v1": ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"),
    "apiextensions.k8s.io/v1": ("CustomResourceDefinition",),
    "apps/v1": ("DaemonSet", "Deployment"),
    "resource.k8s.io/v1": ("ResourceClaimTemplate",),
    "autoscaling/v2": ("HorizontalPodAutoscaler",),
    "batch/v1": ("CronJob", "Job"),
    "coordination.k8s.io/v1": ("Lease",),
    "networking.k8s.io/v1": ("Ingress", "NetworkPolicy"),
    "policy/v1": ("PodDisruptionBudget",),
    "rbac.authorization.k8s.io/v1": ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"),
    "storage.k8s.io/v1": ("CSIDriver",),
}

META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
PROPS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
# A schema inside a CustomResourceDefinition holds schemas: the only type that holds itself, so the only one that stays a reference.
NESTED: Json = {"$ref": "#/definitions/JSONSchemaProps"}
# The swagger calls these a string, or nothing at all: their Go types have marshallers of their own.
BY_HAND: dict[str, Json] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["integer", "string"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["number", "string"]},
    PROPS: NESTED,
    f"{PROPS}OrArray": {"anyOf": [NESTED, {"type": "array", "items": NESTED}]},
    f"{PROPS}OrBool": {"anyOf": [NESTED, {"type": "boolean"}]},
    f"{PROPS}OrStringArray": {"anyOf": [NESTED, {"type": "array", "items": {"type": "string"}}]},
}
# Draft 4, as OpenAPI 3.0 understands exclusiveMinimum, and as kubeconform reads a schema that names no draft.
DRAFT = "http://json-schema.org/draft-04/schema#"
# Words for people and for the API server: kubeconform does nothing with them.
DROPPED = ("description", "default", "nullable")
# Go in a folder without go.mod, with the Go that is there.
GO_ENV = {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"}
README = """\
# JSON schemas for kubeconform

Written by `python -m hack.gen_schemas`: do not edit. Kubernetes' kinds come from `api/openapi-spec/swagger.json` in the Go module k8s.io/kubernetes
v{version} (`KUBERNETES_VERSION` in `hack/tools.env`), ours from `crds/`. They are strict: a field that is not listed is refused. `make lint` reads
them, without network.
"""


def resolved(node: Json, definitions: Mapping[str, Json], *, optional: bool = False) -> Json:
    """A swagger type with what it refers to in place. An optional field may be null: the API server reads that as absent."""
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[1]
        found = dict(BY_HAND[name]) if name in BY_HAND else resolved(definitions[name], definitions)
    else:
        found = _fields_resolved(node, definitions)
    if optional and "type" in found:
        kinds = found["type"] if isinstance(found["type"], list) else [found["type"]]
        found["type"] = [*kinds, "null"]
    return found


def _fields_resolved(node: Json, definitions: Mapping[str, Json]) -> Json:
    found = dict(node)
    required = node.get("required", [])
    if "properties" in node:
        fields = node["properties"].items()
        found["properties"] = {name: resolved(field, definitions, optional=name not in required) for name, field in fields}
    for inner in ("items", "additionalProperties"):
        if isinstance(node.get(inner), dict):
            found[inner] = resolved(node[inner], definitions)
    return found


def strict(node: Json) -> Json:
    """A schema that refuses fields it does not list, without the words that kubeconform does not read."""
    found = {key: value for key, value in node.items() if key not in DROPPED and not key.startswith("x-kubernetes-")}
    if node.get("nullable"):
        found["type"] = [node["type"], "null"]
    if "properties" in node:
        found["properties"] = {name: strict(field) for name, field in node["properties"].items()}
        found.setdefault("additionalProperties", node.get("x-kubernetes-preserve-unknown-fields", False))
    for inner in ("items", "additionalProperties"):
        if isinstance(found.get(inner), dict):
            found[inner] = strict(found[inner])
    return found


def of_kind(schema: Json, api_version: str, kind: str) -> Json:
    """The schema of whole objects: it also says of which kind they are."""
    properties = {
        **schema["properties"],
        "apiVersion": {"type": "string", "enum": [api_version]},
        "kind": {"type": "string", "enum": [kind]},
    }
    return {"$schema": DRAFT, **schema, "properties": properties, "required": sorted({"apiVersion", "kind", *schema.get("required", [])})}


def kubernetes_schema(api_version: str, kind: str, definitions: Mapping[str, Json]) -> Json:
    """Schema of one of Kubernetes' kinds. Raises ToolError where the swagger has none."""
    group, _, version = api_version.rpartition("/")
    wanted = [{"group": group, "kind": kind, "version": version}]
    found = next((node for node in definitions.values() if node.get("x-kubernetes-group-version-kind") == wanted), None)
    if found is None:
        raise ToolError(f"Kubernetes {versions()['KUBERNETES_VERSION']} has no {kind} in {api_version}: correct KINDS in hack/gen_schemas.py.")
    schema = of_kind(strict(resolved(found, definitions)), api_version, kind)
    if kind == "CustomResourceDefinition":
        schema["definitions"] = {"JSONSchemaProps": strict(_fields_resolved(definitions[PROPS], definitions))}
    return schema


def custom_schema(crd: Json, version: Json, metadata: Json) -> Json:
    """Schema of a kind of ours, from one version in its CustomResourceDefinition, which leaves the metadata to the API server."""
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = metadata
    return of_kind(schema, f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])


def file_name(schema: Json) -> str:
    """What kubeconform asks for as {{.ResourceKind}}{{.KindSuffix}}.json: of the group only its first word (pkg/registry/registry.go, 0.8.0)."""
    (api_version,), (kind,) = (schema["properties"][name]["enum"] for name in ("apiVersion", "kind"))
    group, _, version = api_version.rpartition("/")
    return "-".join(part.lower() for part in (kind, group.split(".")[0], version) if part) + ".json"


STRING: Json = {"type": "string"}
NAMED: Json = {"type": "object", "required": ["name"], "properties": {name: STRING for name in ("name", "namespace", "sectionName")}}
ROUTE_RULE: Json = {
    "type": "object",
    "properties": {
        "timeouts": {"type": "object", "properties": {"request": STRING}},
        "backendRefs": {
            "type": "array",
            "items": {"type": "object", "required": ["name"], "properties": {"name": STRING, "port": {"type": "integer"}}},
        },
    },
}


def route_schema(metadata: Json) -> Json:
    """Schema of what the chart uses of the Gateway API's HTTPRoute, which is no kind of Kubernetes' own (gateway-api.sigs.k8s.io, v1)."""
    spec: Json = {
        "type": "object",
        "required": ["parentRefs", "rules"],
        "properties": {
            "parentRefs": {"type": "array", "items": NAMED},
            "hostnames": {"type": "array", "items": STRING},
            "rules": {"type": "array", "items": ROUTE_RULE},
        },
    }
    schema = strict({"type": "object", "properties": {"metadata": {}, "spec": spec}})
    schema["properties"]["metadata"] = metadata
    return of_kind(schema, "gateway.networking.k8s.io/v1", "HTTPRoute")


def custom_schemas(metadata: Json) -> list[Json]:
    """The schemas of our own kinds."""
    crds = [yaml.safe_load(path.read_text()) for path in sorted((REPO / "crds").glob("*.yaml"))]
    return [custom_schema(crd, version, metadata) for crd in crds for version in crd["spec"]["versions"]]


def written(schema: Json) -> str:
    """A schema as the text of its file."""
    return json.dumps(schema, sort_keys=True, separators=(",", ":")) + "\n"


def outputs(definitions: Mapping[str, Json]) -> dict[str, str]:
    """Every file's text by its name."""
    metadata = strict(resolved(definitions[META], definitions))
    schemas = [kubernetes_schema(api_version, kind, definitions) for api_version, kinds in KINDS.items() for kind in kinds]
    files = {file_name(schema): written(schema) for schema in (*schemas, route_schema(metadata), *custom_schemas(metadata))}
    return {"README.md": README.format(version=versions()["KUBERNETES_VERSION"]), **files}


def downloaded() -> Path | None:
    """Folder of the pinned Kubernetes module, or None where it was never downloaded. Asks no network."""
    command = [str(go_program()), "mod", "download", "-json", f"{MODULE}@v{versions()['KUBERNETES_VERSION']}"]
    with tempfile.TemporaryDirectory() as nowhere:
        done = subprocess.run(command, cwd=nowhere, env={**os.environ, **GO_ENV, "GOPROXY": "off"}, capture_output=True, text=True, check=False)
    return None if done.returncode else Path(json.loads(done.stdout)["Dir"])


def definitions_in(folder: Path) -> dict[str, Json]:
    """The API's types by name, from a folder of the Kubernetes module."""
    found: dict[str, Json] = json.loads((folder / "api" / "openapi-spec" / "swagger.json").read_text())["definitions"]
    return found


def kubernetes_module() -> Path:
    """Folder of the pinned Kubernetes module, downloaded when it is missing. Raises ToolError where that fails."""
    found = downloaded()
    if found is None:
        wanted = f"{MODULE}@v{versions()['KUBERNETES_VERSION']}"
        with tempfile.TemporaryDirectory() as nowhere:
            run(f"downloading {wanted}", [go_program(), "mod", "download", wanted], cwd=Path(nowhere), env=GO_ENV)
        found = downloaded()
    if found is None:
        raise ToolError(f"go downloaded {MODULE} and does not find it: see that GOMODCACHE (go env GOMODCACHE) can be written.")
    return found


def main() -> int:
    """Write what changed and remove what is not generated any more."""
    try:
        files = outputs(definitions_in(kubernetes_module()))
    except ToolError as failure:
        print(failure, file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    for path in sorted(FOLDER.iterdir()):
        if path.name not in files:
            path.unlink()
            print(f"removed {path.relative_to(REPO)}")
    for name, text in files.items():
        if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text:
            (FOLDER / name).write_text(text)
            print(f"wrote hack/schemas/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
