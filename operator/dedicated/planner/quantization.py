"""How a checkpoint's weights are stored: which of them are quantised, in how many bytes each, and what hardware computes with that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from dedicated.planner.fields import Fields

SCALE_BYTES = 2.0
"""A group's scale, fp16."""
MXFP4_BYTES = 0.5 + 1 / 32
"""Four bits, and one byte of scale for each 32 (Open Compute Project, Microscaling Formats 1.0)."""
NVFP4_BYTES = 0.5 + 1 / 16
"""Four bits, and one byte of scale for each 16 (compressed-tensors nvfp4-pack-quantized)."""
MXFP4_LOADED = 1.06
"""Loaded over stored: 13.47 / 12.82 GiB for gpt-oss-20b, 64.38 / 60.77 for 120b (llm-d-planner docs/empirical-vllm-memory-results.md)."""
BLOCK_SCALE_BYTES = 4.0
"""A block's scale, fp32 (DeepSeek-V3's weight_scale_inv)."""


@dataclass(frozen=True)
class Quantization:
    """
    One way to store weights.

    Args:
        name: As engines call it.
        weight_bytes: Of a quantised weight, with its share of scales and zero points.
        compute: Least compute capability that vLLM 0.33 asks for (each method's `get_min_capability`).
        block: Side of the blocks that share a scale, under block-wise fp8; a rank's share of a layer is made of whole ones. (0: none)
        marlin_group: Group along a layer's input, where Marlin kernels need whole ones on each rank. (0: none)
        loaded_factor: Bytes in use over bytes stored, for quantised weights.
        on_amd: Whether ROCm builds of the engines compute with it.
        kept: Patterns of layers that are left as they were.
        only_experts: Whether only experts are quantised.
        known: False where nobody told what this method is; two bytes a weight are assumed.
    """

    name: str
    weight_bytes: float
    compute: float
    block: int = 0
    marlin_group: int = 0
    loaded_factor: float = 1.0
    on_amd: bool = True
    kept: tuple[str, ...] = ()
    only_experts: bool = False
    known: bool = True

    @property
    def is_4bit_float(self) -> bool:
        """Whether weights are four-bit floats, which only Blackwell computes with directly."""
        return self.name == "nvfp4"


def quantization_of(config: Fields) -> Quantization | None:
    """
    What `quantization_config` (or compressed-tensors' older `compression_config`) says; None where weights are stored plainly.

    Source: sizing facts of vLLM 0.33 quantisation methods; formats as their projects document them.
    """
    said = config.under("quantization_config", "compression_config", "quantization")
    if not said.raw():
        return None
    method = said.text("quant_method", "quant_algo", "quant_type", default="compressed-tensors" if "config_groups" in said else "unknown").lower()
    found = _METHODS.get(method, _unknown)(said, method)
    kept = tuple(said.texts("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules", "modules_to_not_quantize"))
    return replace(found, kept=(*found.kept, *kept))


def _unknown(said: Fields, method: str) -> Quantization:
    return Quantization(method, 2.0, 7.0, known=False)


def _fp8(said: Fields, _method: str) -> Quantization:
    sides = [side for side in said.numbers("weight_block_size") if side > 0]
    if len(sides) == 2:
        return Quantization("fp8", 1 + BLOCK_SCALE_BYTES / (sides[0] * sides[1]), 7.5, block=sides[0])
    return Quantization("fp8", 1.0, 7.5)


def _fbgemm(_said: Fields, _method: str) -> Quantization:
    return Quantization("fbgemm_fp8", 1.0, 8.0)


def _integers(bits: int, group: int) -> float:
    """Bytes of one weight: its bits, its group's scale, its group's zero point."""
    return bits / 8 + ((SCALE_BYTES + bits / 8) / group if group > 0 else 0)


def _awq(said: Fields, _method: str) -> Quantization:
    bits, group = said.integer("bits", "w_bit", default=4), said.integer("group_size", "q_group_size", default=128)
    return Quantization("awq", _integers(bits, group), 7.5, marlin_group=max(group, 0))


def _gptq(said: Fields, method: str) -> Quantization:
    bits, group = said.integer("bits", default=4), said.integer("group_size", default=128)
    return Quantization("gptq" if method.startswith("gptq") else method, _integers(bits, group), 6.0, marlin_group=max(group, 0))


