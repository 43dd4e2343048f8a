"""How the container that fetches gets at a bucket of the user's own: with the user's Secret and nothing else. Nothing of this reaches the engine."""

from __future__ import annotations

from typing import Any

from dedicated.api.endpoint import S3
from dedicated.api.s3 import CA_CERTIFICATE, ENDPOINT_URL, ENV, KEY_ID, REGION, SECRET_KEY, SESSION_TOKEN
from dedicated.render.endpoint import Wanted

Manifest = dict[str, Any]

OPTIONAL = {SESSION_TOKEN: SESSION_TOKEN, ENDPOINT_URL: ENDPOINT_URL, REGION: REGION, f"{ENV}CA_BUNDLE": CA_CERTIFICATE}
"""Keys that the Secret may lack, by the variable that each becomes."""


def fetch(wanted: Wanted, source: S3) -> tuple[list[str], list[Manifest]]:
    """Arguments and environment of the container. The bucket of the cache and its credentials are no part of them."""
    args = ["fetch", "--s3", source.uri, "--commit", wanted.commit or "", "--engine", wanted.spec.engine.kind.value]
    if source.credentials_secret_ref is None:
        return args, []
    secret = source.credentials_secret_ref.name
    must = [_variable(name, secret, {"key": name}) for name in (KEY_ID, SECRET_KEY)]
    return args, must + [_variable(name, secret, {"key": key, "optional": True}) for name, key in OPTIONAL.items()]


def _variable(name: str, secret: str, key: Manifest) -> Manifest:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, **key}}}
