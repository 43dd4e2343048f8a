"""
Somebody's cluster, named by KUBE_CONTEXT: which one it is, whether it is on this machine, and a question before anything is done to one that
is not. An address says where a cluster is only so far: a tunnel on the loopback address is taken for local.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from hack.cluster import tools
from hack.cluster.layout import Layout
from hack.tools import ToolError, cache_dir

Ask = Callable[[str], str | None]
"""Asks a person; None where there is nobody to ask."""

LOCAL_NAMES = re.compile(r"kind-.+|minikube|k3d-.+|docker-desktop")
"""Contexts that kind, minikube, k3d and Docker Desktop write."""
WHAT = (
    "installs charts dedicated-crds and dedicated into namespace dedicated-system, and a model hub into namespace dedicated-hub; "
    "creates and deletes InferenceEndpoints and namespaces demo and story-*"
)
agreed: set[tuple[str, str]] = set()
"""Contexts and servers that this process was allowed to use."""


def ask_on_terminal(question: str) -> str | None:
    """Ask on the terminal itself, which is there even where standard input is not it, such as below pytest."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    with os.fdopen(descriptor, "r+b", buffering=0) as terminal:
        if os.tcgetpgrp(descriptor) != os.getpgrp():
            return None  # in the background: reading would stop the process
        terminal.write(question.encode())
        return terminal.readline().decode(errors="replace").strip()


def use(context: str, ask: Ask = ask_on_terminal) -> Path:
    """
    A kubeconfig with this context alone, so that nothing can reach another cluster by mistake. Asks first where the cluster is not local.

    Raises:
        ToolError: It cannot be used, or must not be; the sentence says why.
    """
    if not os.environ.get("IMAGE_REPOSITORY"):
        raise ToolError("KUBE_CONTEXT needs IMAGE_REPOSITORY too: a repository that the cluster can pull from, such as registry.example/dedicated.")
    text = _minified(context)
    server = str(yaml.safe_load(text)["clusters"][0]["cluster"]["server"])
    if not is_local(context, server):
        confirm(context, server, ask)
    path = cache_dir("contexts") / f"{context.replace('/', '_')}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(text)
    _reach(context, server, path)
    return path


def is_local(context: str, server: str) -> bool:
    """Whether an API server is on this machine: by its loopback address, by the name its maker gives the context, or as a bare cluster's."""
    host = urlsplit(server).hostname or ""
    if server in _bare_servers() or host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return True
    return bool(LOCAL_NAMES.fullmatch(context)) and _is_private(host)


def confirm(context: str, server: str, ask: Ask) -> None:
    """
    Go on only where YES=1 is set or a person says yes.

    Raises:
        ToolError: They did not, or there is nobody to ask.
    """
    if os.environ.get("YES") == "1" or (context, server) in agreed:
        return
    answer = ask(f"Context {context}, server {server}, is not on this machine.\nThis {WHAT} there.\nGo on? Only 'yes' does: ")
    if answer is None:
        raise ToolError(
            f"Context {context}, server {server}, is not on this machine, and there is no terminal to ask on; this {WHAT}: set YES=1 to allow it."
        )
    if answer != "yes":
        raise ToolError(f"Nothing was done to context {context}, server {server}: the answer was not 'yes'.")
    agreed.add((context, server))


def _minified(context: str) -> str:
    known = _contexts(context)
    if context not in known:
        raise ToolError(f"KUBE_CONTEXT={context} is not in the kubeconfig, which has {', '.join(known) or 'no context'}: name one of them.")
    worked, said = _kubectl("config", "view", "--raw", "--minify", "--flatten", f"--context={context}")
    if not worked:
        raise ToolError(f"KUBE_CONTEXT={context} cannot be used: {said}")
    return said


def _contexts(wanted: str) -> list[str]:
    files = [file for file in os.environ.get("KUBECONFIG", "").split(os.pathsep) if file] or [str(Path("~/.kube/config").expanduser())]
    if not any(Path(file).exists() for file in files):
        raise ToolError(f"KUBE_CONTEXT={wanted} needs a kubeconfig, and there is no {' and no '.join(files)}: set KUBECONFIG.")
    worked, said = _kubectl("config", "view", "--output=yaml")
    if not worked:
        raise ToolError(f"The kubeconfig {', '.join(files)} cannot be read: {said}")
    found: dict[str, Any] = yaml.safe_load(said) or {}
    return [entry["name"] for entry in found.get("contexts") or []]


def _reach(context: str, server: str, kubeconfig: Path) -> None:
    worked, said = _kubectl(f"--kubeconfig={kubeconfig}", "get", "--raw=/version", "--request-timeout=10s")
    if not worked:
        reason = said.splitlines()[-1] if said else "no reason given"
        raise ToolError(f"Context {context} cannot be reached at {server} ({reason}): is the cluster up, and are you logged in?")


def _bare_servers() -> set[str]:
    found: set[str] = set()
    for file in Layout().data.parent.glob("*/control/kubeconfig"):
        with contextlib.suppress(OSError):
            found.update(entry["cluster"]["server"] for entry in yaml.safe_load(file.read_text())["clusters"])
    return found


def _is_private(host: str) -> bool:
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(addresses) and all(ipaddress.ip_address(address).is_private for address in addresses)


def _kubectl(*args: str) -> tuple[bool, str]:
    done = subprocess.run([str(tools.path("kubectl")), *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr.strip()
