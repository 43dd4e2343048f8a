"""
Files that another boot of the machine left.

A file gets its name when it is whole, and is not forced to the disk first: that would cost seconds of every start. A machine that loses power may
therefore keep a name and lose content. So the folder notes which boot it is of; what is found under the mark of another is not believed until its
digest was taken again.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from dedicated.core.quantities import MIB

MARK = ".dedicated-boot"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PARTIAL = ".partial"
SMALL = 16 * MIB
"""Files of at least 10 MB are in the hub's large-file storage, which tells digests. (bytes)"""
_OURS = (PARTIAL, ".parts", ".done")


def distrust_what_another_boot_left(folder: Path, boot_id: str | None = None) -> None:
    """Take the names of whole files away where another boot left them: they are hashed again before they get them back."""
    mark, now = folder / MARK, boot_id or _boot_id()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if mark.exists() and mark.read_text() != now:
            for path in [path for path in folder.rglob("*") if path.is_file() and path != mark and not path.name.endswith(_OURS)]:
                _take_name(path)
        mark.write_text(now)


def _take_name(path: Path) -> None:
    """Small files are fetched anew: the hub tells no digest of them."""
    if path.stat().st_size < SMALL:
        path.unlink()
    else:
        path.rename(path.with_name(path.name + PARTIAL))


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"
