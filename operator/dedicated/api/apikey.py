"""
`ApiKey`: who may call. It holds only a hash; the secret itself is shown once, by `dedicated keys create`.

A secret is ``dk-``, 40 base62 characters at random, and 6 of checksum, so that a mistyped or cut key is refused without a look-up and a scanner of
repositories can tell a real one from a look-alike.
"""

from __future__ import annotations

import hashlib
import zlib

from pydantic import ConfigDict, Field

from dedicated.api import names
from dedicated.api.schema import Schema, rule, rules

MARK = "dk-"
RANDOM_LENGTH, CHECKSUM_LENGTH = 40, 6
"""Characters: 40 of base62 are 238 bits, and 6 hold a CRC-32."""
PREFIX_LENGTH = len(MARK) + 5
"""Characters of the secret that are kept to tell keys apart; 208 bits stay unknown."""
NAME_LENGTH = 40
MAX_OWNER = 253
MIN_RANDOM_BYTES = 32
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class ApiKeySpec(Schema):
    """Whose key it is, and how it is recognised."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.owner == oldSelf.owner && self.sha256 == oldSelf.sha256 && self.prefix == oldSelf.prefix",
                "spec.owner, spec.sha256 and spec.prefix cannot be changed; create another key",
            ),
            rule("!oldSelf.revoked || self.revoked", "spec.revoked cannot be taken back; create another key"),
        )
    )

    owner: str = Field(min_length=1, max_length=MAX_OWNER, description="Who calls with it; endpoints of this owner answer.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the secret, in hex.")
    prefix: str = Field(pattern=r"^dk-[0-9A-Za-z]{5}$", description="The first characters of the secret, to tell keys apart.")
    expires_at: str | None = Field(default=None, description="From then on it is refused.", json_schema_extra={"format": "date-time"})
    revoked: bool = Field(default=False, description="Refused from now on, for ever.")


class ApiKeyStatus(Schema):
    """What the gateways have seen of it."""

    last_used_time: str | None = Field(
        default=None, description="When it was last used, with a day's precision.", json_schema_extra={"format": "date-time"}
    )


def secret_from(random: bytes) -> str:
    """
    A secret made of random bytes.

    Raises:
        ValueError: Fewer than 32 bytes.
    """
    if len(random) < MIN_RANDOM_BYTES:
        raise ValueError(f"a key needs at least {MIN_RANDOM_BYTES} random bytes")
    body = MARK + _base62(int.from_bytes(random), RANDOM_LENGTH)
    return body + _checksum(body)


def well_formed(secret: str) -> bool:
    """Whether this can be a key at all: its mark, its length and its checksum are right."""
    if len(secret) != len(MARK) + RANDOM_LENGTH + CHECKSUM_LENGTH or not secret.startswith(MARK) or not secret.isascii():
        return False
    body = secret[:-CHECKSUM_LENGTH]
    return secret == body + _checksum(body)


def hash_of(secret: str) -> str:
    """SHA-256 of a secret, in hex: what is kept and compared in its place."""
    return hashlib.sha256(secret.encode()).hexdigest()


def object_name(sha256: str) -> str:
    """Name of the ApiKey with this hash."""
    return f"k-{sha256[:NAME_LENGTH]}"


def manifest(secret: str, owner: str, namespace: str, expires_at: str | None = None) -> dict[str, object]:
    """The ApiKey of a secret."""
    sha256 = hash_of(secret)
    spec = ApiKeySpec(owner=owner, sha256=sha256, prefix=secret[:PREFIX_LENGTH], expires_at=expires_at)
    meta = {"name": object_name(sha256), "namespace": namespace}
    return {"apiVersion": names.API_VERSION, "kind": names.KEY_KIND, "metadata": meta, "spec": spec.to_dict()}


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    """The last digits of a number, the lowest last."""
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
