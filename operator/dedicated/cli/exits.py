"""How a command ends: 0 ok, 1 the answer is no, 2 usage, 3 cannot reach."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

import typer


class ExitCode(IntEnum):
    """What a script may branch on."""

    OK = 0
    NO = 1
    USAGE = 2
    CANNOT_REACH = 3


def fail(sentence: str, code: ExitCode) -> NoReturn:
    """End with one sentence on standard error."""
    typer.echo(sentence, err=True)
    raise typer.Exit(code)
