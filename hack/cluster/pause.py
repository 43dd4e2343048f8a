"""The pause image: one static program, no builder needed."""

from __future__ import annotations

from pathlib import Path

from hack.cluster import tools
from hack.images import oci
from hack.tools import cache_dir


def archive(reference: str) -> Path:
    """Path of an OCI archive of the pause image under this name."""
    program = tools.path("pause")
    path = cache_dir("images") / f"{program.parent.name}.tar"
    if not path.exists():
        layer = path.with_suffix(".layer")
        oci.write_layer(layer, {"pause": program.read_bytes()})
        oci.write_archive(path, reference, [layer], entrypoint=["/pause"])
    return path
