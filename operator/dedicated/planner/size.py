"""
From facts to a plan: try every allowed class, reject with causes, rank what is left, and say what would help where nothing is.

Theory of operation. A class is rejected for good where its devices do not compute what the model needs, or where no layout divides it. Else its
layouts are weighed at the context length that is asked for, or at the least that is useful, and the first of them that fits is its candidate. The
cheapest candidate wins; its context then grows as far as it stays comfortable. Only where no class does on one node, several are tried.
"""

from __future__ import annotations

from collections.abc import Sequence

from dedicated.api.endpoint import CPU, EngineKind
from dedicated.api.reasons import Reason
from dedicated.core.quantities import human_bytes
from dedicated.planner import advice
from dedicated.planner.accelerators import Accelerator
from dedicated.planner.answer import Rejection, SizingPlan
from dedicated.planner.candidates import (
    TIGHT_BYTES,
    TIGHT_SHARE,
    Candidate,
    Verdict,
    asked_tokens,
    best_on,
    concurrency,
    evaluate,
    longest,
    shortfall,
)
from dedicated.planner.memory import Layout, host_memory
from dedicated.planner.model_facts import ModelFacts, Note
from dedicated.planner.request import Batch, PlanRequest, batch_of
from dedicated.planner.rules import Cause, notes_on

MOST_ALTERNATIVES = 5


def plan(facts: ModelFacts, classes: Sequence[Accelerator], request: PlanRequest) -> SizingPlan:
    """
    The best way to run a model on one of these classes, or every rejection with its cause.

    Args:
        classes: All that exist; those outside `request.accelerators` are asked only for what would help.
    """
    if facts.context_limit and request.max_model_len and request.max_model_len > facts.context_limit:
        return _too_long(facts, classes, request)
    if request.accelerators == (CPU,):
        return _on_cpu(facts, request)
    allowed, unknown = _allowed(classes, request)
    weighed = [(one, best_on(facts, one, request)) for one in allowed]
    answers = [(one, _priced(found, request)) for one, found in weighed]
    candidates = _fitting(answers) or _fitting([(one, _priced(best_on(facts, one, request, wide=True), request)) for one in allowed])
    answered = {candidate.accelerator.name for candidate in candidates}
    rejected = (*unknown, *(_rejection(one, found) for one, found in answers if one.name not in answered))
    if candidates:
        return _accepted(facts, request, candidates, rejected)
    if too_dear := _fitting(weighed):
        return _impossible(facts, request, _dear(too_dear[0], request), too_dear[0].accelerator, rejected)
    return _rejected(facts, classes, request, answers, rejected)


def _fitting(answers: list[tuple[Accelerator, Candidate | Cause]]) -> list[Candidate]:
    """Those that are no rejections, best first."""
    found = [one for _, one in answers if isinstance(one, Candidate) and one.verdict is not Verdict.REJECTED]
    return sorted(found, key=lambda candidate: candidate.rank)


def _allowed(classes: Sequence[Accelerator], request: PlanRequest) -> tuple[list[Accelerator], tuple[Rejection, ...]]:
    if not request.accelerators:
        return list(classes), ()
    by_name = {one.name: one for one in classes}
    unknown = tuple(
        Rejection(name, Reason.NO_ACCELERATOR_ALLOWED, f"there is no AcceleratorClass {name}") for name in request.accelerators if name not in by_name
    )
    return [by_name[name] for name in request.accelerators if name in by_name], unknown


def _priced(found: Candidate | Cause, request: PlanRequest) -> Candidate | Cause:
    """A candidate that costs too much is none. A class without a price is let through: nobody knows what it costs."""
    if isinstance(found, Cause) or found.verdict is Verdict.REJECTED:
        return found
    limit, price = request.max_price_per_hour, found.price_per_hour
    return found if limit is None or price is None or price <= limit else _dear(found, request)


