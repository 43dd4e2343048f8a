"""What would help: for a plan that is rejected, and for one that is tight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dedicated.api.endpoint import EngineKind
from dedicated.planner.accelerators import Accelerator
from dedicated.planner.candidates import LEAST_CONTEXT, Candidate, Verdict, best_on, evaluate, longest
from dedicated.planner.memory import VLLM_SHARE
from dedicated.planner.model_facts import ModelFacts
from dedicated.planner.request import PlanRequest

FEW_SEQUENCES = 256
"""Sequences that vLLM serves at once on devices of less than 70 GiB."""
LARGE_SHARE = 0.95
"""The largest memory share that recipes use where nothing else runs on the device (vllm-project/recipes, gpt-oss)."""


def remedy(facts: ModelFacts, classes: Sequence[Accelerator], nearest: Candidate, request: PlanRequest) -> str:
    """The next steps for a rejected plan: a setting that makes the nearest way fit, a class that would do, more devices."""
    found = [*_settings(facts, nearest, request), *_more_devices(facts, nearest, request), *_elsewhere(facts, classes, request)]
    return " or ".join(found[:3]) if found else "allow a larger accelerator"


def relief(facts: ModelFacts, best: Candidate, request: PlanRequest) -> str:
    """The next steps for a tight plan."""
    found = _settings(facts, best, request, enough=Verdict.FITS)
    return " or ".join(found[:2]) if found else "allow a larger accelerator to have room"


def _settings(facts: ModelFacts, candidate: Candidate, request: PlanRequest, enough: Verdict = Verdict.TIGHT) -> list[str]:
    """Settings of which each alone is enough on the same devices."""
    tries = [
        (f"set maxNumSeqs to {FEW_SEQUENCES}", replace(request, max_num_seqs=FEW_SEQUENCES), candidate.batch.max_num_seqs > FEW_SEQUENCES),
        ("set kvCacheDtype to fp8", replace(request, kv_cache_dtype="fp8"), request.kv_cache_dtype == "auto" and candidate.accelerator.fp8),
        (
            f"set the memory share to {LARGE_SHARE}",
            replace(request, memory_share=LARGE_SHARE),
            request.engine is EngineKind.VLLM and (request.memory_share or VLLM_SHARE) < LARGE_SHARE,
        ),
    ]
    allowed = (enough, Verdict.FITS)
    found = [
        said
        for said, changed, sensible in tries
        if sensible and evaluate(facts, candidate.accelerator, candidate.layout, changed, candidate.tokens).verdict in allowed
    ]
    shorter = longest(facts, candidate, request, room_bytes=0.0)
    if LEAST_CONTEXT <= shorter < candidate.tokens and enough is Verdict.TIGHT:
        found.insert(0, f"set maxModelLen to {shorter}")
    return found


def _more_devices(facts: ModelFacts, nearest: Candidate, request: PlanRequest) -> list[str]:
    """More devices of the same class, on one node."""
    if request.count is None:
        return []
    open_count = replace(request, count=None, tensor_parallel=None, pipeline_parallel=None)
    found = best_on(facts, nearest.accelerator, open_count)
    fits = isinstance(found, Candidate) and found.verdict is Verdict.FITS
    return [f"set count to {found.layout.count}"] if isinstance(found, Candidate) and fits and found.layout.count > request.count else []


def _elsewhere(facts: ModelFacts, classes: Sequence[Accelerator], request: PlanRequest) -> list[str]:
    """The cheapest class outside those that are allowed."""
    if not request.accelerators:
        return []
    outside = [one for one in classes if one.name not in request.accelerators]
    answers = [found for one in outside if isinstance(found := best_on(facts, one, request), Candidate) and found.verdict is Verdict.FITS]
    best = min(answers, key=lambda one: one.rank, default=None)
    return [f"allow {best.accelerator.name}"] if best else []
