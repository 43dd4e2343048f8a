"""
What a container wrote, as a person would have seen it: for the status and for recorded logs.

A terminal shows of each line what was written over it last, so of a run of carriage returns the last state is kept; colours and control characters
go; lines are bounded. Secrets are taken out before anything is cut: the other way round half a secret would pass.
"""

from __future__ import annotations

from dedicated.diagnosis.redact import redacted, tail

MAX_LINE = 2000
"""Characters; of a longer line the beginning and the end are kept."""
_END = 500
_LOOKED_AT = 32 * 1024
"""Characters at the end, from the beginning of a line: enough for any tail that is shown."""


def readable(text: str) -> str:
    """The text without secrets, colours, what was written over, and endless lines."""
    shown = "\n".join(_last_state(line) for line in text.split("\n"))
    return "\n".join(_bounded(line) for line in redacted(shown).split("\n"))


def shown_tail(text: str, limit: int) -> str:
    """The last whole lines that fit, readable; of a long text only the end is looked at. (limit: bytes of UTF-8)"""
    cut = text[-_LOOKED_AT:]
    begin = cut.find("\n") if len(text) > _LOOKED_AT else -1
    inside_a_key = "-----END" in cut and "-----BEGIN" not in cut
    return tail(readable(text if inside_a_key or (begin < 0 and len(text) > _LOOKED_AT) else cut[begin + 1 :]), limit)


def _last_state(line: str) -> str:
    if "\r" not in line:
        return line
    return next((part for part in reversed(line.split("\r")) if part), "")


def _bounded(line: str) -> str:
    line = line.rstrip()
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - _END]} ... {line[-_END:]}"
