"""
The numbers that an engine prints beside its error: what was wanted, what was there, what would fit. They make a message exact and a step concrete.

Sizes stay in the unit in which the engine wrote them; GiB and MiB are what torch and vLLM print.
"""

# ruff: noqa: E501 - a wording of an engine stays one line.
from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from dedicated.diagnosis.causes import Coarse

_SIZE = r"(\d+(?:\.\d+)?) ?([kmgt]i?b)"
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}

_WANTED = re.compile(rf"tried to allocate {_SIZE}")
_CAPACITY = re.compile(rf"(?:total capacity of {_SIZE}|{_SIZE} total capacity)")
_FREE = re.compile(rf"(?:of which {_SIZE} is free|; {_SIZE} free)")
_OURS = re.compile(rf"this process has {_SIZE} memory in use")

BUSY_SHARE = 0.5
"""Below this share of a full GPU, another process holds the rest: the engines take 0.8 to 0.95 of it themselves."""
_FULL_SHARE = 0.1


def bytes_of(number: str, unit: str) -> float:
    """Bytes of a printed size; engines mean powers of two whichever way they spell the unit."""
    return float(number) * _UNITS[unit[0]]


def _size(pattern: re.Pattern[str], text: str) -> float | None:
    found = pattern.search(text)
    parts = [part for part in found.groups() if part] if found else []
    return bytes_of(parts[0], parts[1]) if parts else None


def held_by_others(text: str) -> bool:
    """Whether an out-of-memory line says that the GPU is full of another process's memory. (lower-case text)"""
    ours, total, free = _size(_OURS, text), _size(_CAPACITY, text), _size(_FREE, text)
    if ours is None or not total or free is None:
        return False
    return ours < BUSY_SHARE * total and free < _FULL_SHARE * total


class Told(NamedTuple):
    """What the numbers say, and what to do with them; empty where there is nothing to add."""

    sentence: str
    next_step: str


Reader = tuple[re.Pattern[str], Callable[[tuple[str, ...]], Told]]


def _row(pattern: str, sentence: str, next_step: str = "") -> Reader:
    """Placeholders {0}, {1} are the groups of the pattern."""
    return re.compile(pattern), lambda groups: Told(sentence.format(*groups), next_step.format(*groups))


_N = r"(\d[\d,]*)"
_G = r"(\d+(?:\.\d+)?) ?gib"

