"""
Lines that fail nothing but tell where in its life an engine was: it starts, it makes progress, it serves, it is told to stop; and lines that quote.

Each is one regular expression on lower-case text. Sources are named as in `signatures`.
"""

# ruff: noqa: E501 - a pattern cut in two is harder to read than a long line.
from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache


class Stage(Enum):
    """Whether the GPU's memory was being filled with weights, or used."""

    LOADING = "loading"
    RUNNING = "running"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


BEGIN = _any(
    r"vllm api server version",  # vllm entrypoints/openai/api_server.py
    r"^non-default args: ",  # vllm entrypoints/utils.py
    r"server_args=serverargs\(",  # sglang entrypoints/engine.py
    r"^build(?:_info)?: \S+ \(\w+\) with ",  # llama.cpp common/common.cpp
    r"^args \{$",  # TGI launcher/src/main.rs
)
"""A server starts: everything before it belongs to an earlier run."""

STARTED = _any(
    r"application startup complete",  # uvicorn
    r"uvicorn running on ",  # uvicorn
    r"the server is fired up and ready to roll",  # sglang
    r"server is listening on",  # llama.cpp tools/server
    r"all slots are idle",  # llama.cpp tools/server
    r"^connected$",  # TGI router
)
"""It answers: what was complained about before did not matter."""

_REFUSALS = "|".join(
    (
        r"maximum context length is \d+ tokens",  # vllm, sglang
        r"(?:input|prompt|request)\b.{0,60}(?:exceeds|longer than) .{0,40}(?:context|maximum|max_)",  # vllm, sglang, llama.cpp
        r"input validation error: ",  # TGI
        r"the model `[^`]*` does not exist",  # vllm
        r"(?:badrequesterror|requestvalidationerror|vllmvalidationerror)\b",
        r"default chat template is no longer allowed",  # transformers, at the first chat
    )
)

SERVED = _any(
    r'"(?:get|post|put|delete|head|options) /(?!metrics)\S* http/[\d.]+" [24]\d\d',  # uvicorn's access log
    r"request: (?:get|post) /(?!metrics)\S* \S+ [24]\d\d\b",  # llama.cpp
    r"(?:prompt|generation) throughput: ",  # vllm
    r"(?:prefill|decode) batch[.,\[ ]",  # sglang
    r"(?:slot\s+(?:release|launch_slot_|print_timing)|srv\s+(?:log_server_r|update_slots: all slots))",  # llama.cpp
    r"^(?:generate|generate_stream|chat_completions|completions)\{.*success$",  # TGI
    _REFUSALS,
)
"""It works on requests, or refuses one for the caller's fault."""

ADAPTER_REFUSED = _any(r"no adapter found for", r"loraadapternotfound")  # vllm
"""The same of an engine that serves; while it starts, its own arguments name the adapter."""
REFUSED = re.compile(_REFUSALS)
"""A request that is refused is no failure of the engine, however grave its words."""

PROGRESS = _any(
    r"starting to load model ",
    r"loading safetensors checkpoint shards",
    r"(?:model loading|loading (?:model )?weights) took",
    r"available kv cache memory",
    r"gpu kv cache size",
    r"# gpu blocks: ",
    r"capturing (?:cuda )?graphs?",
    r"graph capturing finished",
    r"init engine .* took",
    r"load weight (?:begin|end)",
    r"kv cache is allocated",
    r"capture cuda graph (?:begin|end)",
    r"memory pool end",
    r"load_tensors: ",
    r"llama_kv_cache\w*: size = ",
    r"warming up (?:the )?model",
    r"started server process",
    r"init torch distributed ends",
    r"dynamo bytecode transform time|torch\.compile (?:took|takes)",
)
"""The process that writes this survived what it wrote before."""

STOPPING = _any(
    r"^shutting down(?: fastapi http server\.)?$",  # uvicorn, vllm entrypoints/launcher.py
    r"shutdown (?:initiated|triggered)|^\[shutdown\] ",  # vllm
    r"received (?:signal[ =](?:15|2|sigterm|sigint)\b|sigterm|sigint)",  # several
    r"sigterm (?:received|signal)|caught signal 15|signal handler called with signal 15",
    r"keyboardinterrupt",  # CPython
    r"gracefully (?:shutting down|exit)|graceful shutdown|shutting down gracefully",
)
"""It was told to stop."""

