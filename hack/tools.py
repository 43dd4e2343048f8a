"""What every script in hack/ shares: pinned versions, the build cache, and commands that show progress."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PROGRESS_EVERY_S = 10.0


class ToolError(Exception):
    """One sentence for the person at the terminal: what went wrong and what to do next."""


@cache
def versions() -> Mapping[str, str]:
    """Pinned versions from hack/tools.env, by name."""
    lines = (REPO / "hack" / "tools.env").read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def cache_dir(*parts: str) -> Path:
    """A folder of the build cache, made when missing. It lies outside the checkout and outlives it."""
    base = os.environ.get("DEDICATED_CACHE") or os.environ.get("XDG_CACHE_HOME", "~/.cache") + "/dedicated"
    folder = Path(base).expanduser().joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def say(text: str) -> None:
    """One line of progress for a person, on standard error, so that standard output stays for answers."""
    print(f"==> {text}", file=sys.stderr, flush=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file, so that two builds of the same thing wait for each other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(
    what: str,
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> None:
    """
    Run a command that may take long; say that it still runs each 10 s, and show its last lines if it fails.

    Args:
        what: What a person calls it, in the -ing form ("building etcd 3.6.5").
        env: Variables added to the current environment.
        log: Where its output goes; a file in the build cache when not given.
    Raises:
        ToolError: The command ended with another code than 0, or does not exist.
    """
    log = log or cache_dir("logs") / f"{what.replace(' ', '-').replace('/', '_')}.log"
    started = time.monotonic()
    done = threading.Event()

    def tick() -> None:
        while not done.wait(PROGRESS_EVERY_S):
            say(f"{what}: {time.monotonic() - started:.0f} s so far (log: {log})")

    say(what)
    watcher = threading.Thread(target=tick, daemon=True)
    watcher.start()
    try:
        with log.open("wb") as out:
            code = subprocess.run(
                [str(part) for part in command],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
    except FileNotFoundError as missing:
        raise ToolError(f"{what} needs the program '{missing.filename}', which is not installed.") from missing
    finally:
        done.set()
        watcher.join()
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise ToolError(f"{what} failed with exit code {code}; the end of {log}:\n{tail}")


def apt_install(*packages: str) -> None:
    """
    Install Debian packages that are missing.

    Raises:
        ToolError: Not root, or not on Debian/Ubuntu: says exactly what is missing.
    """
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    missing = [package for package in packages if f"{package} installed" not in listed]
    if not missing:
        return
    wanted = " ".join(missing)
    if os.geteuid() != 0 or not Path("/usr/bin/apt-get").exists():
        raise ToolError(f"These packages are missing: {wanted}. Install them (apt-get install {wanted}) and run again.")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run("refreshing Debian package lists", ["apt-get", "update"], env=quiet)
    # A service that a package would start is not wanted: the machine's own daemons are never touched.
    run(
        f"installing {wanted}",
        ["apt-get", "install", "-y", "--no-install-recommends", *missing],
        env={**quiet, "RUNLEVEL": "1"},
    )
