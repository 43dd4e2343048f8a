"""The import contracts hold, and each of them fails when it is broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

BREAKS = [
    ("a lower layer imports an upper one", "render/service.py", "import dedicated.lifecycle.decide", "Layers"),
    ("siblings know each other", "render/service.py", "import dedicated.diagnosis.evidence", "Layers"),
    ("the planner chooses files", "planner/size.py", "import dedicated.weights.selection", "Layers"),
    ("the planner reads a file system", "planner/model_facts.py", "import os", "The pure layers"),
    ("an adapter imports the controller", "adapters/kube.py", "import dedicated.controller.loop", "Layers"),
    ("a pure layer reads the clock", "lifecycle/decide.py", "import time", "The pure layers"),
    ("a pure layer opens a connection", "diagnosis/diagnose.py", "import httpx", "The pure layers"),
    ("a pure layer runs tasks", "weights/selection.py", "import asyncio", "The pure layers"),
    ("the gateway knows the controller", "gateway/app.py", "import dedicated.controller.loop", "Layers"),
    ("the controller knows the gateway", "controller/loop.py", "import dedicated.gateway.access", "Layers"),
    ("a decision of the gateway reads the clock", "gateway/access.py", "import time", "The pure layers"),
    ("the gateway uses Kopf", "gateway/app.py", "import kopf", "Kopf stays in the controller"),
    ("the gateway calls the Kubernetes client", "gateway/app.py", "import kubernetes.aio", "The Kubernetes client, boto3 and httpx"),
    ("an adapter uses Kopf", "adapters/kube.py", "import kopf", "Kopf stays in the controller"),
    ("a command calls boto3", "cli/fetch.py", "import boto3", "The Kubernetes client, boto3 and httpx"),
    ("the controller calls the Kubernetes client", "controller/loop.py", "import kubernetes.aio", "The Kubernetes client, boto3 and httpx"),
    ("the settings call the hub", "settings.py", "import httpx", "The Kubernetes client, boto3 and httpx"),
]


def lint(folder: Path) -> str:
    """What lint-imports says of a copy of the package."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=folder, env={"PYTHONPATH": str(folder), "PATH": ""}, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(REPO / "operator" / "dedicated", tmp_path / "dedicated", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_contracts_hold(copy):
    assert "4 kept, 0 broken" in lint(copy)


@pytest.mark.parametrize(("file", "line", "contract"), [row[1:] for row in BREAKS], ids=[row[0] for row in BREAKS])
def test_each_contract_fails_when_it_is_broken(copy, file, line, contract):
    path = copy / "dedicated" / file
    path.write_text(path.read_text().replace("from __future__ import annotations\n", f"from __future__ import annotations\n\n{line}\n", 1))
    said = lint(copy)
    assert any(contract in row and row.endswith("BROKEN") for row in said.splitlines()), said


def test_the_operator_folder_is_no_package():
    assert not (REPO / "operator" / "__init__.py").exists()
