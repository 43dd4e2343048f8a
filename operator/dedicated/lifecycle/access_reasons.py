"""Reasons that the hub gives."""

from __future__ import annotations

from dedicated.api.reasons import Reason

HUB_REASONS = {
    Reason.TOKEN_MISSING,
    Reason.TOKEN_INVALID,
    Reason.TOKEN_SCOPE_INSUFFICIENT,
    Reason.GATED_ACCESS_DENIED,
    Reason.GATED_ACCESS_PENDING,
    Reason.MODEL_NOT_FOUND,
    Reason.REVISION_NOT_FOUND,
    Reason.MODEL_DISABLED,
    Reason.HUB_UNAVAILABLE,
    Reason.HUB_RATE_LIMITED,
}
