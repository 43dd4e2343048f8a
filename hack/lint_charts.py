"""helm lint and helm template of both charts in several value sets; kubeconform for what they render and for every other manifest of the project."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from dedicated.api import names
from hack import s3
from hack.cluster import tools
from hack.gen_schemas import FOLDER as SCHEMAS
from hack.install import hub_objects
from hack.tools import REPO, ToolError

CHART = REPO / "charts" / "dedicated"
CRD_CHART = REPO / "charts" / "dedicated-crds"
VALUE_FILES = sorted((REPO / "hack" / "chart-values").glob("*.yaml"))
VALUE_SETS: dict[str, dict[str, object]] = {path.stem: yaml.safe_load(path.read_text()) for path in VALUE_FILES}


def helm(*args: str) -> str:
    """Run helm; answers what it printed. Raises ToolError where it fails."""
    done = subprocess.run([str(tools.path("helm")), *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"helm {' '.join(args)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def sets(values: dict[str, object]) -> list[str]:
    """Values as helm's arguments."""
    return [part for name, value in values.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]


def template(values: dict[str, object]) -> str:
    """The chart's manifests with these values."""
    return _rendered(*sets(values))


def _rendered(*values: str) -> str:
    return helm("template", "dedicated", str(CHART), "--namespace", "dedicated-system", *values)


def with_file(path: Path) -> str:
    """The chart's manifests with a file of values, after helm's own lint."""
    helm("lint", "--strict", "--quiet", str(CHART), "--values", str(path))
    return _rendered("--values", str(path))


def crd_chart() -> str:
    """The manifests of the chart that holds the CRDs, after helm's own lint."""
    helm("lint", "--strict", "--quiet", str(CRD_CHART))
    return helm("template", "dedicated-crds", str(CRD_CHART))


def charts() -> dict[str, str]:
    """What both charts render, by chart and value set."""
    with ThreadPoolExecutor() as pool:
        crds = pool.submit(crd_chart)
        rendered = pool.map(with_file, VALUE_FILES)
        by_file = {f"charts/dedicated with {path.relative_to(REPO)}": text for path, text in zip(VALUE_FILES, rendered, strict=True)}
    return {"charts/dedicated-crds": crds.result(), **by_file}


def golden_spec(text: str) -> str:
    """The endpoint of a golden case, whose file holds the spec only."""
    endpoint = {"apiVersion": f"{names.GROUP}/{names.VERSION}", "kind": names.KIND, "metadata": {"name": "llama"}, "spec": yaml.safe_load(text)}
    return yaml.safe_dump(endpoint)


def files() -> dict[str, str]:
    """Every manifest that lies in the checkout, and the hub's, which are made in Python, by where they are."""
    golden = REPO / "tests" / "golden"
    paths = [*(REPO / "crds").rglob("*.yaml"), *golden.rglob("*.yaml")]
    found = {str(path.relative_to(REPO)): path.read_text() for path in sorted(paths)}
    specs = {name: golden_spec(text) for name, text in found.items() if name.startswith("tests/golden/") and name.endswith("/spec.yaml")}
    return {
        **found,
        **specs,
        "hack/install.py hub_objects": yaml.safe_dump(hub_objects("hub:1")),
        "hack/s3.py objects": yaml.safe_dump(s3.objects("s3:1")),
    }


def kubeconform(manifests: Mapping[str, str]) -> str:
    """
    Compare manifests with the schemas in hack/schemas; answers kubeconform's summary.

    Args:
        manifests: YAML by the name that a person would look for.
    Raises:
        ToolError: One line for each object that does not fit, with that name first.
    """
    location = f"{SCHEMAS}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    with tempfile.TemporaryDirectory() as folder:
        # It names files as it was given them: a copy under the name to be shown gives messages that need no rewriting.
        for name, text in manifests.items():
            path = Path(folder, name if name.endswith(".yaml") else f"{name}.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        command = [str(tools.path("kubeconform")), "-strict", "-summary", "-schema-location", location, "."]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError("kubeconform:\n" + "\n".join(sorted((done.stdout + done.stderr).splitlines())))
    return done.stdout.strip()


def main() -> int:
    """Lint and render everything."""
    try:
        summary = kubeconform({**charts(), **files()})
    except ToolError as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"charts: {len(VALUE_FILES)} value sets lint and render; kubeconform: {summary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