# Wordings: vllm v1/core/kv_cache_utils.py, worker/utils.py, config/model.py, config/parallel.py; sglang configs/model_config.py; torch
# CUDACachingAllocator.cpp; llama.cpp ggml-cuda.cu; TGI models/types. Most exact first.
_READERS: dict[Coarse, tuple[Reader, ...]] = {
    Coarse.KV_TOO_SMALL: (
        _row(
            rf"max seq(?:uence)? len \({_N}\).*?{_G} kv cache.*?available kv cache memory \({_G}.*?estimated maximum model length is {_N}",
            "One request of {0} tokens needs {1} GiB of KV cache and {2} GiB are left beside the weights; {3} tokens would fit.",
            "Set spec.engine.maxModelLen to {3} or less, or use an accelerator with more memory.",
        ),
        _row(
            rf"max seq(?:uence)? len \({_N}\).*?{_G} kv cache.*?available kv cache memory \({_G}",
            "One request of {0} tokens needs {1} GiB of KV cache and {2} GiB are left beside the weights.",
        ),
        _row(
            rf"max seq len \({_N}\) is larger than the maximum number of tokens that can be stored in kv cache \({_N}\)",
            "The KV cache holds {1} tokens and one request may have {0}.",
            "Set spec.engine.maxModelLen to {1} or less, or use an accelerator with more memory.",
        ),
        _row(rf"not enough memory to handle {_N} (?:prefill|total)? ?tokens", "The memory left free does not hold a batch of {0} tokens."),
        _row(
            r"allocating (\d+(?:\.\d+)?) mib on device (\d+): cudamalloc failed",
            "{0} MiB more were wanted on GPU {1} for the KV cache, and it was full.",
        ),
    ),
    Coarse.MAX_LEN_INVALID: (
        _row(
            rf"(?:max_model_len|context_length) \({_N}\) is greater than the derived \w+ \((?:\w+=)?{_N}",
            "{0} tokens were asked for and the model's limit is {1}.",
            "Set spec.engine.maxModelLen to {1} or less.",
        ),
        _row(
            rf"max_num_batched_tokens \({_N}\) is smaller than max_model_len \({_N}\)",
            "A batch may have {0} tokens and one request {1}.",
            "Set spec.engine.maxModelLen to {0} or less, or raise --max-num-batched-tokens to {1}.",
        ),
    ),
    Coarse.TENSOR_PARALLEL_INVALID: (
        _row(
            rf"attention heads \({_N}\) must be divisible by tensor parallel size \({_N}\)",
            "The model has {0} attention heads, which {1} GPUs cannot share equally.",
            "Set spec.hardware.count to a divisor of {0}.",
        ),
        _row(
            rf"world size \({_N}\) is larger than the number of available gpus \({_N}\)",
            "{0} GPUs are wanted and the container has {1}.",
            "Set spec.hardware.count to {1}, or the parallel sizes in spec.engine.args to what the container has.",
        ),
        _row(
            r"`num_heads` must be divisible by `num_shards` \(got `num_heads`: (\d+) and `num_shards`: (\d+)",
            "The model has {0} attention heads, which {1} GPUs cannot share equally.",
            "Set spec.hardware.count to a divisor of {0}.",
        ),
        _row(rf"assertionerror: {_N} is not divisible by {_N}", "{0} cannot be divided by {1}.", "Set spec.hardware.count to a divisor of {0}."),
    ),
    Coarse.GPU_OOM_WEIGHTS: (
        _row(
            r"free memory on device .{0,24}\((\d+(?:\.\d+)?)/(\d+(?:\.\d+)?) gib\) on startup is less than desired gpu memory utilization \(([\d.]+), (\d+(?:\.\d+)?) gib",
            "The engine wants {3} GiB of the GPU and only {0} of {1} GiB were free when it started.",
            "Free the GPU of other processes: {3} GiB of {1} are wanted; or lower --gpu-memory-utilization.",
        ),
    ),
    Coarse.UNSUPPORTED_DTYPE_OR_QUANT: (
        _row(
            r"(?:minimum|required) capability: (\d+)\.? current capability: (\d+)",
            "Compute capability {0} (in tenths) is needed and the GPU has {1}.",
        ),
        _row(
            r"compute capability of at least ([\d.]+)\. your (.{1,40}?) gpu has compute capability ([\d.]+)",
            "bfloat16 needs compute capability {0} and the GPU has {2}.",
            "Add --dtype=half to spec.engine.args, or use an accelerator of compute capability {0} or more.",
        ),
    ),
}
_ALLOCATION: tuple[Reader, ...] = (
    _row(
        rf"tried to allocate {_SIZE}.*?total capacity of {_SIZE} of which {_SIZE} is free",
        "{0} {1} more were wanted and {4} {5} of {2} {3} were free.",
    ),
    _row(
        rf"tried to allocate {_SIZE} \(gpu \d+; {_SIZE} total capacity;.*?; {_SIZE} free",
        "{0} {1} more were wanted and {4} {5} of {2} {3} were free.",
    ),
    _row(rf"tried to allocate {_SIZE}", "{0} {1} more were wanted."),
    _row(r"allocating (\d+(?:\.\d+)?) mib on device (\d+)", "{0} MiB more were wanted on GPU {1}, and it was full."),
)
_UNIT_NAMES = re.compile(r"\b([kmgt])i?b\b")


def told(coarse: Coarse, evidence: str, context: Iterable[str]) -> Told:
    """The numbers of this cause: from the line that proves it, else from the lines around it."""
    readers = _READERS.get(coarse, ()) + (_ALLOCATION if coarse in (Coarse.GPU_OOM_WEIGHTS, Coarse.GPU_OOM_RUNTIME) else ())
    lines = [evidence.lower(), *(line.lower() for line in context)] if readers else []
    for pattern, say in readers:
        for line in lines:
            if found := pattern.search(line):
                return _spelled(say(found.groups()))
    return Told("", "")


def _spelled(said: Told) -> Told:
    return Told(_UNIT_NAMES.sub(lambda found: f"{found[1].upper()}iB", said.sentence), said.next_step)
