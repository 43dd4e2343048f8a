"""A recorded log fits its object, whatever the engine wrote, and what is kept are its last lines."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dedicated.api.endpointlog import MAX_TEXT, MAX_UNPACKED, Moment, object_name, packed, unpacked


@given(st.text(max_size=3000), st.integers(min_value=200, max_value=2000))
def test_what_is_packed_is_the_end_of_the_text_and_within_its_limit(text, limit):
    made = packed(text, limit)
    assert len(made) <= limit
    kept = unpacked(made)
    assert text.encode(errors="replace").decode().endswith(kept)


@settings(max_examples=5, deadline=None)
@given(st.integers(min_value=0, max_value=2**32))
def test_a_log_that_cannot_be_compressed_still_fits(seed):
    dice = random.Random(seed)
    noise = "\n".join(dice.randbytes(40).hex() for _ in range(4000))
    assert len(packed(noise)) <= MAX_TEXT
    kept = unpacked(packed(noise)).splitlines()
    assert len(kept) > 100 and all(len(line) == 80 for line in kept) and noise.endswith("\n".join(kept))


def test_a_log_of_an_hour_is_kept_in_a_few_kilobytes():
    log = "\n".join(f"INFO 03-01 10:{at // 60 % 60:02d}:{at % 60:02d} [core.py:{at}] loading shard {at} of 2000" for at in range(2000))
    assert unpacked(packed(log)).splitlines()[-1] == log.splitlines()[-1]
    assert len(unpacked(packed(log))) > 60_000


def test_the_same_log_is_packed_alike_at_any_time():
    assert packed("a\nb") == packed("a\nb")


@pytest.mark.parametrize("broken", ["***", "aGVsbG8=", "H4sIAAAA"], ids=["no base64", "no gzip", "half of it"])
def test_what_cannot_be_unpacked_says_so_or_is_what_there_is(broken):
    try:
        assert unpacked(broken) == ""
    except ValueError as wrong:
        assert str(wrong)


def test_a_bomb_is_not_unpacked_whole():
    assert len(unpacked(packed("a" * (MAX_UNPACKED * 2), 10**9))) <= MAX_UNPACKED


def test_an_endpoint_has_one_name_for_each_moment_within_63_characters():
    made = {object_name("a" * 63, "0b8f7d0e-5c7a-4f6e-9d43-3a8a1d1f2c55", moment) for moment in Moment}
    assert len(made) == 2 and all(len(name) <= 63 for name in made)
