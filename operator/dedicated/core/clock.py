"""Times as Kubernetes writes them. The pure layers get the time as a number; what clock it is from is the shell's business."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(at: float) -> str:
    """The time as Kubernetes writes it, whole seconds: ``2026-01-31T12:00:00Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_rfc3339(text: str) -> float:
    """Seconds since the epoch of a time that Kubernetes wrote, with or without fractions of a second."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def precise(at: float) -> str:
    """The time as Kubernetes writes it, with milliseconds: ``2026-01-31T12:00:00.250Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
