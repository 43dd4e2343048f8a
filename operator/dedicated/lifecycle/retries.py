"""When a failure is tried again: each reason has its own first wait, which doubles with every attempt up to a quarter of an hour."""

from __future__ import annotations

from collections.abc import Mapping

from dedicated.api.reasons import Reason

FIRST_S = 30.0
LONGEST_S = 900.0
FIRST_OF: Mapping[Reason, float] = {
    # Room rarely comes by itself, and a new node is noticed at once.
    Reason.NO_CAPACITY: 300.0,
    Reason.QUOTA_EXCEEDED: 300.0,
    # The hub counts in windows of five minutes.
    Reason.HUB_RATE_LIMITED: 120.0,
    Reason.IMAGE_NOT_FOUND: 60.0,
    # Somebody else must end first, or the kubelet make room.
    Reason.GPU_MEMORY_BUSY: 60.0,
    Reason.NODE_DISK_FULL: 120.0,
    Reason.EVICTED: 60.0,
}
"""Where half a minute would be too soon. (seconds)"""


def wait_s(reason: Reason, attempts: int) -> float:
    """Until the next attempt, after this many. (seconds)"""
    doublings = min(max(attempts, 1) - 1, 16)
    return float(min(FIRST_OF.get(reason, FIRST_S) * 2**doublings, LONGEST_S))
