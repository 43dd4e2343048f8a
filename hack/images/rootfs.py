"""Root file systems from Debian's packages, cached as tar files, with the versions of what is in them."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

from hack.tools import ToolError, apt_install, cache_dir, locked, run, versions

SMALLER = ("usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "usr/share/bash-completion/*", "var/cache/apt/*", "var/lib/apt/lists/*")


def base() -> Path:
    """Debian with Python and certificates: the base of `dedicated` where no registry answers."""
    suite = versions()["DEBIAN_SUITE"]
    return _made(f"base-{suite}", suite, "minbase", ["python3", "ca-certificates"])


def llamacpp() -> tuple[Path, str]:
    """Debian's llama.cpp with what it needs and nothing else, and its version."""
    suite = versions()["LLAMACPP_SUITE"]
    path = _made(f"llamacpp-{suite}", suite, "extract", ["llama.cpp"])
    return path, path.with_suffix(".version").read_text().strip()


def _made(name: str, suite: str, variant: str, packages: list[str]) -> Path:
    path = cache_dir("rootfs") / f"{name}.tar"
    with locked(path.with_suffix(".lock")):
        if not path.exists():
            _make(path, suite, variant, packages)
    return path


def _make(path: Path, suite: str, variant: str, packages: list[str]) -> None:
    apt_install("mmdebstrap")
    if not shutil.which("mmdebstrap"):
        raise ToolError("Root file systems are made with mmdebstrap, which is not installed.")
    partial = path.with_suffix(".partial.tar")
    # Package lists of a mirror may be older than they say they stay valid.
    options = [f"--variant={variant}", f"--include={','.join(packages)}", "--aptopt=Acquire::Check-Valid-Until false"]
    options += [f"--dpkgopt=path-exclude=/{pattern}" for pattern in SMALLER]
    run(f"making a root file system with {', '.join(packages)} from {suite}", ["mmdebstrap", *options, suite, partial])
    path.with_suffix(".version").write_text(_version_inside(partial))
    partial.rename(path)


def _version_inside(path: Path) -> str:
    """The version of llama.cpp's library, from its file name: extracted trees keep no package database. Empty where there is none."""
    with tarfile.open(path) as tar:
        names = [member.name for member in tar if "libllama.so.0." in member.name]
    return names[0].rpartition("libllama.so.")[2] if names else ""
