"""
Provider *kind*: two nodes in containers, where Docker or Podman answers. Start, reuse, heal, load, end.

Two nodes, since the one that pods run on must not be the API server's: kindnet of this age looks at packets on their way through a node and
not at those for the node itself, so a pod beside the API server would reach it whatever a NetworkPolicy says
(https://github.com/kubernetes-sigs/kube-network-policies/pull/339, in node images from 2026 on).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from hack import tools as shell
from hack.cluster import gpus, tools
from hack.cluster.gpus import Gpus
from hack.cluster.layout import DEFAULT_NAME
from hack.tools import ToolError, cache_dir, locked, say, versions

ENGINES = ("docker", "podman")
ANSWER_S = 20.0
READY_S = 180
IGNORES_POLICIES = ""
"""None: kindnet enforces them since kind 0.24, where disableDefaultCNI is not set (https://github.com/kubernetes-sigs/kind/releases/tag/v0.24.0)."""

Env = Mapping[str, str]


class Shell:
    """How commands are issued; tests put a recording one in its place."""

    def do(self, what: str, *command: str, env: Env) -> None:
        """Run a command that may take long. Raises ToolError where it fails."""
        shell.run(what, command, env=env)

    def ask(self, *command: str, env: Env | None = None) -> tuple[bool, str]:
        """Run a command that is quick: whether it worked, and what it printed."""
        try:
            done = subprocess.run(command, env={**os.environ, **(env or {})}, capture_output=True, text=True, check=False, timeout=ANSWER_S)
        except (FileNotFoundError, subprocess.TimeoutExpired) as failure:
            return False, str(failure)
        return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr.strip()


SHELL = Shell()


def engine(sh: Shell = SHELL) -> str | None:
    """The container engine that answers, Docker before Podman."""
    return next((name for name in ENGINES if sh.ask(name, "info")[0]), None)


@dataclass(frozen=True)
class Kind:
    """The kind cluster with this name."""

    name: str = DEFAULT_NAME
    sh: Shell = SHELL

    @property
    def folder(self) -> Path:
        """Configuration and kubeconfig: outside the checkout, outside the build cache, and never ~/.kube."""
        base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
        return Path(base).expanduser() / "dedicated" / "kind" / self.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    def up(self) -> Path:
        """
        Start the cluster, or reuse it where its API server is ready; answers its kubeconfig.

        Raises:
            ToolError: No container engine answers, or kind failed; the sentence says why.
        """
        env, has = self._env(), gpus.from_environment()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(cache_dir("locks") / f"kind-{self.name}.lock"):
            if self.name in self._names(env):
                if self._runs(env):
                    say(f"kind cluster {self.name} already runs")
                    return self.kubeconfig
                say(f"kind cluster {self.name} does not answer: ending it and starting anew")
                self._delete(env)
            self._create(env, has)
        return self.kubeconfig

    def load(self, archives: Iterable[Path]) -> None:
        """Import image archives into every node."""
        env = self._env()
        for archive in archives:
            self.sh.do(f"loading {archive.name} into kind", _kind(), "load", "image-archive", str(archive), "--name", self.name, env=env)

    def down(self) -> None:
        """End the cluster and remove its files."""
        env = self._env()
        with locked(cache_dir("locks") / f"kind-{self.name}.lock"):
            self._delete(env)
            shutil.rmtree(self.folder, ignore_errors=True)

    def names(self) -> list[str]:
        """Names of all kind clusters on this machine."""
        return self._names(self._env())

    def _env(self) -> Env:
        """kind is told which engine to take, so that it cannot choose another one than the one that answered."""
        found = engine(self.sh)
        if found is None:
            raise ToolError("A kind cluster needs a container engine, and neither docker nor podman answers: start one, or use KUBE_CONTEXT.")
        return {"KIND_EXPERIMENTAL_PROVIDER": found}

    def _names(self, env: Env) -> list[str]:
        worked, said = self.sh.ask(_kind(), "get", "clusters", env=env)
        if not worked:
            raise ToolError(f"kind cannot list its clusters: {said}")
        return said.split()

    def _runs(self, env: Env) -> bool:
        """Whether its API server is ready; writes its kubeconfig on the way, since somebody may have removed it."""
        exported, _ = self.sh.ask(_kind(), "export", "kubeconfig", "--name", self.name, "--kubeconfig", str(self.kubeconfig), env=env)
        return exported and self._kubectl("get", "--raw=/readyz", "--request-timeout=5s")[0]

    def _create(self, env: Env, has: Gpus) -> None:
        file = self.folder / "config.yaml"
        file.write_text(yaml.safe_dump(config(), sort_keys=False))
        where = ("--name", self.name, "--kubeconfig", str(self.kubeconfig))
        self.sh.do(
            f"starting kind cluster {self.name}", _kind(), "create", "cluster", *where, "--config", str(file), "--wait", f"{READY_S}s", env=env
        )
        self._must("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=15s")
        self._add_gpus(has)

    def _add_gpus(self, has: Gpus) -> None:
        """GPUs that are not there, and their labels: the scheduler and the kubelet only count them. No device plugin runs, so the number stays."""
        node = ("node", f"{self.name}-worker")
        patch = {"metadata": {"labels": has.labels}}
        self._must("patch", *node, "--type=merge", f"--patch={json.dumps(patch)}")
        status = {"status": {"capacity": {gpus.RESOURCE: str(has.count)}}}
        self._must("patch", *node, "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")

    def _delete(self, env: Env) -> None:
        where = ("--name", self.name, "--kubeconfig", str(self.kubeconfig))
        self.sh.do(f"ending kind cluster {self.name}", _kind(), "delete", "cluster", *where, env=env)

    def _kubectl(self, *args: str) -> tuple[bool, str]:
        return self.sh.ask(str(tools.path("kubectl")), f"--kubeconfig={self.kubeconfig}", *args)

    def _must(self, *args: str) -> None:
        worked, said = self._kubectl(*args)
        if not worked:
            raise ToolError(f"kubectl {' '.join(args)} failed: {said}")


def node_image() -> str:
    """
    The node image, by digest: an engine that gets a tag and a digest looks at the digest alone, so the tag is checked here.

    Raises:
        ToolError: The image that is pinned is of another Kubernetes than the rest.
    """
    pinned = versions()
    image = pinned["KIND_NODE_IMAGE"]
    if not image.startswith(f"kindest/node:v{pinned['KUBERNETES_VERSION']}@sha256:"):
        raise ToolError(f"hack/tools.env names Kubernetes {pinned['KUBERNETES_VERSION']} and {image}: change both.")
    return image


def config() -> dict[str, object]:
    """kind's configuration: an API server on the loopback address alone, kindnet, and pods on the worker (the other node is tainted)."""
    image = node_image()
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"ipFamily": "ipv4", "apiServerAddress": "127.0.0.1", "disableDefaultCNI": False},
        "nodes": [{"role": "control-plane", "image": image}, {"role": "worker", "image": image}],
    }


def _kind() -> str:
    return str(tools.path("kind"))
