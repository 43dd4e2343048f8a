"""What cannot be, whatever the memory: devices that do not compute what the model needs, and divisions that leave a remainder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dedicated.api.endpoint import EngineKind
from dedicated.api.reasons import Reason
from dedicated.planner.accelerators import Accelerator
from dedicated.planner.kv import KV_BYTES
from dedicated.planner.memory import Layout
from dedicated.planner.model_facts import ModelFacts, Note
from dedicated.planner.request import PlanRequest

SGLANG_COMPUTE = 7.5
"""Least compute capability of SGLang's kernels (its installation page, 0.5)."""
BF16_COMPUTE = 8.0
"""Least compute capability with bfloat16; below, vLLM's `auto` takes float16 with a warning."""
MARLIN_INPUTS = 128
"""Inputs that a rank's share of a 4-bit layer comes in multiples of (vLLM 0.33 marlin_utils.py:32, GPTQ_MARLIN_MIN_THREAD_K)."""
FP8_KV_COMPUTE = 8.9
"""From here on an fp8 cache is read without being turned into 16 bit first."""


@dataclass(frozen=True)
class Cause:
    """Why something cannot be."""

    reason: Reason
    message: str


_DeviceRule = Callable[[ModelFacts, Accelerator, PlanRequest], Cause | None]


def impossible_on(facts: ModelFacts, accelerator: Accelerator, request: PlanRequest) -> Cause | None:
    """Why no number of these devices serves the model; None where nothing speaks against it."""
    return next((cause for check in _DEVICE_RULES if (cause := check(facts, accelerator, request))), None)


def _files_fit_engine(facts: ModelFacts, _accelerator: Accelerator, request: PlanRequest) -> Cause | None:
    if request.engine is EngineKind.LLAMACPP and facts.files != "gguf":
        return Cause(
            Reason.UNSUPPORTED_QUANTIZATION, "llama.cpp opens GGUF files only and this model has safetensors; use vllm, or a GGUF repository"
        )
    if request.engine in (EngineKind.VLLM, EngineKind.SGLANG) and facts.files == "gguf":
        return Cause(Reason.UNSUPPORTED_QUANTIZATION, f"{request.engine} does not open GGUF files; set the engine to llamacpp")
    return None


def _engine_runs(_facts: ModelFacts, accelerator: Accelerator, request: PlanRequest) -> Cause | None:
    if accelerator.vendor == "nvidia" and request.engine is EngineKind.SGLANG and accelerator.compute < SGLANG_COMPUTE:
        return Cause(
            Reason.NO_ACCELERATOR_ALLOWED,
            f"sglang needs compute capability {SGLANG_COMPUTE} and {accelerator.name} has {accelerator.compute}; use vllm, or a newer accelerator",
        )
    return None


def _dtype_is_there(facts: ModelFacts, accelerator: Accelerator, request: PlanRequest) -> Cause | None:
    if accelerator.bf16 or not facts.refuses_fp16 or request.engine is EngineKind.LLAMACPP:
        return None
    message = f"{facts.family} gives wrong answers in float16 and {accelerator.name} has no bfloat16; allow an accelerator of compute capability 8.0"
    return Cause(Reason.UNSUPPORTED_DTYPE, message)


def _quantisation_is_there(facts: ModelFacts, accelerator: Accelerator, request: PlanRequest) -> Cause | None:
    method = facts.quantization
    if method is None or request.engine is EngineKind.LLAMACPP:
        return None
    if accelerator.vendor == "nvidia" and accelerator.compute < method.compute:
        said = f"{method.name} weights need compute capability {method.compute} and {accelerator.name} has {accelerator.compute}"
        return Cause(Reason.UNSUPPORTED_QUANTIZATION, f"{said}; use another checkpoint of the model, or a newer accelerator")
    if accelerator.vendor == "amd" and not method.on_amd:
        return Cause(
            Reason.UNSUPPORTED_QUANTIZATION, f"{method.name} weights do not run on {accelerator.name}; use a bf16 or fp8 checkpoint of the model"
        )
    return None


_DEVICE_RULES: tuple[_DeviceRule, ...] = (_files_fit_engine, _engine_runs, _dtype_is_there, _quantisation_is_there)


_SplitRule = Callable[[ModelFacts, Accelerator, Layout], str | None]


def undividable(facts: ModelFacts, accelerator: Accelerator, layout: Layout, request: PlanRequest) -> Cause | None:
    """Why the model cannot be spread like this; None where it can. Each rule is one of vLLM 0.33's own checks at the start."""
    if layout.count > 1 and not accelerator.joinable:
        slices = f"devices of {accelerator.name} are slices, which cannot be joined"
        return Cause(Reason.PARALLELISM_INVALID, f"{slices}; set the count to 1, or allow whole devices")
    if request.engine is EngineKind.LLAMACPP:
        rules: tuple[_SplitRule, ...] = (_stages,)
    else:
        rules = (_heads, _kv_heads, _other_heads, _blocks, _marlin, _stages)
    wrong = next((said for check in rules if (said := check(facts, accelerator, layout))), None)
    return Cause(Reason.PARALLELISM_INVALID, wrong) if wrong else None


