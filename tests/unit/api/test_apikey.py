"""Keys: their form, their checksum, and what is kept of them."""

from __future__ import annotations

import re

import pytest

from dedicated.api import apikey
from dedicated.api.apikey import ApiKeySpec

SECRET = apikey.secret_from(bytes(range(40)))


def test_a_secret_is_a_mark_forty_characters_and_a_checksum():
    assert re.fullmatch(r"dk-[0-9A-Za-z]{40}[0-9A-Za-z]{6}", SECRET)
    assert apikey.well_formed(SECRET)


def test_other_random_bytes_give_another_secret_and_few_are_refused():
    assert apikey.secret_from(bytes(40)) != SECRET
    with pytest.raises(ValueError, match="32 random bytes"):
        apikey.secret_from(bytes(31))


@pytest.mark.parametrize(
    "wrong",
    ["", "dk-", SECRET[:-1], SECRET + "0", SECRET.replace("dk-", "sk-"), SECRET[:10] + ("a" if SECRET[10] != "a" else "b") + SECRET[11:], "é" * 49],
    ids=["empty", "only the mark", "cut", "too long", "another's mark", "one character mistyped", "not ASCII"],
)
def test_what_cannot_be_a_key_is_known_without_a_look_up(wrong):
    assert not apikey.well_formed(wrong)


def test_the_object_holds_the_hash_and_never_the_secret():
    found = apikey.manifest(SECRET, "alice", "dedicated-system", "2030-01-01T00:00:00Z")
    assert SECRET not in str(found)
    spec = ApiKeySpec.model_validate(found["spec"])
    assert (spec.owner, spec.sha256, spec.prefix) == ("alice", apikey.hash_of(SECRET), SECRET[:8])
    assert found["metadata"] == {"name": f"k-{spec.sha256[:40]}", "namespace": "dedicated-system"}
