"""What makes a revision, and what makes another attempt worth while."""

from __future__ import annotations

from collections.abc import Mapping

from dedicated.api import names
from dedicated.api.endpoint import ANY_ACCELERATOR, CPU, EndpointSpec
from dedicated.api.status import Plan
from dedicated.core.quantities import stable_hash


def source_hash(spec: EndpointSpec, annotations: Mapping[str, str]) -> str:
    """
    Names what the hub is asked for: a model is resolved once per value of this, so never on a restart or a resync.

    The kind of engine is part of it, since it decides which files are chosen.
    """
    model = spec.model.to_dict() if spec.model else None
    return stable_hash({"model": model, "engine": spec.engine.kind.value, "refresh": annotations.get(names.ANNOTATION_REFRESH)})


def revision(spec: EndpointSpec, annotations: Mapping[str, str], commit: str | None, plan: Plan | None = None) -> str:
    """
    Name of the revision that the spec asks for.

    Covers what the engine pods are made of; replicas, access, scaling and suspension change no pod. Covers neither images nor settings of the
    operator:
    a new operator restarts no serving engine.
    """
    made_of = {**_pods_of(spec), "commit": commit, "update": annotations.get(names.ANNOTATION_UPDATE)}
    return stable_hash({**made_of, **_frozen(plan)}, 8)


def _frozen(plan: Plan | None) -> dict[str, object]:
    """What of a plan the pods are made of; nothing where any device will do."""
    if plan is None or plan.accelerator in (None, ANY_ACCELERATOR):
        return {}
    if plan.tensor_parallel is None:
        return {} if plan.accelerator == CPU else {"class": plan.accelerator}
    return {"plan": [plan.accelerator, plan.count, plan.tensor_parallel, plan.pipeline_parallel, plan.max_model_len, plan.max_num_seqs]}


def inputs_hash(spec: EndpointSpec, annotations: Mapping[str, str], token_version: str | None) -> str:
    """Names everything whose change can mend a failure: while it stays the same, a failure that retrying cannot mend is not tried again."""
    marks = (names.ANNOTATION_REFRESH, names.ANNOTATION_UPDATE, names.ANNOTATION_RETRY)
    return stable_hash({**_pods_of(spec), "replicas": spec.replicas, "token": token_version, "marks": [annotations.get(mark) for mark in marks]})


def _pods_of(spec: EndpointSpec) -> dict[str, object]:
    return {
        "model": spec.model.to_dict() if spec.model else None,
        "engine": spec.engine.to_dict(),
        "hardware": spec.hardware.to_dict(),
        "drain": spec.update.drain,
    }
