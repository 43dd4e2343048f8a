"""
The `model` of a JSON body, and where in its bytes it stands, without parsing the rest.

Values before it are stepped over by regular expressions, so that the usual body, a few long strings, costs nanoseconds a byte. What is after it is
the engine's business: it reads the same bytes and refuses them if they are no JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

MAX_TOKENS = 200_000
"""Strings and brackets in one value that are stepped over before `model`: some 50 ms."""
MAX_FIELDS = 1000
"""Fields of the object before `model`; OpenAI's API has some forty."""
_PLAIN = rb"[^\"\\\x00-\x1f]*+"
_QUOTED = rb'"' + _PLAIN + rb"(?:\\." + _PLAIN + rb')*+"'
_STRING = re.compile(_QUOTED, re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]++")
_STRUCTURE = re.compile(rb'[^"\[\]{}]*+(?:(' + _QUOTED + rb")|([\[{])|([\]}]))", re.DOTALL)
NOT_AN_OBJECT = "The body is not a JSON object."
NO_MODEL = "The body has no model: name the endpoint's id or a name of the catalogue in the field model."
NO_STRING = "The field model is not a string."
TOO_MANY = "Too much stands before the field model: put it first in the body."


class BadBody(Exception):
    """One sentence: why no model can be read."""


@dataclass(frozen=True, slots=True)
class Model:
    """The model's name, and the bytes of its JSON literal, quotes included."""

    name: str
    offset: int
    length: int


def model_of(body: bytes) -> Model:
    """
    The field `model` of a JSON object.

    Raises:
        BadBody: It is no object as far as it was read, or has no such string.
    """
    at = _after_space(body, 0)
    if body[at : at + 1] != b"{":
        raise BadBody(NOT_AN_OBJECT)
    at = _after_space(body, at + 1)
    for _ in range(MAX_FIELDS):
        if body[at : at + 1] != b'"':
            break
        key, at = _key(body, at)
        if key == "model":
            return _model_at(body, at)
        at = _after_space(body, _after_value(body, at))
        if body[at : at + 1] != b",":
            break
        at = _after_space(body, at + 1)
    else:
        raise BadBody(TOO_MANY)
    raise BadBody(NO_MODEL if body[at : at + 1] == b"}" else NOT_AN_OBJECT)


def _key(body: bytes, at: int) -> tuple[str, int]:
    """The name of a field, and where its value begins."""
    literal, at = _string(body, at)
    at = _after_space(body, at)
    if body[at : at + 1] != b":":
        raise BadBody(NOT_AN_OBJECT)
    return _text(literal), _after_space(body, at + 1)


def _model_at(body: bytes, at: int) -> Model:
    if body[at : at + 1] != b'"':
        raise BadBody(NO_STRING)
    literal, _ = _string(body, at)
    return Model(_text(literal), at, len(literal))


def _after_space(body: bytes, at: int) -> int:
    found = _SPACE.match(body, at)
    return found.end() if found else at


def _string(body: bytes, at: int) -> tuple[bytes, int]:
    """The literal of a string, quotes included, and where it ends."""
    found = _STRING.match(body, at)
    if not found:
        raise BadBody(NOT_AN_OBJECT)
    return found.group(), found.end()


def _text(literal: bytes) -> str:
    """What a literal says."""
    try:
        return str(orjson.loads(literal))
    except ValueError:
        raise BadBody(NOT_AN_OBJECT) from None


def _after_value(body: bytes, at: int) -> int:
    """Where the value that begins here ends."""
    first = body[at : at + 1]
    if first in (b"{", b"["):
        return _after_nested(body, at)
    found = (_STRING if first == b'"' else _SCALAR).match(body, at)
    if not found:
        raise BadBody(NOT_AN_OBJECT)
    return found.end()


def _after_nested(body: bytes, at: int) -> int:
    depth = 0
    for _ in range(MAX_TOKENS):
        found = _STRUCTURE.match(body, at)
        if not found:
            raise BadBody(NOT_AN_OBJECT)
        at = found.end()
        depth += {2: 1, 3: -1}.get(found.lastindex or 0, 0)
        if depth == 0:
            return at
    raise BadBody(TOO_MANY)
