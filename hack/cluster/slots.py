"""
Several clusters on one machine: which there are, and which slot each has.

A slot is the number in a cluster's addresses and in the name of its cable. The name `dedicated` has slot 0 for good; another name is given the
first free one when its cluster starts, under a lock, and has it until its folder goes. Mount points that had to be made on the machine are
shared by all clusters: removing a mount point detaches what other mount namespaces have mounted there (Linux since 3.18), so the last
cluster to go removes them.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.cluster.layout import FIRST_NAME, MOUNT_POINTS, NETWORK, Layout
from hack.tools import ToolError, locked

SLOTS = range(1, 251)


@contextmanager
def machine_lock(base: Path) -> Iterator[None]:
    """Hold what all clusters of this machine share; beside their data, since build caches may differ."""
    with locked(base / "lock"):
        yield


def names(base: Path) -> list[str]:
    """Every cluster that runs or has left something."""
    return sorted(folder.name for folder in base.iterdir() if folder.is_dir()) if base.exists() else []


def claim(layout: Layout) -> int:
    """
    Make the cluster's folder and choose its slot.

    Raises:
        ToolError: All are taken.
    """
    base = layout.data.parent
    with machine_lock(base):
        slot = 0 if layout.name == FIRST_NAME else _free(_recorded(base) | used(_addresses()))
        layout.data.mkdir(parents=True, exist_ok=True)
        layout.slot_file.write_text(f"{slot}\n")
    return slot


def _free(taken: set[int]) -> int:
    found = next((slot for slot in SLOTS if slot not in taken), None)
    if found is None:
        raise ToolError(f"All {len(SLOTS)} places for clusters are taken: python -m hack.cluster list shows by whom, --name NAME down ends one.")
    return found


def _recorded(base: Path) -> set[int]:
    return {int(text) for file in base.glob("*/slot") if (text := file.read_text().strip()).isdecimal()}


def used(interfaces: list[dict[str, Any]]) -> set[int]:
    """Slots whose cable or whose addresses are on the machine, as `ip -json address` tells."""
    found = set()
    for interface in interfaces:
        name = str(interface.get("ifname", ""))
        if name.startswith("ddc") and name[3:].isdecimal():
            found.add(int(name[3:]))
        for address in interface.get("addr_info", []):
            local = str(address.get("local", ""))
            if local.startswith(f"{NETWORK}."):
                found.add(int(local.split(".")[2]))
    return found


def _addresses() -> list[dict[str, Any]]:
    said = subprocess.run(["ip", "-json", "address", "show"], capture_output=True, text=True, check=False)
    return list(json.loads(said.stdout or "[]"))


def make_mount_points(base: Path) -> None:
    """Make the folders that a node mounts over, and remember which did not exist."""
    with machine_lock(base):
        missing = [folder for folder in MOUNT_POINTS if not Path(folder).exists()]
        with (base / "made-folders").open("a") as file:
            file.writelines(f"{folder}\n" for folder in missing)
        for folder in missing:
            Path(folder).mkdir(parents=True)


def remove_mount_points(base: Path) -> None:
    """Remove the folders that were made, unless another cluster may have mounted over them."""
    made = base / "made-folders"
    if not base.exists():
        return
    with machine_lock(base):
        if names(base) or not made.exists():
            return
        for folder in made.read_text().splitlines():
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
        made.unlink()
