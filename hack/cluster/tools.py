"""The programs of a cluster: built from their Go modules or taken from Debian's packages, cached by version outside the checkout."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster.go import go_program
from hack.tools import REPO, ToolError, cache_dir, locked, run, versions

MODULES = Path(__file__).parent / "build"
KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
FROM_DEBIAN = {
    "containerd": ("containerd", "usr/bin/containerd"),
    "ctr": ("containerd", "usr/bin/ctr"),
    "containerd-shim-runc-v2": ("containerd", "usr/bin/containerd-shim-runc-v2"),
    "runc": ("runc", "usr/sbin/runc"),
    "cni": ("containernetworking-plugins", "usr/lib/cni"),
}


@dataclass(frozen=True)
class Module:
    """A Go module that gives programs: our own main, in a folder of build/ where no other is named, or a package of somebody's."""

    name: str
    version: str
    programs: tuple[str, ...]
    package: str | None = None
    ldflags: str = "-s -w"
    env: dict[str, str] = field(default_factory=dict)
    source: Path | None = None

    @property
    def folder(self) -> Path:
        """Where our main is."""
        return self.source or MODULES / self.name

    def key(self) -> str:
        """Names the build: the version and everything that goes in."""
        digest = hashlib.sha256(self.ldflags.encode())
        for path in sorted(self.folder.glob("*")) if self.package is None else []:
            digest.update(path.read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:8]}-{platform.machine()}"


def modules() -> list[Module]:
    """Everything that is built from Go."""
    pinned = versions()
    kube = pinned["KUBERNETES_VERSION"]
    major, minor, _ = kube.split(".")
    base = "k8s.io/component-base/version"
    stamp = f"-X {base}.gitVersion=v{kube} -X {base}.gitMajor={major} -X {base}.gitMinor={minor}"
    helm = "helm.sh/helm/v3"
    # Which Kubernetes `helm template` and `helm lint` assume; without it, 1.20.
    assumed = [f"{helm}/pkg/{place}.k8sVersion" for place in ("chartutil", "lint/rules")]
    helm_stamp = " ".join(f"-X {name}Major={major} -X {name}Minor={minor}" for name in assumed)
    return [
        Module("kubernetes", kube, KUBERNETES, ldflags=f"-s -w {stamp}"),
        Module("etcd", pinned["ETCD_VERSION"], ("etcd",)),
        Module("coredns", pinned["COREDNS_VERSION"], ("coredns",)),
        Module("pause", "1", ("pause",)),
        Module("device-plugin", kube, ("device-plugin",), source=REPO / "hack" / "device-plugin"),
        Module("kwok", pinned["KWOK_VERSION"], ("kwok",)),
        Module("helm", pinned["HELM_VERSION"], ("helm",), package="helm.sh/helm/v3/cmd/helm", ldflags=f"-s -w {helm_stamp}"),
        Module("kubeconform", pinned["KUBECONFORM_VERSION"], ("kubeconform",), package="github.com/yannh/kubeconform/cmd/kubeconform"),
        Module("kind", pinned["KIND_VERSION"], ("kind",), package="sigs.k8s.io/kind"),
    ]


def path(name: str) -> Path:
    """
    Path of a program, built or fetched when it is missing.

    Raises:
        ToolError: Nobody knows it, or it cannot be built here.
    """
    if name in FROM_DEBIAN:
        package, inside = FROM_DEBIAN[name]
        return _debian(package) / inside
    module = next((module for module in modules() if name in module.programs), None)
    if module is None:
        known = sorted({*FROM_DEBIAN, *(program for module in modules() for program in module.programs)})
        raise ToolError(f"There is no tool '{name}'; known are {', '.join(known)}.")
    return _built(module) / name


def _built(module: Module) -> Path:
    folder = cache_dir("bin") / module.key()
    with locked(folder.with_suffix(".lock")):
        if not (folder / module.programs[0]).exists():
            _build(module, folder)
    return folder


def _build(module: Module, folder: Path) -> None:
    """Into a folder beside, moved into place when complete: a build that was killed leaves nothing that looks ready."""
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    env = {"CGO_ENABLED": "0", "GOFLAGS": "-trimpath -mod=mod", "GOBIN": str(partial), "GOTOOLCHAIN": "local", **module.env}
    what = f"building {module.name} {module.version} (once, then cached)"
    if module.package:
        command: list[str | Path] = [go_program(), "install", "-ldflags", module.ldflags, f"{module.package}@v{module.version}"]
        run(what, command, cwd=partial, env=env)
    else:
        target = partial / "program"
        env["GOFLAGS"] = "-trimpath -mod=readonly"
        run(what, [go_program(), "build", "-ldflags", module.ldflags, "-o", target, "."], cwd=module.folder, env=env)
        for program in module.programs:
            os.link(target, partial / program)
        target.unlink()
    partial.rename(folder)


def _debian(package: str) -> Path:
    """A Debian package unpacked into the cache: nothing is installed, so the machine's own containerd is never started or changed."""
    folder = cache_dir("debian") / f"{package}-{versions()['DEBIAN_SUITE']}-{platform.machine()}"
    with locked(folder.with_suffix(".lock")):
        if not folder.exists():
            _unpack(package, folder)
    return folder


def _unpack(package: str, folder: Path) -> None:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise ToolError(f"{package} comes from Debian's packages, and this is not Debian or Ubuntu: use a cluster of yours with KUBE_CONTEXT.")
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if not _candidate(package):
        run("refreshing Debian package lists", ["apt-get", "update"])
    run(f"fetching Debian's {package}", ["apt-get", "download", package], cwd=partial)
    for archive in partial.glob("*.deb"):
        run(f"unpacking {archive.name}", ["dpkg", "-x", archive, partial])
        archive.unlink()
    partial.rename(folder)


def _candidate(package: str) -> bool:
    said = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False).stdout
    return "Candidate:" in said and "Candidate: (none)" not in said
