"""The answer: a plan, or a rejection, with all that was weighed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dedicated.api import errors
from dedicated.api.endpoint import CPU
from dedicated.api.reasons import Reason
from dedicated.planner.candidates import Verdict
from dedicated.planner.memory import Layout, Memory
from dedicated.planner.model_facts import Note
from dedicated.planner.request import Batch


@dataclass(frozen=True)
class Rejection:
    """A class that is no answer, and why."""

    accelerator: str
    reason: Reason
    message: str


@dataclass(frozen=True)
class SizingPlan:
    """
    The answer. Of a rejected plan, the numbers are those of the way that came nearest, if there was any.

    Args:
        reason: Of a rejection, of a tight fit, or of the first warning; None where there is nothing to say.
        nodes: Machines; with more than one the plan is not schedulable yet.
        alternatives: Other allowed classes that fit, best first.
    """

    verdict: Verdict
    accelerator: str | None
    layout: Layout
    memory: Memory | None
    max_model_len: int
    batch: Batch
    kv_cache_dtype: str = "auto"
    concurrency: float = 0.0
    price_per_hour: float | None = None
    reason: Reason | None = None
    message: str = ""
    warnings: tuple[Note, ...] = ()
    alternatives: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether memory is enough, comfortably or not."""
        return self.verdict is not Verdict.REJECTED

    @property
    def schedulable(self) -> bool:
        """Whether one machine is enough."""
        return self.layout.nodes == 1

    @property
    def count(self) -> int:
        """Devices of one replica; 0 on CPU."""
        return 0 if self.accelerator == CPU else self.layout.count

    def error(self) -> errors.Stalled | None:
        """What a pass raises for a rejected plan; None where the model fits."""
        if self.fits or self.reason is None:
            return None
        return _ERRORS[self.reason](self.message)

    def to_dict(self) -> dict[str, Any]:
        """As `dedicated plan -o json` prints it."""
        return {
            "fits": self.fits,
            "verdict": self.verdict.value,
            "accelerator": self.accelerator,
            "count": self.count,
            "tensorParallel": self.layout.tp,
            "pipelineParallel": self.layout.pp,
            "nodes": self.layout.nodes,
            "schedulable": self.schedulable,
            "memory": self.memory.to_dict() if self.memory else None,
            "maxModelLen": self.max_model_len,
            "maxNumSeqs": self.batch.max_num_seqs,
            "maxNumBatchedTokens": self.batch.batched_tokens,
            "kvCacheDtype": self.kv_cache_dtype,
            "concurrency": self.concurrency,
            "pricePerHour": round(self.price_per_hour, 4) if self.price_per_hour is not None else None,
            "reason": self.reason.value if self.reason else None,
            "message": self.message,
            "warnings": [str(warning) for warning in self.warnings],
            "alternatives": list(self.alternatives),
            "rejected": [{"accelerator": one.accelerator, "reason": one.reason.value, "message": one.message} for one in self.rejected],
        }


def refusal(error: errors.DedicatedError) -> SizingPlan:
    """The answer where a model could not even be weighed."""
    return SizingPlan(Verdict.REJECTED, None, Layout(), None, 0, Batch(0, 0), reason=error.reason, message=error.message)


_ERRORS: dict[Reason, type[errors.Stalled]] = {
    kind.reason: kind
    for kind in (
        errors.DoesNotFit,
        errors.UnsupportedArchitecture,
        errors.UnsupportedQuantization,
        errors.UnsupportedDtype,
        errors.ParallelismInvalid,
        errors.ContextTooLong,
        errors.NoAcceleratorAllowed,
        errors.PriceAboveLimit,
    )
}
