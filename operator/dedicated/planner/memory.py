"""
Where a device's memory goes, by engine.

Theory of operation: an engine takes a share of what it sees (the budget). From it come the weights, what one step computes with (activations), what
the driver and the communication library hold (overhead), and the rest is for keys and values. A model fits when the rest holds one request of full
length. CUDA graphs take between -0.9 and +1.3 GiB in the published logs, which the bands in `size` cover.
"""

from __future__ import annotations

from dataclasses import dataclass

from dedicated.api.endpoint import EngineKind
from dedicated.core.quantities import GIB, MIB
from dedicated.planner.accelerators import Accelerator
from dedicated.planner.kv import value_bytes
from dedicated.planner.model_facts import ModelFacts
from dedicated.planner.request import Batch, PlanRequest

VLLM_SHARE = 0.92
"""vLLM's default --gpu-memory-utilization (0.33 config/cache.py:215)."""
SAMPLER_BYTES = 38.5
"""
Bytes per sequence and vocabulary entry at the peak of vLLM's profile run, which ends in a sampler pass over all sequences. Read from the published
logs of eight models (llm-d-planner docs/empirical-vllm-memory-results.md: 38.4 to 39.8). vLLM 0.25 and later should need less.
"""
WORKSPACE_BYTES = 29.0
"""Bytes per batched token and unit of width in feed-forward blocks of 3.5 times the width, by the shapes of gate, up and down in 16 bit."""
ALONE_BYTES = int(0.15 * GIB)
"""What the CUDA context holds beside tensors, for one device (llm-d-planner, the same table: 0.13 to 0.14 GiB). (bytes)"""
JOINED_BYTES = int(0.6 * GIB)
"""The same with NCCL, per device (0.54 to 0.55 GiB there; 0.34 to 0.43 in vllm#16570). (bytes)"""
SGLANG_BASE_MIB, SGLANG_MIB_PER_TOKEN, SGLANG_MIB_PER_8, SGLANG_LEAST_MIB = 512, 1.5, 1024, 10 * 1024
SGLANG_MIB_PER_SEQUENCE, SGLANG_PREFILL_GRAPHS_MIB, SGLANG_MLA_GRAPHS_MIB = 2, 64 * 8, 1536
SGLANG_VISION_SHARE = 0.95
"""SGLang 0.5.23 srt/arg_groups/memory_hook.py, handle_gpu_memory_settings, reserve_for_graph_mb; 64 prefill graphs reach 8192 tokens."""
LLAMACPP_SPARE_BYTES = GIB
"""What llama.cpp leaves free on each device (`--fit-target`, 1024 MiB by default, common/arg.cpp). (bytes)"""
LLAMACPP_LOGITS_BYTES = 4.0 * 2
"""Logits and their copy in fp32, per token of a step and vocabulary entry (llama-graph.cpp)."""
HOST_FACTOR, HOST_BYTES = 1.1, GIB
"""On CPU: weights and a tenth, and the program itself; the same rule sizes the pod's memory."""


@dataclass(frozen=True)
class Memory:
    """Of one device, in bytes. `headroom_bytes` is what is left, below zero where it does not fit."""

    budget_bytes: int
    weight_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    overhead_bytes: int

    @property
    def headroom_bytes(self) -> int:
        """What is left beside one request of full length."""
        return self.budget_bytes - self.weight_bytes - self.kv_cache_bytes - self.activation_bytes - self.overhead_bytes

    @property
    def needed_bytes(self) -> int:
        """All but what is left."""
        return self.budget_bytes - self.headroom_bytes

    def to_dict(self) -> dict[str, int]:
        """As a plan shows it."""
        return {
            "budgetBytes": self.budget_bytes,
            "weightBytes": self.weight_bytes,
            "kvCacheBytes": self.kv_cache_bytes,
            "activationBytes": self.activation_bytes,
            "overheadBytes": self.overhead_bytes,
            "headroomBytes": self.headroom_bytes,
        }


@dataclass(frozen=True)
class Layout:
    """How a replica is spread: ranks that split every layer, stages that split the layers, machines."""

    tp: int = 1
    pp: int = 1
    nodes: int = 1

    @property
    def count(self) -> int:
        """Devices."""
        return self.tp * self.pp


def memory_of(facts: ModelFacts, accelerator: Accelerator, layout: Layout, request: PlanRequest, batch: Batch, tokens: int) -> Memory:
    """The fullest device of a replica that serves requests of so many tokens."""
    weights = weight_bytes(facts, layout)
    kv = request_kv_bytes(facts, request, layout, batch, tokens)
    if request.engine is EngineKind.LLAMACPP:
        return _llamacpp(facts, accelerator, request, batch, weights, kv * batch.max_num_seqs)
    if request.engine is EngineKind.SGLANG:
        return _sglang(facts, accelerator, request, batch, layout, weights, kv)
    share = request.memory_share or VLLM_SHARE
    activation = activation_bytes(facts, batch, layout)
    return Memory(int(accelerator.visible_bytes * share), int(weights), int(kv), int(activation), _overhead(layout))


