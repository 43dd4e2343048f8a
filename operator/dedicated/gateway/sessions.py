"""Sessions of logged-in users: signed tokens of one issuer for one audience. `sub` is the owner's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt

ALGORITHMS = ("RS256", "ES256")
LEEWAY_S = 30
"""Difference between the issuer's clock and ours that is forgiven."""


@dataclass(frozen=True)
class Issuer:
    """Whose tokens count, and for whom they must be."""

    name: str
    audience: str


class Sessions:
    """Checks tokens with the keys that it was last given. Without an issuer no token is valid."""

    def __init__(self, issuer: Issuer | None) -> None:
        self._issuer = issuer
        self._keys: dict[str, jwt.PyJWK] = {}
        self.missed = False
        """Whether a token named a key that is not known: its set may have been changed."""

    def use(self, key_set: dict[str, Any]) -> int:
        """Take in a JWKS in place of the last one; answers how many of its keys can be used. Raises ValueError where it is none."""
        try:
            keys = jwt.PyJWKSet.from_dict(key_set).keys
        except (jwt.PyJWTError, AttributeError, TypeError) as wrong:
            raise ValueError(f"no key set with a key that can be used: {wrong}") from wrong
        self._keys = {key.key_id or "": key for key in keys if key.algorithm_name in ALGORITHMS}
        self.missed = False
        return len(self._keys)

    def subject(self, token: str) -> str | None:
        """The user of a valid token."""
        if self._issuer is None:
            return None
        try:
            key = self._key_of(jwt.get_unverified_header(token))
            claims = key and jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._issuer.name,
                audience=self._issuer.audience,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError):
            return None
        subject = claims.get("sub") if claims else None
        return subject if isinstance(subject, str) and subject else None

    def _key_of(self, header: dict[str, Any]) -> jwt.PyJWK | None:
        key = self._keys.get(str(header.get("kid") or ""))
        if key is None and "kid" not in header and len(self._keys) == 1:
            (key,) = self._keys.values()
        self.missed |= key is None
        return key
