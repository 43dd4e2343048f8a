"""The forms in which a command answers."""

from __future__ import annotations

from enum import StrEnum

import typer


class Output(StrEnum):
    """`-o`."""

    TEXT = "text"
    JSON = "json"


_COLOURS = {
    "up": typer.colors.GREEN,
    "failed": typer.colors.RED,
    "building": typer.colors.YELLOW,
    "waking": typer.colors.YELLOW,
    "sleeping": typer.colors.BLUE,
    "paused": typer.colors.BLUE,
}


def coloured(text: str, phase: str, *, bold: bool = False) -> str:
    """The text in the colour of a phase; a terminal shows it, a pipe loses it."""
    return typer.style(text, fg=_COLOURS.get(phase), bold=bold or None)


def heading(text: str) -> str:
    """A heading."""
    return typer.style(text, bold=True)


def faint(text: str) -> str:
    """What matters less."""
    return typer.style(text, dim=True)
