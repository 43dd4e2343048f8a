"""Building a Dockerfile: with Docker where its engine answers, else with buildah, which needs no daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from hack.tools import ToolError, apt_install, cache_dir, run


@cache
def docker_answers() -> bool:
    """Whether there is a Docker engine, not only its client."""
    return bool(shutil.which("docker")) and _quiet("docker", "info")


@cache
def registry_answers(reference: str) -> bool:
    """Whether a registry has this image and answers within seconds."""
    if docker_answers():
        return _quiet("docker", "manifest", "inspect", reference)
    return bool(shutil.which("skopeo")) and _quiet("skopeo", "inspect", "--command-timeout=10s", f"docker://{reference}")


def _quiet(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (subprocess.TimeoutExpired, FileNotFoundError):
        return False


def build(what: str, context: Path, reference: str, arguments: Mapping[str, str], *, archive: Path | None) -> None:
    """
    Build context/Dockerfile under this reference, and write it as an archive if one is named.

    Raises:
        ToolError: It cannot be built here; the sentence says why.
    """
    given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    if docker_answers():
        run(what, ["docker", "build", "--tag", reference, *given, context])
        if archive:
            run(f"{what}: archive", ["docker", "save", "--output", archive, reference])
        return
    run(what, [*buildah(), "build", "--isolation", "chroot", "--layers", "--tag", reference, *given, context])
    if archive:
        archive.unlink(missing_ok=True)
        run(f"{what}: archive", [*buildah(), "push", "--disable-compression", reference, f"oci-archive:{archive}:{reference}"])


def push(archive_or_reference: str, reference: str) -> None:
    """Push an image to a registry."""
    if docker_answers():
        run(f"pushing {reference}", ["docker", "push", reference])
        return
    apt_install("skopeo")
    run(f"pushing {reference}", ["skopeo", "copy", f"oci-archive:{archive_or_reference}", f"docker://{reference}"])


def copy(published: str, archive: Path, reference: str) -> None:
    """Bring an image from its registry into an archive, under a name of ours."""
    if docker_answers():
        run(f"fetching {published}", ["docker", "pull", published])
        run(f"naming {reference}", ["docker", "tag", published, reference])
        run(f"{reference}: archive", ["docker", "save", "--output", archive, reference])
        return
    run(f"fetching {published}", ["skopeo", "copy", f"docker://{published}", f"oci-archive:{archive}:{reference}"])


def has(reference: str) -> bool:
    """Whether the builder still has this image."""
    if docker_answers():
        return _quiet("docker", "image", "inspect", reference)
    return _quiet(*buildah(), "inspect", "--type", "image", reference)


def import_rootfs(rootfs: Path, reference: str) -> None:
    """Make a base image of a root file system, once."""
    if has(reference):
        return
    context = cache_dir("images", "context-base")
    (context / "Dockerfile").write_text("FROM scratch\nADD rootfs.tar /\n")
    link = context / "rootfs.tar"
    link.unlink(missing_ok=True)
    link.hardlink_to(rootfs)
    build(f"importing {rootfs.name}", context, reference, {}, archive=None)


@cache
def buildah() -> tuple[str, ...]:
    """The buildah command: storage of its own, so that the machine's images are not touched, and a mount namespace, since it leaves mounts behind."""
    apt_install("buildah")
    program = shutil.which("buildah")
    if program is None:
        raise ToolError("Images are built with docker or buildah, and neither is here.")
    storage = cache_dir("buildah")
    driver = "overlay" if "overlay" in Path("/proc/filesystems").read_text() else "vfs"
    alone = ("unshare", "--mount") if os.geteuid() == 0 else ()
    return (*alone, program, "--root", str(storage / "root"), "--runroot", str(storage / "run"), "--storage-driver", driver)
