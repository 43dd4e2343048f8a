"""What a plan is asked for, and what an engine makes of it on a given device where nothing is asked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dedicated.api.endpoint import CPU, EndpointSpec, EngineKind
from dedicated.core.quantities import GIB, MIB, quantity
from dedicated.planner.accelerators import Accelerator


@dataclass(frozen=True)
class PlanRequest:
    """
    What is asked for; None and empty leave it to the planner.

    Args:
        accelerators: Names of classes that are allowed; empty allows any.
        count: Devices of one replica.
        least_model_len: A plan with a shorter context is none: what was served before, or what is useful. (tokens)
        memory_share: vLLM's --gpu-memory-utilization, SGLang's --mem-fraction-static. (0 to 1)
        max_price_per_hour: Of one replica. (USD)
        host_memory_bytes: Of one replica on CPU; None means as much as it needs.
    """

    engine: EngineKind = EngineKind.VLLM
    accelerators: tuple[str, ...] = ()
    count: int | None = None
    max_model_len: int | None = None
    least_model_len: int = 0
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    memory_share: float | None = None
    kv_cache_dtype: str = "auto"
    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    max_price_per_hour: float | None = None
    host_memory_bytes: int | None = None


_SHARES = ("--gpu-memory-utilization", "--mem-fraction-static")
_TOKENS = ("--max-num-batched-tokens", "--chunked-prefill-size")
_STAGES = ("--pipeline-parallel-size", "--pp-size", "-pp")


def of_spec(spec: EndpointSpec) -> PlanRequest:
    """What the spec of an endpoint asks for; flags in `spec.engine.args` that decide memory are read too."""
    engine, hardware = spec.engine, spec.hardware
    share, tokens, stages = (_flag(engine.args, names) for names in (_SHARES, _TOKENS, _STAGES))
    on_cpu = hardware.accelerators == [CPU]
    return PlanRequest(
        engine=engine.kind,
        accelerators=tuple(hardware.accelerators),
        count=hardware.count,
        max_model_len=engine.max_model_len,
        max_num_seqs=engine.max_num_seqs,
        max_num_batched_tokens=int(tokens) if tokens else None,
        memory_share=share,
        kv_cache_dtype=engine.kv_cache_dtype,
        pipeline_parallel=int(stages) if stages else None,
        max_price_per_hour=hardware.max_price_per_hour,
        host_memory_bytes=int(quantity(hardware.memory)) if on_cpu and hardware.memory else None,
    )


def _flag(args: list[str], names: tuple[str, ...]) -> float | None:
    """The number that follows the last of these flags, as `--flag 1` or `--flag=1`; None where there is none."""
    found = None
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name.replace("_", "-") in names:
            said = value if equals else next(iter(args[index + 1 :]), "")
            found = float(said) if re.fullmatch(r"\d+(\.\d+)?", said) else found
    return found


@dataclass(frozen=True)
class Batch:
    """Sequences served at once, and tokens computed in one step."""

    max_num_seqs: int
    batched_tokens: int


_VLLM_LARGE, _VLLM_MIDDLE = 160 * GIB, 70 * GIB
"""Device memory from which vLLM serves 1024 sequences (0.33 engine/arg_utils.py:2940, get_batch_defaults). (bytes)"""
LLAMACPP_UBATCH = 512
"""Tokens in one step of llama-server (`--ubatch-size`, tools/server/README.md of ggml-org/llama.cpp)."""
_SGLANG_STEPS = ((20 * 1024, 2048, 8, 8), (35 * 1024, 4096, 48, 160), (60 * 1024, 4096, 32, 160), (160 * 1024, 8192, 256, 512), (0, 16384, 512, 512))
"""Below so much device memory: chunk of prefill, sequences in graphs at tp < 4 and from 4 (SGLang 0.5.23 srt/arg_groups/memory_hook.py). (MiB)"""


def batch_of(request: PlanRequest, accelerator: Accelerator, tp: int) -> Batch:
    """What the engine takes on this device, where the request does not say."""
    seqs, tokens = _defaults(request.engine, accelerator, tp)
    seqs = request.max_num_seqs or seqs
    return Batch(seqs, request.max_num_batched_tokens or tokens)


def _defaults(engine: EngineKind, accelerator: Accelerator, tp: int) -> tuple[int, int]:
    if engine is EngineKind.LLAMACPP:
        return 1, LLAMACPP_UBATCH
    if engine is EngineKind.SGLANG:
        _, tokens, few, many = _sglang_step(accelerator)
        return (few if tp < 4 else many), tokens
    if accelerator.visible_bytes >= _VLLM_LARGE:
        return 1024, 16384
    if accelerator.memory_bytes >= _VLLM_MIDDLE and "a100" not in accelerator.name:
        return 1024, 8192
    return 256, 2048


def _sglang_step(accelerator: Accelerator) -> tuple[int, int, int, int]:
    mib = accelerator.memory_bytes / MIB
    return next((step for step in _SGLANG_STEPS[:-1] if mib < step[0]), _SGLANG_STEPS[-1])
