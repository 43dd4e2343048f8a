"""The real gateway, both processes, on this machine; and the objects of a cluster that it reads, in domain words."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dedicated.api import apikey, names
from hack.cluster.processes import free_port
from tests.support.cluster import wait_until
from tests.support.process import kubeconfig_for

SYSTEM, ACTIVITY, TEAM = "dedicated-system", "dedicated-activity", "team-a"
SYSTEM_KEY = b"k" * 32
Manifest = dict[str, Any]

CONDITIONS: dict[str, list[tuple[str, str, str]]] = {
    "up": [("Ready", "True", "AllReady"), ("Active", "True", "AllReady")],
    "building": [("Ready", "False", "EngineStarting"), ("Reconciling", "True", "EngineStarting"), ("Active", "False", "EngineStarting")],
    "sleeping": [("Ready", "True", "NoTraffic"), ("Active", "False", "NoTraffic")],
    "waking": [("Ready", "True", "Waking"), ("Active", "False", "Waking")],
    "failed": [("Ready", "False", "HostOutOfMemory"), ("Stalled", "True", "HostOutOfMemory"), ("Active", "False", "HostOutOfMemory")],
    "paused": [("Ready", "False", "Suspended"), ("Active", "False", "Suspended")],
}
"""By state, as the operator writes them."""


def an_endpoint(name: str, state: str = "up", *, owner: str = "alice", shared_as: str | None = None, **changes: Any) -> Manifest:
    """An InferenceEndpoint with a status; keyword arguments replace top-level fields of the status."""
    uid = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
    access = {"owner": owner, **({"visibility": "shared", "displayName": shared_as} if shared_as else {})}
    conditions = [{"type": kind, "status": value, "reason": reason, "message": f"It is {reason}."} for kind, value, reason in CONDITIONS[state]]
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": TEAM, "uid": uid, "creationTimestamp": "2026-01-31T12:00:00Z"},
        "spec": {"access": access, "model": {"huggingFace": {"repo": "acme/tiny"}}, "scaling": {"idleAfter": "15m"}},
        "status": {"conditions": conditions, "revisions": {"serving": "rev1"}, **changes},
    }


def id_of(endpoint: Manifest) -> str:
    """Its public id."""
    return names.endpoint_id(endpoint["metadata"]["uid"])


def a_slice(endpoint: Manifest, *addresses: str, port: int, pod: str = "", serving: bool = True, terminating: bool = False) -> Manifest:
    """The EndpointSlice of an endpoint's headless Service."""
    meta = endpoint["metadata"]
    service = names.child_name(meta["name"], meta["uid"], "pods")
    deployment = names.child_name(meta["name"], meta["uid"], "rev1")
    points = [
        {
            "addresses": [address],
            "conditions": {"ready": True, "serving": serving, "terminating": terminating},
            "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": pod or f"{deployment}-5d4f8-{number}"},
        }
        for number, address in enumerate(addresses)
    ]
    labels = {"kubernetes.io/service-name": service, names.LABEL_ENDPOINT_ID: id_of(endpoint)}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-x", "namespace": meta["namespace"], "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port}],
        "endpoints": points,
    }


def a_secret(number: int = 0) -> str:
    """The secret of a key; another number is another one."""
    return apikey.secret_from(number.to_bytes(40))


def a_key(secret: str, owner: str = "alice", *, expires_at: str | None = None, revoked: bool = False) -> Manifest:
    """An ApiKey."""
    manifest: Manifest = apikey.manifest(secret, owner, SYSTEM, expires_at)
    manifest["spec"]["revoked"] = revoked
    return manifest


@dataclass(frozen=True)
class Reply:
    """What a caller got."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The sentence; the body must be exactly that."""
        sentence = json.loads(self.body)["error"]
        assert self.body == b'{"error": %b}' % json.dumps(sentence, ensure_ascii=False).encode(), self.body
        assert self.headers["content-type"] == "application/json", self.headers
        return str(sentence)


