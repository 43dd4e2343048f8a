"""Reasons that a model's source gives: the hub, or a bucket of the user's own."""

from __future__ import annotations

from dedicated.api.reasons import Reason

SOURCE_REASONS = {
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
    Reason.MODEL_CHANGED,
    Reason.OBJECT_STORE_DENIED,
    Reason.OBJECT_STORE_UNAVAILABLE,
}
