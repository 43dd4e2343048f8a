"""Names, conditions, the catalogue of reasons, and the schema that is rendered from the types."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from dedicated.api import errors, names
from dedicated.api.conditions import merge
from dedicated.api.endpoint import EndpointSpec
from dedicated.api.reasons import CATALOGUE, Reason
from dedicated.api.status import Condition, EndpointStatus
from dedicated.core.clock import rfc3339
from hack.gen_crds import endpoint_crd, outputs, schema_of

REPO = Path(__file__).resolve().parents[3]
UID = "0b8f7d0e-5c7a-4f6e-9d43-3a8a1d1f2c55"


def test_an_id_comes_from_the_uid_alone():
    assert re.fullmatch(r"endpt-[0-9a-hjkmnp-tv-z]{10}", names.endpoint_id(UID))
    assert names.endpoint_id(UID) == names.endpoint_id(UID) != names.endpoint_id(UID.replace("5", "6"))


@pytest.mark.parametrize("length", [1, 40, 41, 52, 63])
@pytest.mark.parametrize("suffix", ["", "key", "abcdefgh"])
def test_a_child_name_is_a_dns_label_of_at_most_63_characters(length, suffix):
    name = names.child_name("x" * length, UID, suffix)
    assert len(name) <= 63 and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)


def test_two_long_names_with_one_beginning_have_different_children():
    assert names.child_name("x" * 62 + "a", UID) != names.child_name("x" * 62 + "b", UID)


def test_a_transition_time_moves_only_with_the_status():
    old = [Condition(type="Ready", status="False", reason="A", last_transition_time=rfc3339(100))]
    (same,) = merge(old, [Condition(type="Ready", status="False", reason="B")], now=200, generation=2)
    (other,) = merge(old, [Condition(type="Ready", status="True", reason="B")], now=200, generation=2)
    assert (same.last_transition_time, other.last_transition_time) == (rfc3339(100), rfc3339(200))
    assert same.observed_generation == 2


def test_every_reason_has_its_sentence_and_its_next_step():
    assert set(CATALOGUE) == set(Reason)
    for entry in CATALOGUE.values():
        assert entry.sentence[0].isupper() and entry.sentence.endswith(".")
        assert entry.next_step[0].isupper() and entry.next_step.endswith(".")


def test_every_error_has_its_own_reason_and_says_stop_wait_or_retry():
    leaves = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DedicatedError) and not kind.__subclasses__()
    ]
    assert leaves
    for kind in leaves:
        assert issubclass(kind, errors.Stalled | errors.Waiting | errors.Transient)
        assert kind().message == CATALOGUE[kind.reason].sentence


def test_every_reason_is_produced_by_a_test():
    text = "\n".join(path.read_text() for path in (REPO / "tests").rglob("*.py"))
    unseen = [reason for reason in Reason if f"Reason.{reason.name}" not in text and f"R.{reason.name}" not in text and reason.value not in text]
    assert unseen == []


def test_every_reason_is_used_by_the_code():
    names_used = {
        node.attr
        for path in (REPO / "operator").rglob("*.py")
        if path.name != "reasons.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert [reason.name for reason in Reason if reason.name not in names_used] == []


def structural_problems(node, path=""):
    """What the API server would refuse in a structural schema."""
    if not isinstance(node, dict):
        return
    if "$ref" in node or "title" in node or ("anyOf" in node and not node.get("x-kubernetes-int-or-string")):
        yield path
    if "default" in node and node["default"] is None:
        yield f"{path}: null default"
    for key in ("properties",):
        for name, child in node.get(key, {}).items():
            yield from structural_problems(child, f"{path}.{name}")
    yield from structural_problems(node.get("items"), path + "[]")


def test_the_rendered_schema_is_structural():
    assert list(structural_problems(schema_of(EndpointSpec))) == []
    assert list(structural_problems(schema_of(EndpointStatus))) == []


def test_no_status_field_has_a_default_that_the_server_would_fill_in():
    schema = schema_of(EndpointStatus)
    assert [name for name, field in schema["properties"].items() if "default" in field and field["default"] not in ([],)] == []


def test_the_committed_crd_is_what_the_types_render():
    assert [str(path) for path, text in outputs().items() if path.read_text() != text] == []


def test_the_scale_subresource_and_the_columns_point_to_fields_that_exist():
    version = endpoint_crd()["spec"]["versions"][0]
    root = version["schema"]["openAPIV3Schema"]["properties"]
    paths = [*version["subresources"]["scale"].values(), *(column["jsonPath"] for column in version["additionalPrinterColumns"])]
    for path in paths:
        if path.startswith(".metadata"):
            continue
        node = {"properties": root}
        for part in re.sub(r"\[.*?\]", "", path).strip(".").split("."):
            node = node.get("items", node)["properties"][part]
