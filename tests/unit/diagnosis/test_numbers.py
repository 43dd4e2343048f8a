"""The numbers that an engine prints become a message with numbers and a next step that can be carried out."""

# ruff: noqa: E501 - a line of a log stays one line.
from __future__ import annotations

import pytest

from dedicated.diagnosis.classify import read
from dedicated.diagnosis.explain import explain
from dedicated.diagnosis.numbers import bytes_of, held_by_others
from dedicated.diagnosis.words import MAX_SENTENCE, first_sentence

ROWS = [
    (
        "the printed length that would fit",
        "ValueError: To serve at least one request with the model's max seq len (262144), (18.35 GiB KV cache is needed, which is larger than the available KV "
        "cache memory (9.12 GiB). Based on the available memory, the estimated maximum model length is 130192. Try increasing `gpu_memory_utilization`",
        "One request of 262144 tokens needs 18.35 GiB of KV cache and 9.12 GiB are left beside the weights; 130192 tokens would fit.",
        "Set spec.engine.maxModelLen to 130192 or less",
    ),
    (
        "an older vLLM's words for the same",
        "ValueError: The model's max seq len (4096) is larger than the maximum number of tokens that can be stored in KV cache (2432). Try",
        "The KV cache holds 2432 tokens and one request may have 4096.",
        "Set spec.engine.maxModelLen to 2432 or less",
    ),
    (
        "a length above the model's limit",
        "ValueError: User-specified max_model_len (16384) is greater than the derived max_model_len (max_position_embeddings=8192 or model_max_length=None)",
        "16384 tokens were asked for and the model's limit is 8192.",
        "Set spec.engine.maxModelLen to 8192 or less.",
    ),
    (
        "heads that cannot be shared",
        "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8).",
        "The model has 28 attention heads, which 8 GPUs cannot share equally.",
        "Set spec.hardware.count to a divisor of 28.",
    ),
    (
        "more GPUs than there are",
        "Value error, World size (4) is larger than the number of available GPUs (1) in this node.",
        "4 GPUs are wanted and the container has 1.",
        "Set spec.hardware.count to 1",
    ),
    (
        "a GPU that others use",
        "ValueError: Free memory on device (16.01/93.0 GiB) on startup is less than desired GPU memory utilization (0.8, 74.4 GiB).",
        "The engine wants 74.4 GiB of the GPU and only 16.01 of 93.0 GiB were free when it started.",
        "Free the GPU of other processes",
    ),
    (
        "torch's words of today",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.56 GiB of which 1.10 GiB is free.",
        "2.00 GiB more were wanted and 1.10 GiB of 23.56 GiB were free.",
        "Use an accelerator with more memory",
    ),
    (
        "torch's words of 2023",
        "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 23.69 GiB total capacity; 22.40 GiB already allocated; 18.12 MiB free; 22.41 GiB reserved",
        "20.00 MiB more were wanted and 18.12 MiB of 23.69 GiB were free.",
        "Use an accelerator with more memory",
    ),
    (
        "llama.cpp's words",
        "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 17408.00 MiB on device 0: cudaMalloc failed: out of memory",
        "17408.00 MiB more were wanted on GPU 0, and it was full.",
        "Use an accelerator with more memory",
    ),
    (
        "an old GPU",
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla T4 GPU has compute capability 7.5. You can",
        "bfloat16 needs compute capability 8.0 and the GPU has 7.5.",
        "Add --dtype=half to spec.engine.args",
    ),
]


@pytest.mark.parametrize(("log", "says", "next_step"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_the_numbers_of_a_log_are_told(log, says, next_step):
    words = explain(read(log).verdict)
    assert says in words.message and words.next_step.startswith(next_step)


def test_without_numbers_the_engine_is_quoted():
    words = explain(read("error: invalid argument: --no-such-flag").verdict)
    assert words.message == "The engine refuses one of its arguments. It said: error: invalid argument: --no-such-flag."
    assert words.evidence == ("error: invalid argument: --no-such-flag",)


@pytest.mark.parametrize(
    ("ours", "free", "held"),
    [("1.20", "16.00 MiB", True), ("11.00", "16.00 MiB", True), ("22.00", "16.00 MiB", False), ("1.20", "9.00 GiB", False)],
    ids=["others hold nearly all", "others hold half", "we hold nearly all", "there is room"],
)
def test_a_full_gpu_of_which_we_hold_little_is_held_by_others(ours, free, held):
    line = f"gpu 0 has a total capacity of 23.56 gib of which {free.lower()} is free. including non-pytorch memory, this process has {ours} gib memory in use"
    assert held_by_others(line) is held


def test_sizes_are_powers_of_two():
    assert bytes_of("1.5", "gib") == 1.5 * 2**30 == bytes_of("1536", "mb")


def test_somebody_elses_words_are_bounded_and_redacted_before_they_are_cut():
    said = first_sentence("x" * (MAX_SENTENCE - 20) + " hf_abcdefghijklmnopqrstuvwxyz")
    assert len(said) <= MAX_SENTENCE and "hf_a" not in said
