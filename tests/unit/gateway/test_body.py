"""The model in a body: where it stands, and what is refused."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedicated.gateway import body as bodies
from dedicated.gateway.body import BadBody, Model, model_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_values, max_size=5), st.text(), st.integers(0, 5), st.booleans(), st.sampled_from([None, 2]))
def test_the_model_is_found_in_any_object_and_its_bytes_are_its_literal(fields, name, place, ascii_only, indent):
    fields.pop("model", None)
    pairs = list(fields.items())
    pairs.insert(min(place, len(pairs)), ("model", name))
    text = json.dumps(dict(pairs), ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    try:
        found = model_of(text)
    except BadBody:  # a lone surrogate is no text
        assert b"\\ud" in text or not text.isascii()
        return
    assert found.name == name
    assert json.loads(text[found.offset : found.offset + found.length]) == name


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"model":"a"}', Model("a", 9, 3)),
        (b' {"x": {"model": "inner"}, "model" : "a"}', Model("a", 37, 3)),
        (b'{"x": "\\"model\\": 1", "model": "a"}', Model("a", 31, 3)),
        (b'{"mod\\u0065l": "a"}', Model("a", 15, 3)),
        (b'{"model": "a", then anything', Model("a", 10, 3)),
        (b'{"x": [[{"a": "]"}], -1.5e3], "model": "\\u00fc"}', Model("ü", 39, 8)),
    ],
    ids=["plain", "an inner one before it", "one in a string", "an escaped key", "what follows is not read", "nested, and escaped"],
)
def test_where_it_stands(body, found):
    assert model_of(body) == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"model"',
        b"{",
        b'{"a"',
        b'{"a" 1',
        b'{"a": }',
        b'{"a": [1, ',
        b'{"a": "\n"',
        b"{model: 1}",
        b'{"a": 1 "model": "x"}',
        b"\xff",
    ],
)
def test_what_is_no_object_is_refused(body):
    with pytest.raises(BadBody, match="not a JSON object"):
        model_of(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"{}", "has no model"), (b'{"a": 1}', "has no model"), (b'{"model": null}', "not a string"), (b'{"model": {}}', "not a string")],
)
def test_an_object_without_a_model_is_refused(body, says):
    with pytest.raises(BadBody, match=says):
        model_of(body)


BIG = 8 << 20


@pytest.mark.parametrize(
    ("body", "limit_s"),
    [
        (b'{"messages": [{"content": "' + b"x" * BIG + b'"}], "model": "a"}', 0.5),
        (b'{"prompt": [' + b"1, " * (BIG // 3) + b'1], "model": "a"}', 0.5),
        (b'{"x": ' + b"[" * BIG, 1.0),
        (b'{"x": [' + b"[]," * (BIG // 3), 1.0),
        (b'{"x": "' + b"\\" * BIG, 1.0),
        (b'{"x": ' + b'{"a":' * (BIG // 5), 1.0),
        (b"{" + b'"a":1,' * (BIG // 6), 0.5),
        (b" " * BIG, 0.5),
    ],
    ids=["one long string", "a list of tokens", "deep", "many brackets", "backslashes", "nested objects", "many fields", "spaces"],
)
def test_no_body_takes_long(body, limit_s):
    began = time.process_time()
    with contextlib.suppress(BadBody):
        model_of(body)
    assert time.process_time() - began < limit_s


def test_too_much_before_the_model_says_what_to_do():
    with pytest.raises(BadBody, match="put it first"):
        model_of(b'{"x": [' + b'"",' * (bodies.MAX_TOKENS + 1) + b'""], "model": "a"}')
