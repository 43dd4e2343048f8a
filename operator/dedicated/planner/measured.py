"""What an engine says of its own memory while it starts: measured beats estimated."""

from __future__ import annotations

import re

from dedicated.api.status import Measured
from dedicated.core.quantities import GIB, MIB

_NUMBER = r"(\d+(?:\.\d+)?)"

# vLLM 0.33: v1/worker/gpu_model_runner.py, v1/worker/gpu_worker.py, v1/core/kv_cache_utils.py; its numbers are of one worker.
# SGLang 0.5.23: srt/model_executor/model_runner.py, srt/mem_cache/memory_pool.py; its "GB" are GiB.
# llama.cpp: src/llama-model.cpp (load_tensors), src/llama-kv-cache.cpp, src/llama-context.cpp; one line a device, so lines add up.
WEIGHTS = (
    (re.compile(rf"Model loading took {_NUMBER} GiB"), GIB),
    (re.compile(rf"Load weight end\..*mem usage={_NUMBER} GB"), GIB),
)
KV_CACHE = ((re.compile(rf"Available KV cache memory: {_NUMBER} GiB"), GIB),)
SGLANG_KV = re.compile(rf"KV Cache is allocated\..*K size: {_NUMBER} GB, V size: {_NUMBER} GB")
TOKENS = (re.compile(r"GPU KV cache size: ([\d,]+) tokens"), re.compile(r"max_total_num_tokens=(\d+)"))
LENGTH = (re.compile(r"Auto-fit max_model_len: reduced from [\d,]+ to ([\d,]+)"), re.compile(r"n_ctx_(?:slot|seq)\s*=\s*(\d+)"))
CONCURRENCY = re.compile(rf"Maximum concurrency for [\d,]+ tokens per request: {_NUMBER}x")
LLAMACPP_WEIGHTS = re.compile(rf"load_tensors:.*model buffer size =\s*{_NUMBER} MiB")
LLAMACPP_KV = re.compile(rf"llama_kv_cache.*KV buffer size =\s*{_NUMBER} MiB")


def measured(log: str) -> Measured:
    """The numbers in the log of an engine's last start; absent where it does not tell."""
    return Measured(
        weight_bytes=_first(WEIGHTS, log) or _sum(LLAMACPP_WEIGHTS, log),
        kv_cache_bytes=_first(KV_CACHE, log) or _sglang_kv(log) or _sum(LLAMACPP_KV, log),
        kv_cache_tokens=_count(TOKENS, log),
        max_model_len=_count(LENGTH, log),
        concurrency=float(found[-1]) if (found := CONCURRENCY.findall(log)) else None,
    )


def _first(patterns: tuple[tuple[re.Pattern[str], int], ...], log: str) -> int | None:
    found = [int(float(values[-1]) * unit) for pattern, unit in patterns if (values := pattern.findall(log))]
    return found[0] if found else None


def _sum(pattern: re.Pattern[str], log: str) -> int | None:
    found = pattern.findall(log)
    return int(sum(map(float, found)) * MIB) if found else None


def _sglang_kv(log: str) -> int | None:
    found = SGLANG_KV.findall(log)
    return int(sum(map(float, found[-1])) * GIB) if found else None


def _count(patterns: tuple[re.Pattern[str], ...], log: str) -> int | None:
    found = [values[-1] for pattern in patterns if (values := pattern.findall(log))]
    return int(found[0].replace(",", "")) if found else None


def errors(estimate: dict[str, int | None], found: Measured) -> dict[str, float]:
    """By how much the estimate was off, as a share of it: above zero where more was needed. (estimate: bytes, by name of the field)"""
    pairs = {name: (bytes_, getattr(found, name)) for name, bytes_ in estimate.items()}
    return {name: real / said - 1 for name, (said, real) in pairs.items() if said and real}
