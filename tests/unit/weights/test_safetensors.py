"""Safetensors headers: exact bytes of each tensor, and nothing taken on trust."""

from __future__ import annotations

import json
import struct

import pytest

from dedicated.weights.safetensors import header_length, parse
from tests.support.hub import TENSORS, safetensors


def test_the_header_tells_every_tensor_and_its_bytes():
    raw = safetensors(TENSORS)
    header = parse(raw[8 : 8 + header_length(raw)])
    assert {tensor.name: (tensor.dtype, tensor.shape, tensor.size) for tensor in header.tensors} == {
        "embed": ("BF16", (1000, 64), 128_000),
        "layers.0.w": ("F8_E4M3", (64, 64), 4096),
        "layers.0.s": ("F32", (2,), 8),
    }
    assert (header.weight_bytes, dict(header.elements_by_dtype)) == (132_104, {"BF16": 64_000, "F8_E4M3": 4096, "F32": 2})
    assert header.metadata["format"] == "pt"


@pytest.mark.parametrize("beginning", [b"", b"1234567", struct.pack("<Q", 0), struct.pack("<Q", 25_000_001), b"<!DOCTYPE html>"])
def test_a_length_that_cannot_be_is_refused(beginning):
    with pytest.raises(ValueError, match="bytes"):
        header_length(beginning)


def test_the_longest_header_that_can_be_is_taken():
    assert header_length(struct.pack("<Q", 25_000_000)) == 25_000_000


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [1]}}',
        json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4.5]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}).encode(),
        b'{"__metadata__": 5}',
    ],
    ids=[
        "nothing",
        "bytes",
        "a list",
        "null",
        "braces",
        "depth",
        "a number",
        "no offsets",
        "an end before the begin",
        "half a byte",
        "a shape of words",
        "metadata",
    ],
)
def test_what_is_no_header_is_refused(raw):
    with pytest.raises(ValueError):
        parse(raw)
