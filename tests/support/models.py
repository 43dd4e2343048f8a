"""Models and accelerators in the language of the tests: facts by a repository's name, plans by what a person would say."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from dedicated.planner import size
from dedicated.planner.accelerators import Accelerator
from dedicated.planner.answer import SizingPlan
from dedicated.planner.catalogue import accelerators
from dedicated.planner.model_facts import ModelFacts, of_config
from dedicated.planner.request import PlanRequest

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
CONFIGS = FIXTURES / "configs"
CLASSES: list[Accelerator] = accelerators()


def config_of(repo: str) -> dict[str, Any]:
    """The config.json of a repository."""
    found: dict[str, Any] = json.loads((CONFIGS / f"{repo.replace('/', '--')}.json").read_text())
    return found


@cache
def facts_of(repo: str) -> ModelFacts:
    """Facts of a repository's model, from its config.json alone."""
    return of_config(config_of(repo))


def plan_of(repo: str, accelerator: str = "", count: int | None = None, **asked: Any) -> SizingPlan:
    """The plan for a repository's model on one class, or on any."""
    allowed = (accelerator,) if accelerator else ()
    return size.plan(facts_of(repo), CLASSES, PlanRequest(accelerators=allowed, count=count, **asked))
