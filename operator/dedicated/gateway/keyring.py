"""Keys as the watch tells them: by hash, and how many active ones an owner has."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from dedicated.api import apikey
from dedicated.core.clock import from_rfc3339


@dataclass(frozen=True, slots=True)
class Key:
    """One key. (expires_at, last_used: seconds since the epoch)"""

    name: str
    owner: str
    sha256: str
    expires_at: float | None
    revoked: bool
    last_used: float | None

    def active(self, now: float) -> bool:
        """Whether it is accepted. (now: seconds since the epoch)"""
        return not self.revoked and (self.expires_at is None or now < self.expires_at)


class Keyring:
    """All keys of the system namespace."""

    def __init__(self) -> None:
        self._by_uid: dict[str, Key] = {}
        self._by_hash: dict[str, str] = {}
        self._by_owner: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._by_uid)

    def put(self, obj: dict[str, Any]) -> None:
        """Take in an ApiKey as the API server has it."""
        uid = str(obj["metadata"]["uid"])
        self.remove(uid)
        key = _key(obj)
        self._by_uid[uid] = key
        self._by_hash[key.sha256] = uid
        self._by_owner.setdefault(key.owner, set()).add(uid)

    def remove(self, uid: str) -> None:
        """Forget a key."""
        key = self._by_uid.pop(uid, None)
        if key is None:
            return
        if self._by_hash.get(key.sha256) == uid:
            del self._by_hash[key.sha256]
        self._by_owner[key.owner].discard(uid)
        if not self._by_owner[key.owner]:
            del self._by_owner[key.owner]

    def uids(self) -> set[str]:
        """All that are known."""
        return set(self._by_uid)

    def find(self, secret: str, now: float) -> Key | None:
        """The active key with this secret. What is looked up and compared is its hash, so time tells nothing of the secret."""
        if not apikey.well_formed(secret):
            return None
        sha256 = apikey.hash_of(secret)
        key = self._by_uid.get(self._by_hash.get(sha256, ""))
        if key is None or not hmac.compare_digest(key.sha256, sha256) or not key.active(now):
            return None
        return key

    def has_active(self, owner: str, now: float) -> bool:
        """Whether an owner has a key that is accepted."""
        return any(self._by_uid[uid].active(now) for uid in self._by_owner.get(owner, ()))


def _key(obj: dict[str, Any]) -> Key:
    spec = obj["spec"]
    expires_at = spec.get("expiresAt")
    used = (obj.get("status") or {}).get("lastUsedTime")
    return Key(obj["metadata"]["name"], spec["owner"], spec["sha256"], _seconds(expires_at), bool(spec.get("revoked")), _seconds(used))


def _seconds(text: str | None) -> float | None:
    return from_rfc3339(text) if text else None
