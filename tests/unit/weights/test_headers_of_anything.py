"""Whatever a file holds, its header is read or refused with a ValueError: files come from strangers."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from dedicated.weights import gguf, safetensors
from tests.support.gguf import a_gguf

WHOLE = a_gguf(vocabulary=5)


@given(st.binary(max_size=300))
def test_a_gguf_file_of_anything(data):
    with contextlib.suppress(ValueError):
        gguf.parse(struct.pack("<4sIQQ", b"GGUF", 3, 1, 5) + data)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_gguf_file_with_some_bytes_wrong(changes):
    damaged = bytearray(WHOLE)
    for place, value in changes:
        damaged[place] = value
    with contextlib.suppress(ValueError):
        gguf.parse(bytes(damaged))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.binary(max_size=100) | JSON.map(lambda value: repr(value).replace("'", '"').encode()))
def test_a_safetensors_header_of_anything(raw):
    with contextlib.suppress(ValueError):
        safetensors.parse(raw)
