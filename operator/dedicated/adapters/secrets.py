"""The hub token in a Secret. Of a Secret that is not labelled for it nothing but the labels is read."""

from __future__ import annotations

import base64

from dedicated.adapters.hub import Token
from dedicated.adapters.kinds import SECRET
from dedicated.adapters.kube import KubeApi
from dedicated.api import names
from dedicated.api.endpoint import SecretKeyRef
from dedicated.api.errors import ApiNotFound, TokenInvalid, TokenMissing


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
            _demand_label(await kube.get(SECRET, namespace, ref.name, metadata_only=True), where)
        secret = await kube.get(SECRET, namespace, ref.name)
    except ApiNotFound:
        raise TokenMissing(f"{where} does not exist in namespace {namespace}.") from None
    _demand_label(secret, where)
    data = (secret.get("data") or {}).get(ref.key)
    text = base64.b64decode(data).strip() if data else b""
    if not text:
        raise TokenMissing(f"{where} has no key {ref.key}, or nothing in it.")
    if not text.isascii():
        raise TokenInvalid(f"{where} (key {ref.key}) holds something that is no hub token.")
    return Token(text.decode("ascii"), f"{where} (key {ref.key})")


def _demand_label(secret: dict[str, object], where: str) -> None:
    meta = secret["metadata"]
    labels = meta.get("labels") if isinstance(meta, dict) else None
    if (labels or {}).get(names.LABEL_USE) != names.USE_HUB_TOKEN:
        raise TokenMissing(f"{where} is not labelled {names.LABEL_USE}={names.USE_HUB_TOKEN}, so it is not read.")
