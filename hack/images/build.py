"""
Which images there are, what each is made from, and its name: a hash of all that, so that a changed image has another name and pods are made
anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hack import s3
from hack.cluster.go import go_program
from hack.images import builder, model, oci, rootfs
from hack.tools import REPO, ToolError, cache_dir, locked, run, versions

LOCAL = "localhost/dedicated"
KEEP = 2
"""Archives kept of each image."""


@dataclass(frozen=True)
class Image:
    """An image that is built. `archive` is what a cluster without a registry imports; None where it was pushed."""

    name: str
    reference: str
    archive: Path | None


def build(names: Iterable[str] = (), repository: str | None = None) -> list[Image]:
    """
    Build images; all but those on demand where none is named.

    Args:
        repository: Push them there, instead of writing archives.
    Raises:
        ToolError: An image is unknown or cannot be built here.
    """
    repository = repository or os.environ.get("IMAGE_REPOSITORY") or None
    found = []
    for name in list(names) or [name for name in RECIPES if name not in ON_DEMAND]:
        if name not in RECIPES:
            raise ToolError(f"There is no image '{name}'; known are {', '.join(RECIPES)}.")
        with locked(cache_dir("locks") / f"image-{name}.lock"):
            found.append(_one(name, repository))
    return found


def _one(name: str, repository: str | None) -> Image:
    key = KEYS[name]()
    reference = f"{repository or LOCAL}/{name}:{key}"
    archive = cache_dir("images") / f"{name}-{key}-{_short(reference)}.tar"
    if not archive.exists():
        RECIPES[name](reference, archive)
        _prune(name, archive)
    if repository:
        builder.push(str(archive), reference)
    return Image(name, reference, None if repository else archive)


def _prune(name: str, newest: Path) -> None:
    old = sorted(newest.parent.glob(f"{name}-????????????-????.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in old[KEEP:]:
        path.unlink()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:4]


def _hash(*inputs: Path | str) -> str:
    """A name for the contents of files and folders."""
    digest = hashlib.sha256()
    for given in inputs:
        paths = (
            sorted(p for p in given.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
            if isinstance(given, Path) and given.is_dir()
            else [given]
        )
        for path in paths:
            digest.update(f"{path if isinstance(path, str) else path.name}\0".encode())
            digest.update(path.read_bytes() if isinstance(path, Path) else b"")
    return digest.hexdigest()[:12]


# dedicated


def _base() -> str:
    """The base image: Python's own where a registry answers, else a Debian root file system made here."""
    pinned = versions()
    published = f"docker.io/library/python:{pinned['IMAGE_PYTHON_VERSION']}-slim-{pinned['DEBIAN_SUITE']}"
    if builder.registry_answers(published):
        return published
    tar = rootfs.base()
    reference = f"{LOCAL}/base:{pinned['DEBIAN_SUITE']}-{int(tar.stat().st_mtime)}"
    builder.import_rootfs(tar, reference)
    return reference


def _dedicated_key() -> str:
    return _hash(REPO / "operator" / "Dockerfile", REPO / "requirements.lock", REPO / "operator" / "dedicated", versions()["DEBIAN_SUITE"])


def _dedicated(reference: str, archive: Path) -> None:
    context = cache_dir("images", "context-dedicated")
    shutil.rmtree(context)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "operator" / "dedicated", context / "dedicated", ignore=ignore)
    shutil.copytree(_wheels(), context / "wheels", copy_function=os.link)
    for file in (REPO / "requirements.lock", REPO / "operator" / "Dockerfile"):
        shutil.copy(file, context)
    builder.build("building the image of dedicated", context, reference, {"BASE": _base()}, archive=archive)


def _wheels() -> Path:
    """What the lock file names, as wheels for the image's Python; fetched on the machine, which knows how to reach its package index."""
    lock = REPO / "requirements.lock"
    python = versions()["IMAGE_PYTHON_VERSION"]
    folder = cache_dir("wheels") / f"{_hash(lock)}-{python}"
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    machine = os.uname().machine
    platforms = [part for tag in ("2_31", "2_28", "2_17", "2_12", "2_5") for part in ("--platform", f"manylinux_{tag}_{machine}")]
    platforms += [part for tag in ("2014", "2010", "1") for part in ("--platform", f"manylinux{tag}_{machine}")]
    common: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--only-binary=:all:",
        "--python-version",
        python,
        *platforms,
        "--dest",
        partial,
    ]
    run("fetching the libraries of dedicated", [*common, "--require-hashes", "--no-deps", "--requirement", lock])
    run("fetching pip", [*common, "--no-deps", f"pip=={versions()['PIP_VERSION']}"])
    partial.rename(folder)
    return folder


