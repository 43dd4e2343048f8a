"""What the API server cannot see in a spec, and this version or this installation cannot do."""

from __future__ import annotations

from collections.abc import Mapping

from dedicated.api import names
from dedicated.api.endpoint import EndpointSpec
from dedicated.api.errors import InvalidSpec, Stalled
from dedicated.api.s3 import location_of
from dedicated.render.endpoint import Wanted
from dedicated.render.engines import launch
from dedicated.render.platform import Platform


def problem_before_model(spec: EndpointSpec, platform: Platform) -> Stalled | None:
    """The first thing that cannot be, before anybody is asked about the model."""
    if spec.model and spec.model.s3 and platform.weights and location_of(spec.model.s3.uri, {}).bucket == platform.weights.bucket:
        return InvalidSpec(
            f"spec.model.s3.uri names {platform.weights.bucket}, the bucket that this installation caches weights in; "
            "copy the model into a bucket of another name"
        )
    if not spec.engine.image and not platform.engine_images.get(spec.engine.kind):
        return InvalidSpec(f"spec.engine.image is not set and this installation has no default image for kind {spec.engine.kind}")
    return None


def secrets_of_engine(spec: EndpointSpec) -> set[str]:
    """Names of the Secrets that the engine's variables refer to."""
    refs = [(variable.get("valueFrom") or {}).get("secretKeyRef") or {} for variable in spec.engine.env]
    return {ref["name"] for ref in refs if ref.get("name")}


def secrets_of_model(spec: EndpointSpec) -> set[str]:
    """Names of the Secrets that the model is read with."""
    model = spec.model
    refs = (model.token_secret_ref, model.s3.credentials_secret_ref if model.s3 else None) if model else ()
    return {ref.name for ref in refs if ref}


def problem_with_secrets(spec: EndpointSpec, labelled: Mapping[str, str]) -> Stalled | None:
    """The first Secret that the engine refers to and that is not labelled for it. (labelled: the use of each Secret by name)"""
    for name in sorted(secrets_of_engine(spec)):
        if labelled.get(name) != names.USE_ENGINE_ENV:
            return InvalidSpec(
                f"spec.engine.env refers to Secret {name}, which does not exist with the label {names.LABEL_USE}={names.USE_ENGINE_ENV}"
            )
    return None


def problem_with_engine(wanted: Wanted, platform: Platform) -> Stalled | None:
    """Why the engine cannot be started as the spec asks."""
    try:
        launch(wanted, wanted.startup_s(platform.startup_base_s))
    except Stalled as problem:
        return problem
    return None
