"""One way to run a model: a class, a layout, a context length. Whether it fits, and the best of the ways that one class offers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from dedicated.api.reasons import Reason
from dedicated.core.quantities import GIB, human_bytes
from dedicated.planner.accelerators import Accelerator
from dedicated.planner.layouts import counts_of, counts_over_nodes, layouts_of, nodes_for
from dedicated.planner.memory import Layout, Memory, memory_of, request_kv_bytes
from dedicated.planner.model_facts import ModelFacts
from dedicated.planner.request import Batch, PlanRequest, batch_of
from dedicated.planner.rules import Cause, impossible_on, undividable

REJECT_BYTES = -GIB // 2
"""Shortfall per device from which a model is rejected: known failures miss by 1.2 GiB and more, known successes by 0.31 at most. (bytes)"""
TIGHT_BYTES, TIGHT_SHARE = int(1.5 * GIB), 0.02
"""Room per device below which a plan is tight: profiling differs by so much between releases and boots (vllm#55169, #2136). (bytes; of the budget)"""
LEAST_CONTEXT = 4096
"""Context that a plan without a length must hold at least: a chat prompt and its answer; Kaito starts at 2048. (tokens)"""
STEP = 256
"""Context lengths are chosen in multiples of this. (tokens)"""


class Verdict(StrEnum):
    """Whether it fits."""

    FITS = "fits"
    TIGHT = "tight"
    REJECTED = "rejected"


_ORDER = {Verdict.FITS: 0, Verdict.TIGHT: 1, Verdict.REJECTED: 2}


@dataclass(frozen=True)
class Candidate:
    """One way to run the model."""

    accelerator: Accelerator
    layout: Layout
    batch: Batch
    memory: Memory
    tokens: int

    @cached_property
    def verdict(self) -> Verdict:
        """Whether it fits, by what is left."""
        return verdict_of(self.memory)

    @property
    def price_per_hour(self) -> float | None:
        """Of one replica. (USD)"""
        each = self.accelerator.price_per_hour
        return None if each is None else each * self.layout.count

    @property
    def rank(self) -> tuple[int, int, float, int, int, int]:
        """Order of preference: fits, one machine, cheap, few devices, much room."""
        price = self.price_per_hour
        return (
            _ORDER[self.verdict],
            self.layout.nodes,
            float("inf") if price is None else price,
            self.layout.count,
            self.accelerator.visible_bytes,
            -self.memory.headroom_bytes,
        )


def verdict_of(memory: Memory) -> Verdict:
    """Reject, warn, or accept."""
    if memory.headroom_bytes < REJECT_BYTES:
        return Verdict.REJECTED
    return Verdict.TIGHT if memory.headroom_bytes < max(TIGHT_BYTES, memory.budget_bytes * TIGHT_SHARE) else Verdict.FITS


def asked_tokens(facts: ModelFacts, request: PlanRequest) -> int:
    """The context length that a plan must hold: as asked, else the least that is useful."""
    if request.max_model_len:
        return request.max_model_len
    least = max(request.least_model_len, LEAST_CONTEXT)
    return min(least, facts.context_limit) if facts.context_limit else least


def evaluate(facts: ModelFacts, accelerator: Accelerator, layout: Layout, request: PlanRequest, tokens: int) -> Candidate:
    """How full the devices are."""
    batch = batch_of(request, accelerator, layout.tp)
    return Candidate(accelerator, layout, batch, memory_of(facts, accelerator, layout, request, batch, tokens), tokens)


def best_on(facts: ModelFacts, accelerator: Accelerator, request: PlanRequest, *, wide: bool = False) -> Candidate | Cause:
    """
    The best way that a class offers: the fewest devices that fit; else the fewest that are tight; else the fullest, or why there is none.

    Args:
        wide: Over several nodes, where the request leaves the number of devices open.
    """
    if cause := impossible_on(facts, accelerator, request):
        return cause
    counts = counts_over_nodes(request, accelerator) if wide else counts_of(request, accelerator)
    holding = [count for count in counts if facts.loaded_bytes <= count * accelerator.visible_bytes]
    return _best_of(facts, accelerator, request, holding or counts[-1:])


def _best_of(facts: ModelFacts, accelerator: Accelerator, request: PlanRequest, counts: Iterable[int]) -> Candidate | Cause:
    tokens = asked_tokens(facts, request)
    found: list[Candidate] = []
    cause: Cause | None = None
    for count in counts:
        here, why_not = _best_layout(facts, accelerator, request, count, tokens)
        if here is not None:
            found.append(here)
            if here.verdict is Verdict.FITS:
                break
        cause = cause or why_not
    if found:
        return min(found, key=lambda one: (_ORDER[one.verdict], -one.memory.headroom_bytes if one.verdict is Verdict.REJECTED else one.layout.count))
    return cause or Cause(Reason.PARALLELISM_INVALID, f"{accelerator.name} has no nodes that hold so many devices; lower the count")


def _best_layout(facts: ModelFacts, accelerator: Accelerator, request: PlanRequest, count: int, tokens: int) -> tuple[Candidate | None, Cause | None]:
    """The first layout that fits, in order of preference; else the first tight one; else the one that misses by least."""
    if not nodes_for(count, accelerator):
        return None, _uneven(count, accelerator)
    best: Candidate | None = None
    cause: Cause | None = None
    for layout in layouts_of(count, accelerator, request):
        why_not = undividable(facts, accelerator, layout, request)
        if why_not:
            cause = cause or why_not
            continue
        here = evaluate(facts, accelerator, layout, request, tokens)
        if here.verdict is Verdict.FITS:
            return here, None
        best = here if best is None or _better(here, best) else best
    return best, cause or _no_layout(count, request)


def _better(one: Candidate, other: Candidate) -> bool:
    if one.verdict is not other.verdict:
        return _ORDER[one.verdict] < _ORDER[other.verdict]
    return one.verdict is Verdict.REJECTED and one.memory.headroom_bytes > other.memory.headroom_bytes


def _uneven(count: int, accelerator: Accelerator) -> Cause:
    most = accelerator.most_per_node
    said = f"{count} devices cannot be spread evenly over nodes of {accelerator.name}, which have at most {most}"
    return Cause(Reason.PARALLELISM_INVALID, f"{said}; set the count to at most {most} or to a multiple of it")


def _no_layout(count: int, request: PlanRequest) -> Cause:
    tp, pp = request.tensor_parallel or "any", request.pipeline_parallel or "any"
    said = f"tensor parallelism {tp} times pipeline parallelism {pp} does not make {count} devices"
    return Cause(Reason.PARALLELISM_INVALID, f"{said}; set a count that is their product")


def shortfall(candidate: Candidate) -> str:
    """What a rejected way needs and has, in one clause."""
    memory = candidate.memory
    parts = (
        ("weights", memory.weight_bytes),
        ("KV cache", memory.kv_cache_bytes),
        ("activations", memory.activation_bytes),
        ("overhead", memory.overhead_bytes),
    )
    shown = ", ".join(f"{name} {human_bytes(size)}" for name, size in parts)
    spread = f"{candidate.layout.count} x {candidate.accelerator.name}, {candidate.tokens} tokens"
    return f"needs {human_bytes(memory.needed_bytes)} per device ({shown}) of {human_bytes(memory.budget_bytes)} usable ({spread})"


def longest(facts: ModelFacts, candidate: Candidate, request: PlanRequest, *, room_bytes: float) -> int:
    """The longest context that leaves so much room on each device, in steps, at most the model's own; 0 where not even one step does."""
    low, high = 0, max(-(-(facts.context_limit or candidate.tokens * 64) // STEP), 1)
    while low < high:
        middle = (low + high + 1) // 2
        memory = memory_of(facts, candidate.accelerator, candidate.layout, request, candidate.batch, middle * STEP)
        low, high = (middle, high) if memory.headroom_bytes >= room_bytes else (low, middle - 1)
    return min(low * STEP, facts.context_limit or low * STEP)


def concurrency(facts: ModelFacts, candidate: Candidate, request: PlanRequest) -> float:
    """Requests of full length that the cache holds at once, at most those that are served at once."""
    each = request_kv_bytes(facts, request, candidate.layout, candidate.batch, candidate.tokens)
    room = candidate.memory.headroom_bytes + candidate.memory.kv_cache_bytes
    most = float(candidate.batch.max_num_seqs)
    return most if each <= 0 else round(min(max(room, 0) / each, most), 2)
