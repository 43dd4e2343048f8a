"""GGUF files as llama.cpp writes them, but for the tensors."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
_FORMATS = {U32: "I", F32: "f", BOOL: "?", U64: "Q"}


def text(words: str, order: str = "<") -> bytes:
    """A length and the text."""
    raw = words.encode()
    return struct.pack(order + "Q", len(raw)) + raw


def scalar(key: str, kind: int, value: object, order: str = "<") -> bytes:
    """A key with one value."""
    written = text(str(value), order) if kind == STRING else struct.pack(order + _FORMATS[kind], value)
    return text(key, order) + struct.pack(order + "I", kind) + written


def array(key: str, kind: int, values: Sequence[object], order: str = "<") -> bytes:
    """A key with an array."""
    written = b"".join(text(str(value), order) if kind == STRING else struct.pack(order + _FORMATS[kind], value) for value in values)
    return text(key, order) + struct.pack(order + "IIQ", ARRAY, kind, len(values)) + written


LLAMA: Mapping[str, int] = {
    "block_count": 32,
    "context_length": 131072,
    "embedding_length": 4096,
    "attention.head_count": 32,
    "attention.head_count_kv": 8,
}


def a_gguf(
    values: Mapping[str, int] = LLAMA,
    *,
    vocabulary: int = 100,
    file_type_last: bool = False,
    version: int = 3,
    order: str = "<",
    more: Sequence[bytes] = (),
) -> bytes:
    """The beginning of a Llama of 8 B. (file_type_last: as llama-quantize leaves it, behind the vocabulary)"""
    file_type = scalar("general.file_type", U32, 15, order)
    entries = [scalar("general.architecture", STRING, "llama", order), *([] if file_type_last else [file_type])]
    entries += [scalar(f"llama.{key}", U32, value, order) for key, value in values.items()]
    entries += [scalar("llama.rope.freq_base", F32, 500000.0, order), scalar("tokenizer.ggml.add_bos_token", BOOL, True, order), *more]
    entries += [array("tokenizer.ggml.tokens", STRING, [f"token{number}" for number in range(vocabulary)], order)]
    entries += [array("tokenizer.ggml.token_type", U32, [1] * vocabulary, order), *([file_type] if file_type_last else [])]
    return b"GGUF" + struct.pack(order + "IQQ", version, 291, len(entries)) + b"".join(entries)
