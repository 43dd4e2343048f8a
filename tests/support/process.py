"""The real operator as a process of this machine, against any API server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hack.cluster.processes import free_port
from tests.support.cluster import wait_until


def kubeconfig_for(url: str, path: Path) -> Path:
    """A kubeconfig for a proxy on loopback that needs no credentials."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": url}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "current-context": "proxy",
    }
    path.write_text(yaml.safe_dump(config))
    return path


@dataclass
class Operator:
    """`dedicated operator`, started and killed as a test likes."""

    kubeconfig: Path
    log: Path
    hub: str = "http://127.0.0.1:9"
    identity: str = "operator-a"
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    exits: list[int] = field(default_factory=list)
    """Exit codes of the runs that `supervised` started anew."""

    def start(self, *, wait: bool = True) -> Operator:
        """Start it, and wait until it acts."""
        self.port = free_port()
        env = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "HF_ENDPOINT": self.hub,
            "DEDICATED_IDENTITY": self.identity,
            "DEDICATED_IMAGE": "localhost/dedicated:test",
            "DEDICATED_IMAGE_LLAMACPP": "localhost/llamacpp:test",
            "DEDICATED_PORT": str(self.port),
            **self.settings,
        }
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dedicated", "operator"], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        if wait:
            wait_until("the operator to act", self.acts, 30, self.text, every_s=0.05)
        return self

    @contextmanager
    def supervised(self) -> Iterator[Operator]:
        """While this lasts an operator that ends is started again, as the kubelet does."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.1):
                if self.process and self.process.poll() is not None:
                    self.exits.append(self.process.returncode)
                    self.start(wait=False)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    def acts(self) -> bool:
        """Whether it says that it is ready; it must not have ended."""
        assert self.process is not None and self.process.poll() is None, f"the operator ended: {self.text()}"
        return self.probe("readyz")

    def probe(self, path: str) -> bool:
        """Whether a probe answers 200."""
        import urllib.request

        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as the kubelet does; answers the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(20)

    def text(self) -> str:
        """The end of its log."""
        return self.log.read_text()[-4000:]
