"""A plan as text: one line for people in a hurry, and a table of everything that was weighed."""

from __future__ import annotations

from collections.abc import Iterable

from dedicated.core.quantities import human_bytes
from dedicated.planner.answer import SizingPlan
from dedicated.planner.kv import KvGroup
from dedicated.planner.model_facts import ModelFacts


def summary(plan: SizingPlan) -> str:
    """What was decided, in a few lines."""
    lines = [plan.message[0].upper() + plan.message[1:] if plan.fits else f"Rejected ({plan.reason}): {plan.message}"]
    if plan.fits:
        lines += table([("setting", "value"), *_settings(plan)])
    lines += [f"note: {warning}" for warning in plan.warnings]
    lines += [f"also fits: {', '.join(plan.alternatives)}"] if plan.alternatives else []
    return "\n".join(lines)


def full(facts: ModelFacts, plan: SizingPlan) -> str:
    """The model, the memory of a device, and every class that was rejected."""
    parts = [summary(plan), "", "the model", *table([("fact", "value"), *_model(facts)])]
    if plan.memory:
        memory = plan.memory
        rows = [
            ("budget", memory.budget_bytes),
            ("weights", memory.weight_bytes),
            ("KV cache of one request", memory.kv_cache_bytes),
            ("activations", memory.activation_bytes),
            ("overhead", memory.overhead_bytes),
            ("headroom", memory.headroom_bytes),
        ]
        parts += ["", "the memory of a device", *table([("part", "size"), *((name, human_bytes(size)) for name, size in rows)])]
    if plan.rejected:
        parts += ["", "rejected", *table([("class", "reason", "why"), *((one.accelerator, str(one.reason), one.message) for one in plan.rejected)])]
    return "\n".join(parts)


def _settings(plan: SizingPlan) -> list[tuple[str, str]]:
    price = "unknown" if plan.price_per_hour is None else f"{plan.price_per_hour:.2f} USD per hour"
    return [
        ("accelerators", f"{plan.count} x {plan.accelerator}" if plan.count else str(plan.accelerator)),
        ("tensor x pipeline parallel", f"{plan.layout.tp} x {plan.layout.pp}"),
        ("context", f"{plan.max_model_len} tokens"),
        ("sequences at once", str(plan.batch.max_num_seqs)),
        ("full requests at once", f"{plan.concurrency:g}"),
        ("price of a replica", price),
    ]


def _model(facts: ModelFacts) -> list[tuple[str, str]]:
    method = facts.quantization.name if facts.quantization else "none"
    kept = ", ".join(_kept(group) for group in facts.kv) or ("nothing" if facts.embeds else "unknown")
    return [
        ("architecture", f"{facts.architecture} ({facts.family})"),
        ("parameters", f"{facts.parameters / 1e9:.2f} billion"),
        ("weights", f"{human_bytes(facts.stored_bytes)} stored, {human_bytes(facts.loaded_bytes)} loaded (from {facts.source})"),
        ("data type, quantisation", f"{facts.dtype}, {method}"),
        ("layers x width, heads", f"{facts.layers} x {facts.hidden}, {facts.heads} ({facts.kv_heads} KV)"),
        ("vocabulary", str(facts.vocab)),
        ("context limit", f"{facts.context_limit} tokens" if facts.context_limit else "unknown"),
        ("kept for a request", kept),
    ]


def _kept(group: KvGroup) -> str:
    window = f" of {group.window} tokens" if group.window else ""
    return f"{group.layers} {group.mixer} layers{window}"


def table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Rows as aligned columns; the first is the head."""
    found = list(rows)
    widths = [max(len(row[column]) for row in found) for column in range(len(found[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in found]
    return [f"  {line}" for line in lines]