def _heads(facts: ModelFacts, _accelerator: Accelerator, layout: Layout) -> str | None:
    if facts.heads and facts.heads % layout.tp:
        return f"{facts.heads} attention heads cannot be divided by tensor parallelism {layout.tp}; set it to one of {_divisors(facts.heads)}"
    return None


def _kv_heads(facts: ModelFacts, _accelerator: Accelerator, layout: Layout) -> str | None:
    latent = any(not group.heads for group in facts.kv) and not any(group.heads for group in facts.kv)
    if latent or not facts.kv_heads or facts.kv_heads % layout.tp == 0 or layout.tp % facts.kv_heads == 0:
        return None
    said = f"{facts.kv_heads} KV heads can neither be divided over nor copied to {layout.tp} ranks of tensor parallelism"
    return f"{said}; set it to one of {_divisors(facts.kv_heads)}"


def _other_heads(facts: ModelFacts, _accelerator: Accelerator, layout: Layout) -> str | None:
    uneven = [heads for heads in facts.other_heads if heads % layout.tp]
    return f"{uneven[0]} state heads cannot be divided by tensor parallelism {layout.tp}; set it to one of {_divisors(uneven[0])}" if uneven else None


def _blocks(facts: ModelFacts, _accelerator: Accelerator, layout: Layout) -> str | None:
    block = facts.quantization.block if facts.quantization else 0
    uneven = [(name, width) for name, width in facts.split_widths if block and (width % layout.tp or width // layout.tp % block)]
    if not uneven:
        return None
    name, width = uneven[0]
    said = f"the {name} {width} over tensor parallelism {layout.tp} gives {width / layout.tp:g}, which is not made of fp8 blocks of {block}"
    return f"{said}; lower tensor parallelism and raise pipeline parallelism"


def _marlin(facts: ModelFacts, accelerator: Accelerator, layout: Layout) -> str | None:
    group = facts.quantization.marlin_group if facts.quantization else 0
    if not group or accelerator.vendor != "nvidia":
        return None
    whole = max(MARLIN_INPUTS, group)
    uneven = [width for name, width in facts.split_widths if name == "intermediate size" and (width % layout.tp or width // layout.tp % whole)]
    if not uneven or layout.tp == 1:
        return None
    said = f"the intermediate size {uneven[0]} over tensor parallelism {layout.tp} gives {uneven[0] / layout.tp:g}"
    return f"{said}, which is not made of groups of {whole} weights; lower tensor parallelism and raise pipeline parallelism"


def _stages(facts: ModelFacts, _accelerator: Accelerator, layout: Layout) -> str | None:
    if facts.layers and layout.pp > facts.layers:
        return f"{facts.layers} layers cannot make {layout.pp} pipeline stages; set pipeline parallelism to {facts.layers} or less"
    return None


def _divisors(number: int) -> str:
    return ", ".join(str(part) for part in range(1, min(number, 128) + 1) if number % part == 0)


def notes_on(facts: ModelFacts, accelerator: Accelerator, layout: Layout, request: PlanRequest) -> list[Note]:
    """What to know of a plan that is possible."""
    notes = list(facts.notes)
    if not accelerator.bf16 and facts.dtype == "bfloat16" and request.engine is not EngineKind.LLAMACPP:
        notes.append(Note(Reason.UNSUPPORTED_DTYPE, f"{accelerator.name} has no bfloat16: the engine computes in float16"))
    if facts.quantization and facts.quantization.name == "bitsandbytes" and request.engine is EngineKind.VLLM:
        notes.append(Note(Reason.UNSUPPORTED_QUANTIZATION, "vLLM from 0.33 on reads bitsandbytes weights by a plugin only: use an image that has it"))
    if request.max_price_per_hour is not None and accelerator.price_per_hour is None:
        notes.append(
            Note(Reason.PRICE_ABOVE_LIMIT, f"{accelerator.name} has no price, so the limit of {request.max_price_per_hour:g} is not checked")
        )
    if request.engine is EngineKind.CUSTOM:
        notes.append(Note(Reason.TIGHT_FIT, "nothing is known of a custom engine's memory: it is weighed as if it were vLLM"))
    if request.kv_cache_dtype not in KV_BYTES:
        notes.append(Note(Reason.TIGHT_FIT, f"the KV cache's data type '{request.kv_cache_dtype}' is not known here: two bytes a value are assumed"))
    if request.kv_cache_dtype.startswith("fp8") and 0 < accelerator.compute < FP8_KV_COMPUTE:
        notes.append(Note(Reason.TIGHT_FIT, f"{accelerator.name} reads an fp8 KV cache slowly: it halves the memory and not the time"))
    if layout.nodes > 1 and layout.tp > layout.count // layout.nodes:
        notes.append(Note(Reason.PARALLELISM_INVALID, f"tensor parallelism {layout.tp} spans nodes: it needs NVLink or InfiniBand between them"))
    return notes
