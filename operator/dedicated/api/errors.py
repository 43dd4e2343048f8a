"""
Errors say what the loop must do next: stop, wait, or retry.

`Stalled`: only a change of the object (or of its token) helps. `Waiting`: not a failure, look again later. `Transient`: a dependency
hiccuped, back off.
Anything else is a bug. Raised low, handled once, in the pass.
"""

from __future__ import annotations

from typing import ClassVar

from dedicated.api.reasons import CATALOGUE, Reason


class DedicatedError(Exception):
    """An error with a reason from the catalogue. Its message is one sentence with numbers; without one the catalogue's sentence is used."""

    reason: ClassVar[Reason] = Reason.INTERNAL_ERROR
    retry_after_s: float | None = None

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message or CATALOGUE[self.reason].sentence)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s

    @property
    def message(self) -> str:
        """What went wrong, as one sentence."""
        return str(self.args[0])

    @property
    def next_step(self) -> str:
        """What the reader can do about it."""
        return CATALOGUE[self.reason].next_step


class Stalled(DedicatedError):
    """Only a change of the object, or of what it refers to, helps."""


class Waiting(DedicatedError):
    """Not a failure: look again in ``retry_after_s`` seconds."""

    retry_after_s = 10.0


class Transient(DedicatedError):
    """A dependency hiccuped: the loop backs off and tries again."""


class TokenMissing(Stalled):
    reason = Reason.TOKEN_MISSING


class TokenInvalid(Stalled):
    reason = Reason.TOKEN_INVALID


class TokenScopeInsufficient(Stalled):
    reason = Reason.TOKEN_SCOPE_INSUFFICIENT


class GatedAccessDenied(Stalled):
    reason = Reason.GATED_ACCESS_DENIED


class GatedAccessPending(Stalled):
    reason = Reason.GATED_ACCESS_PENDING


class ModelNotFound(Stalled):
    reason = Reason.MODEL_NOT_FOUND


class RevisionNotFound(Stalled):
    reason = Reason.REVISION_NOT_FOUND


class ModelDisabled(Stalled):
    reason = Reason.MODEL_DISABLED


class ModelChanged(Stalled):
    reason = Reason.MODEL_CHANGED


class InvalidSpec(Stalled):
    reason = Reason.INVALID_SPEC


class ConflictingArgs(Stalled):
    reason = Reason.CONFLICTING_ARGS


class DoesNotFit(Stalled):
    reason = Reason.DOES_NOT_FIT


class UnsupportedArchitecture(Stalled):
    reason = Reason.UNSUPPORTED_ARCHITECTURE


class UnsupportedQuantization(Stalled):
    reason = Reason.UNSUPPORTED_QUANTIZATION


class UnsupportedDtype(Stalled):
    reason = Reason.UNSUPPORTED_DTYPE


class ParallelismInvalid(Stalled):
    reason = Reason.PARALLELISM_INVALID


class ContextTooLong(Stalled):
    reason = Reason.CONTEXT_TOO_LONG


class NoAcceleratorAllowed(Stalled):
    reason = Reason.NO_ACCELERATOR_ALLOWED


class PriceAboveLimit(Stalled):
    reason = Reason.PRICE_ABOVE_LIMIT


class WeightsCorrupt(Stalled):
    reason = Reason.WEIGHTS_CORRUPT


class NodeDiskFull(Transient):
    reason = Reason.NODE_DISK_FULL


class ObjectStoreUnavailable(Transient):
    reason = Reason.OBJECT_STORE_UNAVAILABLE


class ObjectStoreDenied(Stalled):
    reason = Reason.OBJECT_STORE_DENIED


class CacheCorrupt(Transient):
    reason = Reason.CACHE_CORRUPT


class HubUnavailable(Transient):
    reason = Reason.HUB_UNAVAILABLE


class HubRateLimited(Transient):
    reason = Reason.HUB_RATE_LIMITED


class ApiUnavailable(Transient):
    """The API server did not answer, or answered 429 or 5xx."""


class ApiConflict(Transient):
    """Somebody else wrote first (409): observe again, never write blindly."""


class ApiNotFound(Transient):
    """The object is gone (404)."""


class ApiRefused(Stalled):
    """The API server refuses what we sent (400, 403, 422): an admission policy, a missing permission, or a bug of ours."""

    reason = Reason.POD_REFUSED