# engines


LLAMACPP_PUBLISHED = "ghcr.io/ggml-org/llama.cpp:server"
"""The project's own image, taken where its registry answers; Debian's package elsewhere."""


def _llamacpp_key() -> str:
    if builder.registry_answers(LLAMACPP_PUBLISHED):
        return _hash(LLAMACPP_PUBLISHED)
    _, version = rootfs.llamacpp()
    return _hash(version, versions()["LLAMACPP_SUITE"])


def _llamacpp(reference: str, archive: Path) -> None:
    if builder.registry_answers(LLAMACPP_PUBLISHED):
        builder.copy(LLAMACPP_PUBLISHED, archive, reference)
        return
    tar, version = rootfs.llamacpp()
    links = cache_dir("images") / "usrmerge.layer"
    oci.write_layer(links, links={name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")})
    labels = {"org.opencontainers.image.title": "llama.cpp from Debian", "org.opencontainers.image.version": version}
    oci.write_archive(archive, reference, [tar, links], entrypoint=["/usr/bin/llama-server"], labels=labels)


STUB = REPO / "hack" / "stub-engine"


def _stub_key() -> str:
    return _hash(STUB)


def stub_program() -> Path:
    """The stub engine as a static program."""
    folder = cache_dir("bin") / f"stub-engine-{_stub_key()}"
    program = folder / "stub-engine"
    with locked(folder.with_suffix(".lock")):
        if not program.exists():
            env = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath", "GOTOOLCHAIN": "local"}
            run("building the stub engine", [go_program(), "build", "-ldflags", "-s -w", "-o", program, "."], cwd=STUB, env=env)
    return program


def _stub(reference: str, archive: Path) -> None:
    layer = cache_dir("images") / "stub-engine.layer"
    oci.write_layer(layer, {"stub-engine": stub_program().read_bytes()})
    oci.write_archive(archive, reference, [layer], entrypoint=["/stub-engine"])


# the demo's hub


def _hub_key() -> str:
    """Of dedicated's image only the libraries are used, so a change of its code is none here."""
    return _hash(
        REPO / "hack" / "hub", REPO / "requirements.lock", REPO / "operator" / "Dockerfile", versions()["DEMO_MODEL_VERSION"], str(model.LAYOUT)
    )


def _hub(reference: str, archive: Path) -> None:
    context = cache_dir("images", "context-hub")
    shutil.rmtree(context)
    context.mkdir()
    shutil.copytree(model.hub_folder(), context / "models", copy_function=os.link)
    shutil.copytree(REPO / "hack" / "hub", context / "hack" / "hub", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "hack" / "hub" / "Dockerfile", context)
    (dedicated,) = build(["dedicated"])
    if not builder.has(dedicated.reference):
        _dedicated(dedicated.reference, dedicated.archive or archive)
    arguments = {"BASE": _base(), "DEDICATED": dedicated.reference}
    builder.build("building the image of the demo's hub", context, reference, arguments, archive=archive)


# an S3 server


ON_DEMAND = ("s3",)
"""Images that are built only where they are named."""


def _s3_key() -> str:
    return _hash(versions()["SEAWEEDFS_VERSION"], " ".join(s3.SERVE))


def _s3(reference: str, archive: Path) -> None:
    layer = cache_dir("images") / "s3.layer"
    oci.write_layer(layer, {"weed": s3.program("weed").read_bytes()})
    oci.write_archive(archive, reference, [layer], entrypoint=["/weed", *s3.SERVE])


RECIPES: dict[str, Callable[[str, Path], None]] = {"dedicated": _dedicated, "llamacpp": _llamacpp, "stub-engine": _stub, "demo-hub": _hub, "s3": _s3}
KEYS: dict[str, Callable[[], str]] = {
    "dedicated": _dedicated_key,
    "llamacpp": _llamacpp_key,
    "stub-engine": _stub_key,
    "demo-hub": _hub_key,
    "s3": _s3_key,
}
