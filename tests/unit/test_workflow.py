"""What runs elsewhere names only what is here: the workflow's targets, files and versions."""

from __future__ import annotations

import re

import yaml

from hack.cluster import context
from hack.tools import REPO, versions

WORKFLOW = yaml.safe_load((REPO / ".github" / "workflows" / "kind.yaml").read_text())
JOB = WORKFLOW["jobs"]["cluster"]
COMMANDS = [step["run"] for step in JOB["steps"] if "run" in step]


def test_every_command_of_the_workflow_exists():
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    named = {target for command in COMMANDS for target in re.findall(r"make ([a-z-]+)", command)}
    assert {"install", "cluster", "test-cluster", "down"} == named and named <= targets
    files = [word for command in COMMANDS for word in command.split() if word.startswith("tests/")]
    assert files == ["tests/cluster/test_isolation.py"] and all((REPO / file).exists() for file in files)


def test_it_runs_on_kind_where_no_test_of_policies_is_skipped(monkeypatch):
    for name, value in JOB["env"].items():
        monkeypatch.setenv(name, value)
    assert context.choose().provider == "kind"
    assert context.kind.IGNORES_POLICIES == ""


def test_its_tools_are_new_enough():
    given = {key: value for step in JOB["steps"] for key, value in step.get("with", {}).items()}
    assert given["go-version"] == versions()["GO_MINIMUM"] and given["python-version"] == versions()["IMAGE_PYTHON_VERSION"]
