"""Bytes, durations and stable hashes: the small change of the domain."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import orjson

GIB = 1024**3
MIB = 1024**2

_DURATION_UNITS_S = {"h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(\d+)(h|m|s)")
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_SUFFIXES = {
    "": 1,
    "m": 1e-3,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "P": 10**15,
    "E": 10**18,
    "Ki": 1024,
    "Mi": MIB,
    "Gi": GIB,
    "Ti": 1024**4,
    "Pi": 1024**5,
    "Ei": 1024**6,
}
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)((?:[KMGTPE]i)|[mkMGTPE]?)")


def seconds(duration: str) -> int:
    """
    Seconds of a duration such as ``15m``, ``1h30m`` or ``0s``.

    Raises:
        ValueError: Not a sequence of whole numbers with h, m or s.
    """
    if not re.fullmatch(r"(\d+(h|m|s))+", duration):
        raise ValueError(f"'{duration}' is not a duration such as 90s, 15m or 1h30m")
    return sum(int(count) * _DURATION_UNITS_S[unit] for count, unit in _DURATION.findall(duration))


def quantity(text: str | int | float) -> float:
    """
    The number in a Kubernetes quantity: ``500m`` is 0.5, ``16Gi`` is 17179869184.

    Raises:
        ValueError: Not a quantity.
    """
    match = _QUANTITY.fullmatch(str(text))
    if not match:
        raise ValueError(f"'{text}' is not a quantity such as 500m, 2 or 16Gi")
    return float(match[1]) * _SUFFIXES[match[2]]


def human_bytes(count: float) -> str:
    """Bytes for people, with one decimal: ``241.4 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def human_seconds(count: float) -> str:
    """Seconds for people: ``45 s``, ``12 min``."""
    return f"{count:.0f} s" if count < 120 else f"{count / 60:.0f} min"


def canonical_json(value: Any) -> bytes:
    """One byte string for equal values: sorted keys, no spaces."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def stable_hash(value: Any, length: int = 10) -> str:
    """A short name for a JSON value: the first ``length`` characters of its sha256, in lower-case Crockford base32."""
    digest = value if isinstance(value, bytes) else canonical_json(value)
    return crockford(hashlib.sha256(digest).digest()[: -(-length // 8) * 5])[:length]  # eight characters tell five bytes


_FROM_RFC4648 = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdefghjkmnpqrstvwxyz")


def crockford(raw: bytes) -> str:
    """Lower-case Crockford base32 without padding (https://www.crockford.com/base32.html): no i, l, o, u."""
    return base64.b32encode(raw).decode().rstrip("=").translate(_FROM_RFC4648)
