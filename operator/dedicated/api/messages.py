"""Sentences that the operator, the gateway and the CLI say in the same words."""

from __future__ import annotations

from dedicated.core.quantities import human_seconds


def waking_up(expected_s: float | None) -> str:
    """What a caller reads whose call wakes a sleeping endpoint. (expected_s: seconds that earlier wakes took; None where there were none)"""
    return f"Endpoint is SLEEPING and is now WAKING UP; {_expected(expected_s)}."


def still_waking(expected_s: float | None) -> str:
    """What a caller reads who comes while an endpoint wakes. (expected_s: seconds that are left; None where unknown)"""
    return f"Endpoint is WAKING UP; {_expected(expected_s)}."


def _expected(expected_s: float | None) -> str:
    if expected_s is None:
        return "how long that takes is not known yet"
    return f"expected in about {human_seconds(max(1.0, expected_s))}"
