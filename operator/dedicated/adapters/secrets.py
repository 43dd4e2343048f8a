"""The hub token, or the keys of a bucket, in a user's Secret. Of a Secret that is not labelled for it nothing but the labels is read."""

from __future__ import annotations

import base64

from dedicated.adapters.hub import Token
from dedicated.adapters.kinds import SECRET
from dedicated.adapters.kube import KubeApi
from dedicated.api import names
from dedicated.api.endpoint import SecretKeyRef
from dedicated.api.errors import ApiNotFound, DedicatedError, ObjectStoreDenied, TokenInvalid, TokenMissing
from dedicated.api.s3 import KEY_ID, SECRET_KEY, SOURCE_KEYS


async def hub_token(kube: KubeApi, namespace: str, ref: SecretKeyRef, *, labelled: bool) -> Token:
    """
    The token that a spec refers to. (labelled: the watch, which sees labelled Secrets only, has told of this one)

    Raises:
        TokenMissing: There is no such Secret or key, or it is not labelled for this.
        TokenInvalid: What is there cannot be a token.
    """
    where = f"Secret {ref.name}"
    try:
        if not labelled:
            _demand_label(await kube.get(SECRET, namespace, ref.name, metadata_only=True), where, names.USE_HUB_TOKEN, TokenMissing)
        secret = await kube.get(SECRET, namespace, ref.name)
    except ApiNotFound:
        raise TokenMissing(f"{where} does not exist in namespace {namespace}.") from None
    _demand_label(secret, where, names.USE_HUB_TOKEN, TokenMissing)
    data = (secret.get("data") or {}).get(ref.key)
    text = base64.b64decode(data).strip() if data else b""
    if not text:
        raise TokenMissing(f"{where} has no key {ref.key}, or nothing in it.")
    if not text.isascii():
        raise TokenInvalid(f"{where} (key {ref.key}) holds something that is no hub token.")
    return Token(text.decode("ascii"), f"{where} (key {ref.key})")


async def s3_keys(kube: KubeApi, namespace: str, name: str, *, labelled: bool) -> dict[str, str]:
    """
    What the Secret for a bucket of the user's own holds, by its keys. (labelled: as above)

    Raises:
        ObjectStoreDenied: There is no such Secret, it is not labelled for this, or it lacks the credentials.
    """
    where = f"Secret {name}"
    try:
        if not labelled:
            _demand_label(await kube.get(SECRET, namespace, name, metadata_only=True), where, names.USE_S3_SOURCE, ObjectStoreDenied)
        secret = await kube.get(SECRET, namespace, name)
    except ApiNotFound:
        raise ObjectStoreDenied(f"{where} does not exist in namespace {namespace}.") from None
    _demand_label(secret, where, names.USE_S3_SOURCE, ObjectStoreDenied)
    data = secret.get("data") or {}
    found = {key: base64.b64decode(data[key]).decode("utf-8", "replace").strip() for key in SOURCE_KEYS if data.get(key)}
    if lacking := [key for key in (KEY_ID, SECRET_KEY) if not found.get(key)]:
        raise ObjectStoreDenied(f"{where} has no key {' and no key '.join(lacking)}, or nothing in it.")
    return found


def _demand_label(secret: dict[str, object], where: str, use: str, refusal: type[DedicatedError]) -> None:
    meta = secret["metadata"]
    labels = meta.get("labels") if isinstance(meta, dict) else None
    if (labels or {}).get(names.LABEL_USE) != use:
        raise refusal(f"{where} is not labelled {names.LABEL_USE}={use}, so it is not read.")
