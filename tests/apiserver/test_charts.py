"""What the charts render is accepted by a real API server, in every value set; nothing is written."""

from __future__ import annotations

import pytest
import yaml

from hack.lint_charts import VALUE_FILES, with_file
from tests.support.cluster import Kubectl

NOT_INSTALLED = {"HTTPRoute"}
"""Of the Gateway API."""


@pytest.mark.parametrize("path", VALUE_FILES, ids=lambda path: path.stem)
def test_every_object_is_accepted(plane, path):
    found = [obj for obj in yaml.safe_load_all(with_file(path)) if obj and obj["kind"] not in NOT_INSTALLED]
    made = {obj["metadata"]["name"] for obj in found if obj["kind"] == "Namespace"}
    for obj in found:
        namespace = obj["metadata"].get("namespace", "default")
        if namespace in made:  # a dry run makes no namespace that the next object could be in
            obj["metadata"]["namespace"] = namespace = "default"
        done = Kubectl(plane.kubeconfig, namespace).run("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=obj)
        assert done.returncode == 0, f"{obj['kind']} {obj['metadata']['name']}: {done.stderr}"
        assert "Warning" not in done.stderr, done.stderr
