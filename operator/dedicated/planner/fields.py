"""A model's config.json, read leniently: a value of another type than is asked for counts as absent, since nobody checks these files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

LARGEST = 10**12
"""No size or count of a model is larger; what is, is damage."""


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


class Fields:
    """The fields of one JSON object, with what its family leaves out."""

    def __init__(self, raw: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> None:
        self._raw = {**(defaults or {}), **{key: value for key, value in raw.items() if value is not None}}

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def integer(self, *names: str, default: int = 0) -> int:
        """
        The first of these fields that holds a whole number. One below zero counts as none (-1 often means that), and a list, by which some families
        say it for each layer, as its largest.
        """
        for name in names:
            value = self._raw.get(name)
            if isinstance(value, list):
                value = max(self.numbers(name), default=None)
            if _is_number(value) and value == int(value):
                return max(int(value), 0)
        return default

    def number(self, *names: str, default: float = 0.0) -> float:
        """The first of these fields that holds a number."""
        return next((float(value) for name in names if _is_number(value := self._raw.get(name))), default)

    def text(self, *names: str, default: str = "") -> str:
        """The first of these fields that holds a text."""
        return next((value for name in names if isinstance(value := self._raw.get(name), str) and value), default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A field that is true or false."""
        value = self._raw.get(name)
        return value if isinstance(value, bool) else default

    def items(self, *names: str) -> list[Any]:
        """The first of these fields that holds a list."""
        return next((value for name in names if isinstance(value := self._raw.get(name), list)), [])

    def numbers(self, *names: str) -> list[int]:
        """Of such a list, what is a whole number."""
        return [int(item) for item in self.items(*names) if isinstance(item, int) and _is_number(item)]

    def texts(self, *names: str) -> list[str]:
        """Of such a list, what is text."""
        return [item for item in self.items(*names) if isinstance(item, str)]

    def under(self, *names: str, defaults: Mapping[str, Any] | None = None) -> Fields:
        """The first of these fields that holds an object; empty where none does."""
        found = next((value for name in names if isinstance(value := self._raw.get(name), dict)), {})
        return Fields(found, defaults)

    def objects(self) -> list[Fields]:
        """The values that are objects themselves."""
        return [Fields(value) for value in self._raw.values() if isinstance(value, dict)]

    def raw(self) -> Mapping[str, Any]:
        """Everything."""
        return self._raw