def _mxfp4(_said: Fields, _method: str) -> Quantization:
    return Quantization("mxfp4", MXFP4_BYTES, 8.0, loaded_factor=MXFP4_LOADED, only_experts=True)


def _nvfp4(_said: Fields, _method: str) -> Quantization:
    return Quantization("nvfp4", NVFP4_BYTES, 7.5, on_amd=False)


def _bitsandbytes(said: Fields, _method: str) -> Quantization:
    four = said.flag("load_in_4bit") or not said.flag("load_in_8bit")
    return Quantization("bitsandbytes", 0.5 + 4 / 64 / 8 if four else 1.0, 7.0)


def _compressed_tensors(said: Fields, _method: str) -> Quantization:
    groups = said.under("config_groups").objects()
    weights = groups[0].under("weights") if groups else Fields({})
    bits, group = weights.integer("num_bits", default=8), weights.integer("group_size", default=-1)
    layout = said.text("format")
    if "nvfp4" in layout:
        return _nvfp4(said, "nvfp4")
    if bits >= 8:
        block = [side for side in weights.numbers("block_structure") if side > 0]
        fp8 = Quantization("compressed-tensors", 1.0, 7.5)
        return replace(fp8, weight_bytes=1 + BLOCK_SCALE_BYTES / (block[0] * block[1]), block=block[0]) if len(block) == 2 else fp8
    per_weight = bits / 8 + (SCALE_BYTES / group if group > 0 else 0)
    return Quantization("compressed-tensors", per_weight, 7.5, marlin_group=max(group, 0))


def _modelopt(said: Fields, method: str) -> Quantization:
    algorithm = said.text("quant_algo", default=method).upper()
    if "FP4" in algorithm:
        return _nvfp4(said, "nvfp4")
    return Quantization("modelopt", 1.0 if "8" in algorithm or algorithm == "MODELOPT" else 0.5, 7.5)


def _quark(said: Fields, _method: str) -> Quantization:
    weight = said.under("global_quant_config").under("weight")
    return Quantization("quark", MXFP4_BYTES if "4" in weight.text("dtype") else 1.0, 7.0)


def _torchao(said: Fields, _method: str) -> Quantization:
    return Quantization("torchao", 0.5 + SCALE_BYTES / 128 if "int4" in str(said.raw()).lower() else 1.0, 7.5)


_METHODS: dict[str, Callable[[Fields, str], Quantization]] = {
    "fp8": _fp8,
    "fbgemm_fp8": _fbgemm,
    "awq": _awq,
    "awq_marlin": _awq,
    "gptq": _gptq,
    "gptq_marlin": _gptq,
    "auto-round": _gptq,
    "mxfp4": _mxfp4,
    "nvfp4": _nvfp4,
    "modelopt": _modelopt,
    "modelopt_fp4": _modelopt,
    "fp8_pb_wo": _fp8,
    "bitsandbytes": _bitsandbytes,
    "compressed-tensors": _compressed_tensors,
    "quark": _quark,
    "torchao": _torchao,
}


class Kept:
    """Whether a layer is left as it was, by the checkpoint's own list of patterns."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._expressions = [found for pattern in patterns if pattern.startswith("re:") and (found := _expression(pattern[3:]))]
        plain = [pattern.strip("*.") for pattern in patterns if not pattern.startswith("re:")]
        self._names = frozenset(name for name in plain if re.search(r"\d", name))
        self._parts = tuple(name for name in plain if name and name not in self._names)

    @property
    def by_layer(self) -> bool:
        """Whether it names single layers, so that not all layers of one kind are alike."""
        return bool(self._names or self._expressions)

    def __call__(self, name: str) -> bool:
        words = name.split(".")
        if any(".".join(words[:length]) in self._names for length in range(2, len(words) + 1)):
            return True
        return any(part in name for part in self._parts) or any(expression.match(name) for expression in self._expressions)


def _expression(text: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text)
    except re.error:
        return None


def bytes_of_dtype(name: Any) -> float:
    """Bytes of one element of a torch data type, by its name; 2 where nobody knows it."""
    return _DTYPES.get(str(name).removeprefix("torch.").lower(), 2.0)


_DTYPES = {"float32": 4.0, "float": 4.0, "f32": 4.0, "float16": 2.0, "half": 2.0, "bfloat16": 2.0, "float8_e4m3fn": 1.0, "float64": 8.0}
