"""What an index or the headers of safetensors files say."""

from __future__ import annotations

import pytest

from dedicated.api.errors import WeightsCorrupt
from dedicated.planner.stored import Source, header_length, of_headers, of_index


def tensor(dtype, *shape):
    return {"dtype": dtype, "shape": list(shape)}


def test_an_index_tells_the_bytes_of_all_tensors():
    index = {"metadata": {"total_size": 1000}, "weight_map": {"model.layers.3.mlp.up_proj.weight": "a", "lm_head.weight": "b"}}
    found = of_index(index)
    assert (found.total_bytes, found.source, found.layers, found.has_head) == (1000, Source.INDEX, 4, True)


def test_an_index_without_a_total_leaves_the_size_to_its_files():
    assert of_index({"weight_map": {"a": "x.safetensors"}}, file_bytes=77) == of_index({"weight_map": {"a": "x"}, "metadata": {}}, file_bytes=77)
    assert of_index({"weight_map": {}}, file_bytes=77).source is Source.FILES


@pytest.mark.parametrize("index", [{}, {"metadata": {"total_size": -1}}, {"metadata": "none"}, {"metadata": {"total_size": "many"}}])
def test_an_index_that_tells_nothing_is_one_sentence(index):
    with pytest.raises(WeightsCorrupt, match="tells neither"):
        of_index(index)


def test_headers_tell_bytes_by_shape_and_type():
    header = {"__metadata__": {"format": "pt"}, "a": tensor("BF16", 2, 3), "b": tensor("F32", 4), "c": tensor("F8_E4M3", 5), "d": tensor("U8", 6)}
    found = of_headers([header], 0)
    assert (found.total_bytes, found.f32_bytes) == (12 + 16 + 5 + 6, 16)


def test_offsets_are_believed_before_shapes():
    assert of_headers([{"a": {**tensor("F4", 8), "data_offsets": [100, 104]}}], 0).total_bytes == 4


def test_headers_of_several_files_are_one_model():
    found = of_headers([{"model.layers.0.x": tensor("BF16", 1)}, {"model.layers.1.x": tensor("BF16", 1), "lm_head.weight": tensor("BF16", 8)}], 2)
    assert (found.total_bytes, found.layers, found.head_bytes, found.has_head, found.extra_bytes) == (20, 2, 16, True, 0)


def test_what_is_behind_the_last_layer_guesses_ahead():
    names = ["model.layers.1.x", "model.layers.2.x", "mtp.layers.0.x"]
    assert of_headers([{name: tensor("BF16", 1) for name in names}], 2).extra_bytes == 4


@pytest.mark.parametrize("found", [{}, {"dtype": "BF16"}, {"dtype": 3, "shape": [1]}, "text"])
def test_a_tensor_without_shape_is_one_sentence(found):
    with pytest.raises(WeightsCorrupt, match="the tensor odd has neither"):
        of_headers([{"odd": found}], 0)


@pytest.mark.parametrize(
    ("first", "size"),
    [(b"", 0), (b"\x01\x00", 2), ((0).to_bytes(8, "little"), 100), ((93).to_bytes(8, "little"), 100), ((2**40).to_bytes(8, "little"), 2**50)],
    ids=["empty", "cut in the number", "no header", "cut in the header", "no number at all"],
)
def test_a_file_that_is_cut_off_is_one_sentence(first, size):
    with pytest.raises(WeightsCorrupt, match=r"the header of model.safetensors is cut off or damaged"):
        header_length(first, size, "model.safetensors")


def test_a_header_that_fills_its_file_is_whole():
    assert header_length((92).to_bytes(8, "little"), 100, "model.safetensors") == 92
