"""Engines and libraries in their own words, with what stands around them: each has one right class."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dedicated.diagnosis.conclude import conclude

ROWS = yaml.safe_load((Path(__file__).resolve().parents[2] / "fixtures" / "logs" / "wordings.yaml").read_text())


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_a_wording_has_its_class(row):
    assert conclude(row["log"]).coarse == row["coarse"]