def weight_bytes(facts: ModelFacts, layout: Layout) -> float:
    """Weights on the fullest device: of a pipeline, the stage with the most layers and one end's embeddings."""
    if layout.pp == 1:
        return facts.loaded_bytes / layout.tp
    inner = max(facts.loaded_bytes - 2 * facts.embedding_bytes, 0.0)
    layers = max(facts.layers, 1)
    return (inner * -(-layers // layout.pp) / layers + facts.embedding_bytes) / layout.tp


def request_kv_bytes(facts: ModelFacts, request: PlanRequest, layout: Layout, batch: Batch, tokens: int) -> float:
    """What one request of so many tokens keeps on a device."""
    width = value_bytes(request.kv_cache_dtype)
    if facts.kv_per_token:
        return facts.kv_per_token * tokens * width / value_bytes("auto") / layout.pp
    kept = (group.request_bytes(tokens, in_flight=batch.batched_tokens, tp=layout.tp, pp=layout.pp, value_bytes=width) for group in facts.kv)
    return sum(kept)


def activation_bytes(facts: ModelFacts, batch: Batch, layout: Layout) -> float:
    """The largest of what a step takes one after the other: the sampler, feed-forward blocks, the encoder of pictures."""
    sampler = 0.0 if facts.embeds else batch.max_num_seqs * facts.vocab * SAMPLER_BYTES
    workspace = batch.batched_tokens * facts.hidden * WORKSPACE_BYTES / layout.tp
    pictures = facts.tower.activation_bytes(batch.batched_tokens, batch.max_num_seqs) if facts.tower else 0.0
    return max(sampler, workspace, pictures)


def _overhead(layout: Layout) -> int:
    return ALONE_BYTES if layout.count == 1 else JOINED_BYTES


def _sglang(facts: ModelFacts, accelerator: Accelerator, request: PlanRequest, batch: Batch, layout: Layout, weights: float, kv: float) -> Memory:
    """SGLang keeps a share for weights and cache, and leaves the rest to activations and graphs."""
    visible = accelerator.visible_bytes
    static = request.memory_share or sglang_share(facts, accelerator, batch, layout)
    return Memory(visible, int(weights), int(kv), int(visible * (1 - static)), _overhead(layout))


def sglang_share(facts: ModelFacts, accelerator: Accelerator, batch: Batch, layout: Layout) -> float:
    """SGLang's default --mem-fraction-static."""
    total_mib = accelerator.memory_bytes / MIB
    latent = any(not group.heads and not group.state_bytes for group in facts.kv)
    graphs = batch.max_num_seqs * SGLANG_MIB_PER_SEQUENCE + (SGLANG_MLA_GRAPHS_MIB if latent else SGLANG_PREFILL_GRAPHS_MIB)
    reserved = SGLANG_BASE_MIB + max(batch.batched_tokens, 2048) * SGLANG_MIB_PER_TOKEN + layout.count / 8 * SGLANG_MIB_PER_8 + graphs
    if total_mib > 60 * 1024:
        reserved = max(reserved, SGLANG_LEAST_MIB)
    share = (total_mib - reserved) / total_mib
    return max(share * (SGLANG_VISION_SHARE if facts.tower else 1.0), 0.05)


def _llamacpp(facts: ModelFacts, accelerator: Accelerator, request: PlanRequest, batch: Batch, weights: float, kv: float) -> Memory:
    """llama.cpp holds the cache of all slots from the start, and computes in small steps."""
    budget = accelerator.visible_bytes * (request.memory_share or 1.0)
    activation = batch.batched_tokens * (facts.vocab * LLAMACPP_LOGITS_BYTES + facts.hidden * WORKSPACE_BYTES)
    return Memory(int(budget), int(weights), int(kv), int(activation), LLAMACPP_SPARE_BYTES)


def host_memory(facts: ModelFacts, request: PlanRequest, batch: Batch, tokens: int) -> Memory:
    """A replica without accelerator: all of it in host memory."""
    kv = request_kv_bytes(facts, request, Layout(), batch, tokens) * batch.max_num_seqs
    activation = batch.batched_tokens * (facts.vocab * LLAMACPP_LOGITS_BYTES + facts.hidden * WORKSPACE_BYTES)
    overhead = int(facts.loaded_bytes * (HOST_FACTOR - 1)) + HOST_BYTES
    needed = int(facts.loaded_bytes) + int(kv) + int(activation) + overhead
    return Memory(request.host_memory_bytes or needed, int(facts.loaded_bytes), int(kv), int(activation), overhead)