def _dear(found: Candidate, request: PlanRequest) -> Cause:
    cost = f"{found.layout.count} x {found.accelerator.name} cost {found.price_per_hour:.2f} USD per hour"
    said = f"{cost}, the limit is {request.max_price_per_hour:g}"
    return Cause(Reason.PRICE_ABOVE_LIMIT, f"{said}; raise maxPricePerHour or set a shorter maxModelLen")


def _rejection(accelerator: Accelerator, found: Candidate | Cause) -> Rejection:
    if isinstance(found, Cause):
        return Rejection(accelerator.name, found.reason, found.message)
    return Rejection(accelerator.name, Reason.DOES_NOT_FIT, shortfall(found))


def _accepted(facts: ModelFacts, request: PlanRequest, candidates: list[Candidate], rejected: tuple[Rejection, ...]) -> SizingPlan:
    best = _stretched(facts, candidates[0], request)
    notes = notes_on(facts, best.accelerator, best.layout, request)
    if not request.max_model_len and best.tokens < facts.context_limit:
        notes.append(Note(Reason.TIGHT_FIT, f"{best.tokens} of the model's {facts.context_limit} tokens of context fit"))
    tight = best.verdict is Verdict.TIGHT
    others = [one.accelerator.name for one in candidates[1:] if one.verdict is Verdict.FITS or tight]
    reason = Reason.TIGHT_FIT if tight else next((note.reason for note in facts.notes), None)
    return SizingPlan(
        verdict=best.verdict,
        accelerator=best.accelerator.name,
        layout=best.layout,
        memory=best.memory,
        max_model_len=best.tokens,
        batch=best.batch,
        kv_cache_dtype=request.kv_cache_dtype,
        concurrency=concurrency(facts, best, request),
        price_per_hour=best.price_per_hour,
        reason=reason,
        message=_said(best) if not tight else f"{_said(best)}; {advice.relief(facts, best, request)}",
        warnings=tuple(notes),
        alternatives=tuple(others[:MOST_ALTERNATIVES]),
        rejected=rejected,
    )


def _stretched(facts: ModelFacts, best: Candidate, request: PlanRequest) -> Candidate:
    """Without a length that is asked for: the longest that stays comfortable, or where none is, the longest that fits at all."""
    if request.max_model_len:
        return best
    comfortable = max(TIGHT_BYTES, best.memory.budget_bytes * TIGHT_SHARE)
    tokens = longest(facts, best, request, room_bytes=comfortable if best.verdict is Verdict.FITS else 0.0)
    return evaluate(facts, best.accelerator, best.layout, request, max(tokens, best.tokens))


def _said(best: Candidate) -> str:
    memory, layout = best.memory, best.layout
    spread = f"{layout.count} x {best.accelerator.name}" + (f" on {layout.nodes} nodes" if layout.nodes > 1 else "")
    word = "fits" if best.verdict is Verdict.FITS else "fits tightly"
    left = "left" if memory.headroom_bytes >= 0 else "short"
    room = f"{human_bytes(abs(memory.headroom_bytes))} {left} of {human_bytes(memory.budget_bytes)} usable per device"
    scheduling = f"; needs {layout.nodes} nodes, which cannot be scheduled yet" if layout.nodes > 1 else ""
    return f"{word} on {spread} with {best.tokens} tokens of context: {room}{scheduling}"


def _rejected(
    facts: ModelFacts,
    classes: Sequence[Accelerator],
    request: PlanRequest,
    answers: list[tuple[Accelerator, Candidate | Cause]],
    rejected: tuple[Rejection, ...],
) -> SizingPlan:
    nearest = max((found for _, found in answers if isinstance(found, Candidate)), key=lambda one: one.memory.headroom_bytes, default=None)
    if nearest is None:
        nobody = Cause(Reason.NO_ACCELERATOR_ALLOWED, "none of the allowed accelerators exists; name AcceleratorClasses that do, or allow any")
        one, cause = next(((one, found) for one, found in answers if isinstance(found, Cause)), (None, nobody))
        return _impossible(facts, request, cause, one, rejected)
    return SizingPlan(
        verdict=Verdict.REJECTED,
        accelerator=nearest.accelerator.name,
        layout=nearest.layout,
        memory=nearest.memory,
        max_model_len=nearest.tokens,
        batch=nearest.batch,
        kv_cache_dtype=request.kv_cache_dtype,
        price_per_hour=nearest.price_per_hour,
        reason=Reason.DOES_NOT_FIT,
        message=f"{shortfall(nearest)}; {advice.remedy(facts, classes, nearest, request)}",
        warnings=facts.notes,
        rejected=rejected,
    )


