"""kubectl as administrator of a cluster of ours."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hack.cluster import tools
from hack.tools import ToolError


def kubectl(kubeconfig: Path, *args: str, given: str | None = None) -> str:
    """
    Run kubectl; answers what it printed.

    Raises:
        ToolError: It failed; the sentence is its own.
    """
    command = [str(tools.path("kubectl")), f"--kubeconfig={kubeconfig}", *args]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolError(f"kubectl {' '.join(args)} failed: {done.stderr.strip()}")
    return done.stdout
