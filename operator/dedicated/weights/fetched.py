"""What a fetch tells of itself when it has succeeded: one JSON object in its container's termination message."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dedicated.api.reasons import Reason


class Tier(StrEnum):
    """Where weights came from, nearest first."""

    NODE = "node"
    S3 = "s3"
    HUB = "hub"


@dataclass(frozen=True)
class Fetched:
    """A fetch that succeeded. (bytes: of all files; by_source: of those that had to be fetched)"""

    tier: Tier
    bytes: int
    seconds: float
    by_source: dict[str, int]
    cached: bool | None = None
    """Whether the cache holds all of it now; None where there is no cache."""
    reason: Reason | None = None
    """Why it does not, or what was wrong with it and was mended."""
    message: str = ""

    @property
    def bytes_per_s(self) -> float:
        """Rate over the whole fetch."""
        return self.bytes / max(self.seconds, 0.001)

    def encoded(self) -> str:
        """For the termination message."""
        said: dict[str, Any] = {"tier": self.tier.value, "bytes": self.bytes, "seconds": round(self.seconds, 3), "sources": self.by_source}
        said |= {"cached": self.cached} if self.cached is not None else {}
        said |= {"reason": self.reason.value} if self.reason else {}
        return json.dumps(said | ({"message": self.message[:512]} if self.message else {}))


def fetched(message: str) -> Fetched | None:
    """What a termination message tells of a fetch; None where it tells of something else."""
    try:
        said = json.loads(message)
        reason = said.get("reason")
        return Fetched(
            Tier(said["tier"]),
            int(said["bytes"]),
            float(said["seconds"]),
            {str(Tier(name)): int(count) for name, count in said.get("sources", {}).items()},
            said.get("cached"),
            Reason(reason) if reason else None,
            str(said.get("message", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
