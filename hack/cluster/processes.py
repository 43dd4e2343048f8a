"""Processes that run on behind us: started in their own session, known by pid and start time, so that a recycled pid is never mistaken for ours."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.tools import ToolError

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Process:
    """A process and when it was started (in clock ticks since boot, field 22 of /proc/PID/stat)."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process of this pid, if there is one that is no zombie."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else cls(pid, fields[19])

    @classmethod
    def read(cls, path: Path) -> Process | None:
        """The process that a pid file names, if that very process still runs."""
        try:
            pid, started = path.read_text().split()
            running = cls.of(int(pid))
        except (OSError, ValueError):
            return None
        return running if running and running.started == started else None

    def children(self) -> dict[str, int]:
        """
        Processes that it has started and still has, pids by program; shims, which it only took in as orphans, are left out.

        The kernel may miss one while another ends (proc(5), /proc/PID/task/TID/children): whoever looks for one looks again.
        """
        try:
            pids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        except OSError:
            return {}
        named = {_program(pid): int(pid) for pid in pids}
        return {name: pid for name, pid in named.items() if name and not name.startswith("containerd-shim")}

    def write(self, path: Path) -> None:
        """Remember it in a pid file."""
        path.write_text(f"{self.pid} {self.started}\n")

    def runs(self) -> bool:
        """Whether it still runs."""
        return Process.of(self.pid) == self

    def end(self, grace_s: float = 0.0) -> None:
        """Ask it to end, and after the grace kill it."""
        for number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 10.0)):
            if wait_s and self.runs():
                try:
                    os.kill(self.pid, number)
                except ProcessLookupError:
                    return
                wait_until(lambda: not self.runs(), wait_s)


def _program(pid: str) -> str:
    """Name of the program that a process runs; empty where it has ended."""
    try:
        return Path(Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()).name
    except OSError:
        return ""


def start(
    name: str, command: Sequence[str | Path], log: Path, *, env: Mapping[str, str] | None = None, die_with_us: bool = False
) -> subprocess.Popen[bytes]:
    """Start a daemon: own session, no input, output into its log. With `die_with_us` the kernel kills it when this process dies."""
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = [str(part) for part in command]
    with log.open("ab") as out:
        try:
            return subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=_die_with_parent if die_with_us else None,  # noqa: PLW1509 - one prctl call, no threads here
            )
        except FileNotFoundError as missing:
            raise ToolError(f"{name} cannot be started: {missing.filename} does not exist.") from missing


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def wait_until(check: Callable[[], bool], timeout_s: float, every_s: float = 0.05) -> bool:
    """Whether the check came true in time."""
    deadline = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


PORTS = (15_000, 30_000)
"""Of which one is drawn: below them are well-known ones, above NodePorts and outgoing connections."""


def free_port() -> int:
    """
    A TCP port on loopback that nobody listens on.

    It is drawn from below the range of outgoing connections (Linux: from 32768): one of those might take it before its user does, as might another
    test that runs at the same time and was told the next free one.
    """
    while True:
        port = random.SystemRandom().randrange(*PORTS)  # no seed of a test
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
