"""An observation -> what its manifests are made from."""

from __future__ import annotations

from dedicated.lifecycle.observation import Observation
from dedicated.render.endpoint import Wanted


def wanted(seen: Observation) -> Wanted:
    """The target as it is rendered."""
    model = seen.model
    return Wanted(
        name=seen.name,
        namespace=seen.namespace,
        uid=seen.uid,
        revision=seen.target or "",
        spec=seen.spec,
        commit=model.revision if model else None,
        entry=model.entry if model else None,
        weight_bytes=(model.weight_bytes or 0) if model else 0,
        plan=seen.plan,
        accelerator_class=seen.accelerator_class,
        queue=seen.queue,
        namespace_uid=seen.namespace_uid,
    )