QUOTING = _any(
    r"received request \S+: prompt: ",  # vllm entrypoints/logger.py
    r"^(?:received|added|aborted|finished) request ",  # vllm
    r"prompt: ['\"]|['\"]prompt['\"]: |['\"]messages['\"]: |['\"]content['\"]: |input_text=|obj=generatereqinput\(",  # prompts in logs
    r"^(?:loc|input|params|chat_completions|generate\w*)\{",
)
"""Somebody else's words: a request that speaks of errors is no error."""

FALLBACK = _any(
    r"falling back",
    r"fall(?:s)? back to",
    r"will be ignored",
    r"is deprecated",
    r"retrying",
    r"\bretry \d+/\d+",
    r"will retry",
    r"destroy_process_group",
    r"process group has not been destroyed",
    r"failed to load generation config|named (?:generation_config|chat_template|preprocessor_config|processor_config|video_preprocessor_config)\.",
    r"could not cache non-existence",
)
"""What was tried did not work, and something else was done: no row is believed here."""

HARMLESS = _any(
    r"^try(?:ing)? ",
    r"you can (?:set|use|try|increase|decrease|reduce|avoid)",
    r"if reserved but unallocated memory is large",
    r"to avoid (?:fragmentation|out of memory|oom)",
    r"(?:may|might|could|can|would) (?:cause|lead to|result in|run into|trigger|be|hit) .{0,60}(?:out[ -]of[ -]memory|oom|error|fail)",
    r"(?:prevent|avoid|in case of|reduce the (?:risk|chance) of|if you (?:see|get|encounter|run into|hit|have)) .{0,60}(?:out[ -]of[ -]memory|oom|error|fail)",
    r"(?:^|[:,.] )(?:consider|please consider|tip|hint|note|info)[ :]",
    r"for more information|see https?://|check https?://",
    r"debugging consider passing",
    r"^(?:usage: |\s*\[--?\w)",
)
"""Advice: it speaks of failures that did not happen, or that another line tells better. A row that names its cause is believed all the same."""

IGNORED_EXCEPTION = _any(r"^exception ignored in", r"^exception in thread .*(?:monitor|usage)", r"task exception was never retrieved")
"""What follows in this process was thrown while it was already going."""

_LOADING = _any(
    r"\bin (?:\w*load_(?:model|weights?)\w*|create_weights|initialize_model|_initialize_model|_?get_model|process_weights\w*|weight_loader|from_pretrained|make_layers|init_device|_apply|get_model_and_tokenizer|serve_inner)$",
    r"model_loader/|weight_utils\.py|/modeling_utils\.py",
    r"starting to load model|loading safetensors checkpoint|load weight begin|loading (?:model )?weights from|loading model",
    r"load_tensors|llama_model_load|error loading model",
    r"shard \d+ failed to start|method (?:'|\")?load_model",
    r"from_pretrained",
)
_RUNNING = _any(
    r"\bin (?:\w*profile_run|_?dummy_\w*run|determine_\w+|\w*capture\w*|\w*warm_?up\w*|\w*initialize_kv\w*|_?initialize_cache\w*|_?allocate_\w*|init_memory_pool|init_cuda_graphs"
    r"|execute_model|forward\w*|sample\w*|_?run_engine_(?:core|loop)_busy|event_loop\w*|run_batch|prefill|decode|generate\w*|generate_and_run\w*|wake_up)$",
    r"torch/_inductor|torch/_dynamo|cuda_?graph_?runner|/sampler\.py|logits_processor",
    r"(?:model loading|loading (?:model )?weights) took|memory profiling|available kv cache|gpu kv cache size|load weight end|memory pool end|kv cache is allocated",
    r"capturing|capture cuda graph|torch\.compile takes|warm(?:ing)?[ -]?up|llama_(?:kv_cache|context|new_context)|graph_reserve|sched_reserve|ggml_cuda_\w+",
    r"method (?:'|\")?(?:warmup|prefill|decode|determine_\w+|execute_model|initialize_cache)",
    r"application startup complete|throughput: |running: \d+ reqs|(?:prefill|decode) batch|fired up and ready",
)


@lru_cache(maxsize=4096)
def stage(text: str) -> Stage | None:
    """What a line tells about where memory was being used."""
    if _RUNNING.search(text):
        return Stage.RUNNING
    return Stage.LOADING if _LOADING.search(text) else None
