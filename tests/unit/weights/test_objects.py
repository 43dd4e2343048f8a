"""The digest that stands for a commit."""

from __future__ import annotations

import pytest

from dedicated.weights.objects import revision_of

FILES = [("config.json", 2, '"a"'), ("model.safetensors", 100, '"b"')]


def test_the_order_of_a_list_says_nothing():
    assert revision_of(FILES) == revision_of(reversed(FILES)) and len(revision_of(FILES)) == 64


@pytest.mark.parametrize("other", [("config.json", 2, '"c"'), ("config.json", 3, '"a"'), ("config2.json", 2, '"a"')], ids=["ETag", "size", "path"])
def test_another_path_size_or_etag_is_another_revision(other):
    assert revision_of([other, FILES[1]]) != revision_of(FILES) != revision_of(FILES[1:])
