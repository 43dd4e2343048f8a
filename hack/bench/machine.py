"""What a figure was measured on, and how a process's own use is read."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def described() -> str:
    """One line about this machine."""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    gib = int(memory[1]) / 1024**2 if memory else 0
    return (
        f"{os.cpu_count()} x {cpu[1] if cpu else platform.machine()}, {gib:.0f} GiB, Linux {platform.release()}, Python {platform.python_version()}"
    )


@dataclass(frozen=True)
class Use:
    """What a process has used so far. (seconds of CPU, bytes of memory in use)"""

    cpu_s: float
    rss_bytes: int


def used_by(pid: int) -> Use:
    """Of a process that runs."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Use((int(fields[11]) + int(fields[12])) / TICKS, resident * PAGE_BYTES)
