"""Where a process spends its CPU, by py-spy: samples of its stacks, summed up by what they were in."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

# The innermost frame of ours, or of a library that we chose, says what a sample was spent on. First match from the inside.
PARTS = (
    ("watch: JSON of events", r"(json/|kopf.*(watching|streams)).*"),
    ("watch: Kopf's queues and handlers", r"kopf/"),
    ("API calls: client", r"(kubernetes/aio|aiohttp|yarl|multidict|ssl\.py|asyncio/sslproto)"),
    ("hub: client", r"(httpx|httpcore|h11|anyio)"),
    ("pass: observe", r"(adapters/world\.py|adapters/store\.py|adapters/facts\.py|diagnosis/)"),
    ("pass: spec and status (pydantic)", r"(pydantic|api/)"),
    ("pass: render, hash, compare", r"(render/|lifecycle/|core/)"),
    ("controller", r"(controller/|telemetry/|logging/)"),
    ("event loop", r"(asyncio/|selectors\.py)"),
)


def start(pid: int, raw: Path, rate: int = 200) -> subprocess.Popen[bytes]:
    """Sample a process until it, or the sampling, ends."""
    program = Path(sys.executable).parent / "py-spy"
    command = [
        program,
        "record",
        f"--pid={pid}",
        "--format=raw",
        f"--output={raw}",
        f"--rate={rate}",
        "--gil",
        "--full-filenames",
        "--duration=unlimited",
    ]
    return subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def table(raw: Path, most: int = 12) -> list[str]:
    """Lines: share of the samples by part, then by innermost function."""
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        parts[_part(frames)] += int(count)
        functions[_short(frames[-1])] += int(count)
    total = sum(parts.values()) or 1
    lines = [f"{count / total:6.1%}  {name}" for name, count in parts.most_common()]
    return lines + ["  of that, innermost functions:"] + [f"{count / total:6.1%}  {name}" for name, count in functions.most_common(most)]


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, pattern in PARTS[:-1]:
            if re.search(pattern, frame):
                return name
    return PARTS[-1][0]


def _short(frame: str) -> str:
    return re.sub(r"\(.*/((?:[^/]+/)?[^/]+)\)$", r"(\1)", frame)