@dataclass
class Gateway:
    """`dedicated gateway` and `dedicated envoy`, started and killed as a test likes."""

    kubeconfig: Path
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    private: int = field(default_factory=free_port)
    decisions: subprocess.Popen[bytes] | None = None
    envoy: subprocess.Popen[bytes] | None = None

    def start(self) -> Gateway:
        """Both processes; back when calls are answered."""
        self.start_decisions()
        self.start_envoy()
        return self

    def start_decisions(self, *, wait: bool = True) -> None:
        """The decision service."""
        self.decisions = self._start("gateway")
        if wait:
            wait_until("the decision service to be ready", self.ready, 20, lambda: self.text("gateway"), every_s=0.02)

    def start_envoy(self) -> None:
        """Envoy."""
        self.envoy = self._start("envoy")
        wait_until("Envoy to answer", self.listens, 20, lambda: self.text("envoy"), every_s=0.02)

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        env = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "DEDICATED_RUN_DIR": str(self.folder),
            "DEDICATED_ENGINE_KEY_FILE": str(self.folder / "engine-key"),
            "DEDICATED_LISTEN_PORT": str(self.port),
            "DEDICATED_PORT": str(self.private),
            "DEDICATED_POD_CIDRS": "127.0.0.0/8",
            "DEDICATED_IDENTITY": "gateway-0",
            **self.settings,
        }
        (self.folder / "engine-key").write_bytes(SYSTEM_KEY)
        with (self.folder / f"{command}.log").open("ab") as out:
            return subprocess.Popen([sys.executable, "-m", "dedicated", command], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def ready(self) -> bool:
        """Whether the decision service says that it is ready; it must not have ended."""
        assert self.decisions is not None and self.decisions.poll() is None, f"it ended: {self.text('gateway')}"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.private}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def listens(self) -> bool:
        """Whether Envoy says that it is healthy; it must not have ended."""
        assert self.envoy is not None and self.envoy.poll() is None, f"it ended: {self.text('envoy')}"
        try:
            return self.call("GET", "/healthz").status == 200
        except OSError:
            return False

    def metrics(self) -> str:
        """What the decision service counted."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.private}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def call(self, method: str, path: str, body: bytes | None = None, key: str | None = None, timeout_s: float = 30.0, **headers: str) -> Reply:
        """One call, on a connection of its own. Underscores in the names of headers stand for dashes."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        with closing(self._connection(timeout_s)) as connection:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if "DEDICATED_TLS_DIR" not in self.settings:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        anybody = ssl.create_default_context()
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout_s, context=anybody)

    def curl(self, path: str, *args: str, given: bytes | None = None, timeout_s: float = 30.0) -> Reply:
        """One call by curl, which reads an answer that comes before it has sent everything."""
        url = f"http://127.0.0.1:{self.port}{path}"
        command = ["curl", "--silent", "--include", "--path-as-is", "--max-time", str(timeout_s), "-H", "Expect:", *args, url]
        done = subprocess.run(command, input=given, capture_output=True, check=False)
        assert done.returncode == 0, f"curl ended with {done.returncode}: {done.stdout!r}"
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Reply(int(first.split()[1]), headers, body)

    def chat(self, model: str, key: str | None, **more: Any) -> Reply:
        """A chat completion on /v1."""
        return self.call("POST", "/v1/chat/completions", json.dumps({"model": model, "messages": [], **more}).encode(), key)

    def replace_decisions(self) -> None:
        """Kill the decision service as soon as another has taken its socket over: like a restart that takes no time."""
        before, self.private = self.decisions, free_port()
        self.start_decisions()
        _kill(before)

    def revive(self) -> None:
        """Start what a test has killed."""
        if self.decisions is None or self.decisions.poll() is not None:
            self.start_decisions()
        if self.envoy is None or self.envoy.poll() is not None:
            self.start_envoy()

    def kill_decisions(self) -> None:
        """kill -9."""
        _kill(self.decisions)

    def stop(self) -> None:
        """Kill both."""
        _kill(self.envoy)
        _kill(self.decisions)

    def text(self, command: str = "gateway") -> str:
        """The end of a log."""
        return (self.folder / f"{command}.log").read_text()[-4000:]


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process and process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def a_gateway(url: str, **settings: str) -> Iterator[Gateway]:
    """A running gateway before an API server; its folder has a short name, since the path of a socket may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="gw"))
    gateway = Gateway(kubeconfig_for(url, folder / "kubeconfig"), folder, settings)
    try:
        yield gateway.start()
    finally:
        gateway.stop()
        shutil.rmtree(folder, ignore_errors=True)
