"""What stands for a commit where there is none: a digest over the files of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from dedicated.core.quantities import canonical_json


def revision_of(files: Iterable[tuple[str, int, str]]) -> str:
    """
    Names exactly these files, in any order: sha256 in hex.

    Args:
        files: Path, size in bytes and ETag of each. An ETag is another after each write of another content, whatever else it means to its server.
    """
    return hashlib.sha256(canonical_json(sorted(files))).hexdigest()