def _impossible(
    facts: ModelFacts, request: PlanRequest, cause: Cause, accelerator: Accelerator | None, rejected: tuple[Rejection, ...]
) -> SizingPlan:
    """Memory is not what is wrong: a price, a division, a data type, a context; or there is no class at all."""
    tp, pp = request.tensor_parallel or 1, request.pipeline_parallel or 1
    layout = Layout(tp, pp) if tp * pp > 1 else Layout(1, request.count or 1)
    tokens = asked_tokens(facts, request)
    weighed = evaluate(facts, accelerator, layout, request, tokens) if accelerator else None
    return SizingPlan(
        verdict=Verdict.REJECTED,
        accelerator=accelerator.name if accelerator else None,
        layout=layout,
        memory=weighed.memory if weighed else None,
        max_model_len=tokens,
        batch=weighed.batch if weighed else Batch(request.max_num_seqs or 0, request.max_num_batched_tokens or 0),
        kv_cache_dtype=request.kv_cache_dtype,
        reason=cause.reason,
        message=cause.message,
        warnings=facts.notes,
        rejected=rejected,
    )


def _too_long(facts: ModelFacts, classes: Sequence[Accelerator], request: PlanRequest) -> SizingPlan:
    said = f"{request.max_model_len} tokens of context are asked for and the model's own limit is {facts.context_limit}"
    cause = Cause(Reason.CONTEXT_TOO_LONG, f"{said}; set maxModelLen to {facts.context_limit} or less")
    allowed, unknown = _allowed(classes, request)
    rejected = (*unknown, *(Rejection(one.name, cause.reason, cause.message) for one in allowed if request.accelerators))
    return _impossible(facts, request, cause, allowed[0] if request.accelerators and allowed else None, rejected)


def _on_cpu(facts: ModelFacts, request: PlanRequest) -> SizingPlan:
    """All in host memory, which is planned where it is not given."""
    if request.engine not in (EngineKind.LLAMACPP, EngineKind.CUSTOM):
        cause = Cause(Reason.NO_ACCELERATOR_ALLOWED, f"{request.engine} needs an accelerator; use engine llamacpp, or allow one")
        return _impossible(facts, request, cause, None, (Rejection(CPU, cause.reason, cause.message),))
    nowhere = Accelerator(CPU, 0, 0, vendor="other")
    batch = batch_of(request, nowhere, 1)
    tokens = request.max_model_len or facts.context_limit or asked_tokens(facts, request)
    memory = host_memory(facts, request, batch, tokens)
    lacks = memory.headroom_bytes < 0
    said = f"needs {human_bytes(memory.needed_bytes)} of host memory"
    short = f"{said}, {human_bytes(memory.budget_bytes)} are given; raise the memory or set a shorter maxModelLen"
    return SizingPlan(
        verdict=Verdict.REJECTED if lacks else Verdict.FITS,
        accelerator=CPU,
        layout=Layout(),
        memory=memory,
        max_model_len=tokens,
        batch=batch,
        kv_cache_dtype=request.kv_cache_dtype,
        concurrency=float(batch.max_num_seqs),
        reason=Reason.DOES_NOT_FIT if lacks else None,
        message=short if lacks else said,
        warnings=facts.notes,
        rejected=(Rejection(CPU, Reason.DOES_NOT_FIT, short),) if lacks else (),
    )
