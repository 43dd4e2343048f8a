"""Render tests/golden/<case>/rendered.yaml from its spec.yaml: what an endpoint becomes. A review reads the difference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from dedicated.api.endpoint import EndpointSpec, EngineKind
from dedicated.api.reasons import Reason
from dedicated.api.status import Plan
from dedicated.lifecycle.decide import Decision, Verb
from dedicated.lifecycle.manifests import manifests, with_hash
from dedicated.planner.catalogue import CLASSES
from dedicated.render.endpoint import Wanted
from dedicated.render.platform import Platform

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "golden"
PLATFORM = Platform(fetch_image="registry.example/dedicated:1", engine_images={kind: f"registry.example/{kind}:1" for kind in EngineKind})
UID = "0b8f7d0e-5c7a-4f6e-9d43-3a8a1d1f2c55"


def rendered(spec: dict[str, Any], placement: dict[str, Any] | None = None) -> str:
    """The manifests of an endpoint named llama in team-a, resolved to a model of one GiB. (placement: plan, queue, and if devices are claimed)"""
    parsed = EndpointSpec.model_validate(spec)
    entry = "tiny.gguf" if parsed.engine.kind is EngineKind.LLAMACPP else None
    wanted = Wanted("llama", "team-a", UID, "abcd1234", parsed, "c" * 40 if parsed.model else None, entry, 1024**3 if parsed.model else 0)
    platform = PLATFORM
    if placement:
        plan = Plan.model_validate(placement["plan"])
        wanted = replace(wanted, plan=plan, accelerator_class=CLASSES[plan.accelerator or ""], queue=placement.get("queue"))
        platform = replace(PLATFORM, claims=placement.get("claims", False))
    decision = Decision(Verb.ROLL, Reason.ENGINE_STARTING, "", {"abcd1234": parsed.replicas}, None)
    return yaml.safe_dump_all((with_hash(found) for found in manifests(wanted, decision, platform, b"key")), sort_keys=False)


def case_text(case: Path) -> str:
    """What a case renders to."""
    placement = case / "placement.yml"
    return rendered(yaml.safe_load((case / "spec.yaml").read_text()), yaml.safe_load(placement.read_text()) if placement.exists() else None)


def main() -> None:
    """Write every case that changed."""
    for case in sorted(FOLDER.iterdir()):
        text = case_text(case)
        path = case / "rendered.yaml"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote tests/golden/{case.name}/rendered.yaml")


if __name__ == "__main__":
    main()
