"""GGUF headers: what model it is, from the beginning of the file, whatever the file claims."""

from __future__ import annotations

import struct

import pytest

from dedicated.weights.gguf import parse
from tests.support.gguf import LLAMA, STRING, U32, a_gguf, array, scalar, text


@pytest.mark.parametrize(("version", "order"), [(2, "<"), (3, "<"), (3, ">")], ids=["version 2", "version 3", "version 3, big-endian"])
def test_a_header_says_what_memory_is_computed_from(version, order):
    found = parse(a_gguf(version=version, order=order))
    assert (found.version, found.tensors, found.architecture, found.file_type, found.complete) == (version, 291, "llama", 15, True)
    assert (found.block_count, found.context_length, found.embedding_length) == (32, 131072, 4096)
    assert (found.head_count, found.head_count_kv, found.vocab_size) == (32, 8, 100)
    assert found.values["llama.rope.freq_base"] == 500000.0 and found.values["tokenizer.ggml.add_bos_token"] is True


def test_the_file_type_may_stand_behind_the_vocabulary():
    assert parse(a_gguf(file_type_last=True)).file_type == 15


def test_of_the_beginning_of_a_file_what_it_holds_is_told_and_that_it_is_not_all():
    whole = a_gguf(vocabulary=1000, file_type_last=True)
    found = parse(whole[:2000])
    assert (found.block_count, found.vocab_size, found.file_type, found.complete, found.sizes_it) == (32, 1000, None, False, True)


def test_every_beginning_of_a_file_is_told_or_refused_and_never_a_crash():
    whole = a_gguf(vocabulary=3)
    for end in range(len(whole)):
        try:
            assert parse(whole[:end]).complete is False
        except ValueError:
            assert end < 24  # magic, version and counts
    assert parse(whole).complete


def test_a_vocabulary_size_of_the_models_own_goes_before_the_length_of_the_tokens():
    assert parse(a_gguf({**LLAMA, "vocab_size": 128256})).vocab_size == 128256


def test_heads_may_differ_by_layer():
    per_layer = array("llama.attention.head_count_kv", U32, [8, 4, 0])
    values = {key: value for key, value in LLAMA.items() if key != "attention.head_count_kv"}
    assert parse(a_gguf(values, more=[per_layer])).head_count_kv == (8, 4, 0)


def test_without_key_value_heads_there_are_as_many_as_attention_heads():
    assert parse(a_gguf({"attention.head_count": 12})).head_count_kv == 12


def test_the_vocabulary_itself_is_not_kept():
    found = parse(a_gguf(vocabulary=5000))
    assert "tokenizer.ggml.tokens" not in found.values and "tokenizer.ggml.token_type" not in found.values
    assert found.lengths["tokenizer.ggml.token_type"] == 5000


def begin(keys, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, 1, keys)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "too few"),
        (b"GGML" + bytes(100), "no GGUF"),
        (b"<!DOCTYPE html>" * 10, "no GGUF"),
        (begin(1, version=1) + bytes(100), "version 1"),
        (begin(1, version=9) + bytes(100), "version 9"),
        (begin(2**60), "claims 1152921504606846976 keys"),
        (begin(1) + struct.pack("<Q", 2**62), "a text of"),
        (begin(1) + text("key") + struct.pack("<I", 77), "type 77"),
        (begin(1) + text("key") + struct.pack("<IIQ", 9, 9, 1), "type 9"),
    ],
    ids=[
        "nothing",
        "its forerunner",
        "HTML",
        "version 1",
        "a version to come",
        "too many keys",
        "a text without end",
        "an unknown type",
        "a nested array",
    ],
)
def test_what_is_no_header_is_refused_with_the_cause(data, says):
    with pytest.raises(ValueError, match=says):
        parse(data)


@pytest.mark.parametrize("kind", [STRING, U32])
def test_an_array_that_claims_more_than_there_is_costs_nothing(kind):
    found = parse(begin(1) + text("key") + struct.pack("<IIQ", 9, kind, 2**60) + bytes(1000))
    assert (found.complete, found.lengths["key"]) == (False, 2**60)


def test_a_text_that_is_no_utf8_is_still_read():
    raw = scalar("general.name", STRING, "x").replace(b"x", b"\xff")
    assert parse(begin(1) + raw).values["general.name"] == "\N{REPLACEMENT CHARACTER}"
