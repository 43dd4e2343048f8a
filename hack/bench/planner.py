"""
What a plan costs: one model on every class of the catalogue, once its facts are known, and what the facts cost.

    .venv/bin/python -m hack.bench.planner [--runs 200]

Prints medians of CPU time over many runs, for models of different kinds, and the slowest of all fixtures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from dedicated.planner import size
from dedicated.planner.catalogue import accelerators
from dedicated.planner.model_facts import of_config
from dedicated.planner.request import PlanRequest
from hack.bench import machine
from tests.support.models import CONFIGS, config_of, facts_of

MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-R1", "google/gemma-3-27b-it", "Qwen/Qwen3-Next-80B-A3B-Instruct")
TARGET_MS = 5.0
"""Of one model on 22 classes."""
TARGET_CLASSES = 22


def cpu_ms(what: Callable[[], object], runs: int) -> list[float]:
    """CPU time of each run. (milliseconds)"""
    found = []
    for _ in range(runs):
        began = time.process_time_ns()
        what()
        found.append((time.process_time_ns() - began) / 1e6)
    return found


def main() -> None:
    """Measure, and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--runs", type=int, default=200, help="runs of each measurement")
    runs = options.parse_args().runs
    classes = accelerators()
    print(f"one model on {len(classes)} classes; {machine.described()}")
    for repo in MODELS:
        facts, config = facts_of(repo), config_of(repo)
        planned = cpu_ms(lambda facts=facts: size.plan(facts, classes, PlanRequest()), runs)  # type: ignore[misc]
        learned = cpu_ms(lambda config=config: of_config(config), runs)  # type: ignore[misc]
        print(
            f"{repo:36} plan: median {statistics.median(planned):.2f} ms, most {max(planned):.2f}; facts: median {statistics.median(learned):.2f} ms"
        )
    repos = [path.stem.replace("--", "/") for path in sorted(CONFIGS.glob("*.json"))]
    medians = {}
    for repo in repos:
        facts = facts_of(repo)
        medians[repo] = statistics.median(cpu_ms(lambda facts=facts: size.plan(facts, classes, PlanRequest()), 9))  # type: ignore[misc]
    slowest = max(medians, key=lambda repo: medians[repo])
    per_22 = medians[slowest] * TARGET_CLASSES / len(classes)
    middle = statistics.median(medians.values())
    print(f"{len(repos)} models: median {middle:.2f} ms; slowest {slowest} {medians[slowest]:.2f} ms,")
    print(f"which is {per_22:.2f} ms for {TARGET_CLASSES} classes  (target: at most {TARGET_MS:g})")


if __name__ == "__main__":
    main()
