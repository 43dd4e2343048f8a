"""
What may be removed from the cache, and in which order.

Theory of operation: refs go first, blobs later. A blob that nobody refers to is marked; a later pass, a day on, removes what is still marked and
still unused. A writer puts up its intent before it looks which blobs are there, and takes no marked blob for granted; the collector reads intents
before refs, so that a writer which finishes in between is seen in one of the two. Should all that fail, a reader that misses a blob takes the file
from the hub and puts it back: a mistake here costs a download, never a wrong file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dedicated.weights.keys import Model

GRACE_S = 24 * 3600.0
"""How long a blob stays after it was found unused, and how old an intent may be. (seconds)"""


@dataclass(frozen=True)
class Blob:
    """A blob in the bucket."""

    sha256: str
    size: int
    age_s: float


@dataclass(frozen=True)
class Ref:
    """A complete model: the size of all that it refers to, and how long ago it was last woken from."""

    scope: str
    model: Model
    blobs: Mapping[str, int]
    idle_s: float

    @property
    def total_bytes(self) -> int:
        """Of its blobs."""
        return sum(self.blobs.values())


def marked(blobs: Collection[Blob], used: Collection[str], marks: Mapping[str, float], now: float) -> dict[str, float]:
    """The marks after this pass: since when each blob is unused. One that is used again, or was written within a day, has none."""
    unused = [blob for blob in blobs if blob.sha256 not in used and blob.age_s >= GRACE_S]
    return {blob.sha256: min(marks.get(blob.sha256, now), now) for blob in unused}


def removable(blobs: Collection[Blob], used: Collection[str], marks: Mapping[str, float], now: float) -> list[Blob]:
    """Blobs to remove now: marked a day ago or earlier, not written again since, and still unused."""
    due = [blob for blob in blobs if blob.sha256 in marks and blob.sha256 not in used and now - marks[blob.sha256] >= GRACE_S]
    return sorted((blob for blob in due if blob.age_s > now - marks[blob.sha256]), key=lambda blob: blob.sha256)


def evicted(refs: Sequence[Ref], budget_bytes: int, in_use: Collection[tuple[str, str]]) -> list[Ref]:
    """
    Refs that go so that the rest fits the budget: the longest unused first, those of endpoints that exist (repo, commit) last.

    Blobs that several refs share count once for each scope, and only go with the last of them.
    """
    order = sorted(refs, key=lambda ref: ((ref.model.repo, ref.model.commit) in in_use, -ref.idle_s, ref.scope, ref.model.path))
    kept, gone = list(order), []
    while kept and held_bytes(kept) > budget_bytes:
        gone.append(kept.pop(0))
    return gone


def held_bytes(refs: Collection[Ref]) -> int:
    """Bytes of all blobs that these refer to."""
    return sum({(ref.scope, sha): size for ref in refs for sha, size in ref.blobs.items()}.values())
