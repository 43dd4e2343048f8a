"""Who signs sessions: keys, tokens, and the key set that the gateway reads."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER, AUDIENCE = "https://login.example", "dedicated"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class Signer:
    """Signs with its newest key; the set at `path` holds the keys that count."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys: dict[str, Key] = {}
        self.rotate("first")

    def rotate(self, name: str, *, elliptic: bool = False, keep: bool = False) -> None:
        """Another key, alone or beside the others."""
        if not keep:
            self.keys.clear()
        self.keys[name] = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
        self.publish()

    def publish(self) -> None:
        """Write the key set, as one step."""
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps({"keys": [self._public(name, key) for name, key in self.keys.items()]}))
        os.replace(partial, self.path)

    def token(self, subject: str | None, name: str | None = None, **claims: Any) -> str:
        """A token of a user; keyword arguments replace claims, None removes one."""
        name = name or list(self.keys)[-1]
        whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "exp": time.time() + 600, **claims}
        algorithm = "RS256" if isinstance(self.keys[name], rsa.RSAPrivateKey) else "ES256"
        payload = {claim: value for claim, value in whole.items() if value is not None}
        return jwt.encode(payload, self.keys[name], algorithm=algorithm, headers={"kid": name})

    def _public(self, name: str, key: Key) -> dict[str, Any]:
        if isinstance(key, rsa.RSAPrivateKey):
            return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": "RS256", "use": "sig"}
        return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": "ES256", "use": "sig"}
