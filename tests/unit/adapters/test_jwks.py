"""Key sets: read when they change, and one sentence for each way in which they cannot be read."""

from __future__ import annotations

import pytest

from dedicated.adapters import jwks
from dedicated.adapters.jwks import KeySetSource, KeySetUnavailable


async def test_a_file_is_told_when_it_is_new(tmp_path):
    path = tmp_path / "jwks.json"
    path.write_text('{"keys": []}')
    source = KeySetSource(str(path))
    assert await source.fetch() == {"keys": []} and await source.fetch() is None
    path.write_text('{"keys": [1]}')
    assert await source.fetch() == {"keys": [1]}


@pytest.mark.parametrize(
    ("text", "says"), [(None, "cannot be read"), ("{", "is no JSON"), ("[]", "is no JSON object")], ids=["missing", "broken", "a list"]
)
async def test_a_file_that_is_no_key_set_is_a_sentence(tmp_path, text, says):
    path = tmp_path / "jwks.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(KeySetUnavailable, match=says):
        await KeySetSource(str(path)).fetch()


async def test_an_issuer_that_does_not_answer_is_a_sentence():
    with pytest.raises(KeySetUnavailable, match="cannot be fetched: ConnectError"):
        await KeySetSource("http://127.0.0.1:9/jwks").fetch()


def test_a_key_set_is_bounded():
    assert jwks.MAX_BYTES <= 1 << 20
