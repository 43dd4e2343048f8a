"""The forms in which a command answers."""

from __future__ import annotations

from enum import StrEnum


class Output(StrEnum):
    """`-o`."""

    TEXT = "text"
    JSON = "json"
