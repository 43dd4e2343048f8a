"""How precisely an activity Lease tells of calls: what gateways write it by, and what the operator decides by."""

from __future__ import annotations

SHORTEST_RENEWAL_S, LONGEST_RENEWAL_S = 15.0, 60.0


def renewal_period_s(idle_after_s: float, shortest_s: float = SHORTEST_RENEWAL_S) -> float:
    """Seconds for which a renewal by anybody is as good as a new one: the last call may be this much younger than the Lease tells."""
    return max(shortest_s, min(LONGEST_RENEWAL_S, idle_after_s / 20)) if idle_after_s else LONGEST_RENEWAL_S
