"""Which bare clusters there are on this machine, and how each is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hack.cluster import slots
from hack.cluster.bare import node_ready
from hack.cluster.gpus import gpus_of
from hack.cluster.layout import BASE, Layout
from hack.cluster.processes import Process
from hack.tools import ToolError


@dataclass(frozen=True)
class Row:
    """One cluster. State: serving, starting, unready (it lives, its node does not say that it is ready) or ended."""

    name: str
    state: str
    address: str
    gpus: str
    pid: int | None
    daemons: dict[str, int]

    def cells(self) -> tuple[str, ...]:
        """What a person reads."""
        pids = " ".join(f"{name}={pid}" for name, pid in self.daemons.items())
        return (self.name, self.state, self.address, self.gpus, str(self.pid or "-"), pids or "-")


HEADINGS = ("NAME", "STATE", "ADDRESS", "GPUS", "NODE PID", "DAEMONS")


def rows(base: Path = BASE) -> list[Row]:
    """Every cluster that runs or has left something."""
    return [row(Layout(name)) for name in slots.names(base)]


def row(layout: Layout) -> Row:
    """How one cluster is."""
    node = Process.read(layout.pid_file)
    try:
        address = f"https://{layout.node_ip}:{layout.api_port}"
    except ToolError:
        address = "-"
    return Row(layout.name, _state(layout, node), address, str(gpus_of(layout) or "-"), node.pid if node else None, _daemons(layout, node))


def _daemons(layout: Layout, node: Process | None) -> dict[str, int]:
    """What the node's process has started, and the kwok that was started into its namespaces."""
    fake = Process.read(layout.kwok_pid_file)
    return {**(node.children() if node else {}), **({"kwok": fake.pid} if fake else {})}


def _state(layout: Layout, node: Process | None) -> str:
    if node is None or layout.failure.exists():
        return "ended"
    if not layout.ready.exists():
        return "starting"
    return "serving" if node_ready(layout) else "unready"


def table(found: list[Row]) -> str:
    """Columns for a terminal; one sentence where there is no cluster."""
    if not found:
        return "No bare cluster is here: make cluster starts one."
    lines = [HEADINGS, *(each.cells() for each in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
