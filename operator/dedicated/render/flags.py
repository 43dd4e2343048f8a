"""
Which flag a person means: the spellings of the engines' argument parsers, and the flags that are not theirs to set.

Follows Python's argparse (exact spelling, else a unique beginning of one; `--flag=value`; `-qVALUE` for flags of one letter) and what vLLM adds to it
(underscores for dashes, `--flag.key value`, `-O3`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from dedicated.api.errors import ConflictingArgs

Spellings = tuple[tuple[str, ...], ...]
"""Every flag of a parser; of each all spellings."""

OPENS_A_FILE_OF_FLAGS = "--config"


def refuse_conflicts(args: Sequence[str], ours: Iterable[str], known: Spellings) -> None:
    """
    Refuse arguments of a person's that we set too.

    Args:
        ours: Flags that we set, or keep for us, in any spelling.
    Raises:
        ConflictingArgs: Names the argument as it was written, and the flag that it stands for.
    """
    if not args:
        return
    reserved = {canonical(flag, known) for flag in ours}
    for arg in args:
        flag, written = canonical(arg, known), arg.split("=", 1)[0]
        if flag == OPENS_A_FILE_OF_FLAGS:
            raise ConflictingArgs(f"spec.engine.args holds {written}, a file that may set what dedicated sets; give its flags one by one")
        if flag in reserved:
            meant = "" if flag == written else f" ({flag})"
            raise ConflictingArgs(f"spec.engine.args holds {written}{meant}, which dedicated sets itself")


def canonical(arg: str, known: Spellings) -> str:
    """The first spelling of the flag that this argument stands for; as it is written where no such flag is known."""
    if not arg.startswith("-"):
        return arg
    names, name = _by_spelling(known), _plain(arg)
    if name in names:
        return names[name]
    begun = {flag for spelling, flag in names.items() if spelling.startswith(name)} if len(name) > 1 else set()
    if len(begun) == 1:
        return begun.pop()
    return names.get(arg[:2], name) if not arg.startswith("--") else name


@cache
def _by_spelling(known: Spellings) -> dict[str, str]:
    return {spelling: flag[0] for flag in known for spelling in flag}


def _plain(arg: str) -> str:
    """A flag without its value and its key, with dashes."""
    name = arg.split("=", 1)[0]
    return "--" + name[2:].split(".", 1)[0].rstrip("+").replace("_", "-") if name.startswith("--") else name
