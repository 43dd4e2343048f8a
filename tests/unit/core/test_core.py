"""Quantities, durations, hashes and patches: the small change."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedicated.core.clock import from_rfc3339, rfc3339
from dedicated.core.patches import merge_patch
from dedicated.core.quantities import crockford, human_bytes, quantity, seconds, stable_hash


@pytest.mark.parametrize(("text", "value"), [("0s", 0), ("90s", 90), ("1h30m", 5400), ("15m", 900)])
def test_a_duration_is_read_as_seconds(text, value):
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "15", "m", "1d", "-5s", "1.5h"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        seconds(text)


@pytest.mark.parametrize(("text", "value"), [("500m", 0.5), ("2", 2), ("16Gi", 17179869184), ("1k", 1000), ("1.5Gi", 1610612736), (4, 4)])
def test_a_quantity_is_read_as_kubernetes_means_it(text, value):
    assert quantity(text) == value


def test_bytes_are_told_with_one_decimal():
    assert [human_bytes(n) for n in (0, 1023, 1024, 253113024, 5 * 1024**3)] == ["0 B", "1023 B", "1.0 KiB", "241.4 MiB", "5.0 GiB"]


def test_crockford_leaves_out_the_letters_that_are_misread():
    assert crockford(bytes(range(256))).isalnum() and not set(crockford(bytes(range(256)))) & set("ilou")
    assert stable_hash(b"x", 10) == crockford(hashlib.sha256(b"x").digest())[:10]


def test_times_survive_the_way_to_kubernetes_and_back():
    assert from_rfc3339(rfc3339(1_800_000_000.7)) == 1_800_000_000
    assert from_rfc3339("2026-01-01T00:00:00.250000Z") % 1 == 0.25


json_values = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
json_objects = st.dictionaries(st.text(max_size=2), json_values, max_size=4)


def applied(target, patch):
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = applied(result.get(key), value)
    return result


@given(json_objects, json_objects)
def test_a_patch_turns_the_old_object_into_the_new_one(old, new):
    assert applied(old, merge_patch(old, new)) == new


@given(json_objects)
def test_equal_objects_need_no_patch(value):
    assert merge_patch(value, value) == {}
