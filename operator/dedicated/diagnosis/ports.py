"""Where an engine says that it listens: another port than the one that is asked, or only for itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dedicated.diagnosis.lines import clean

# uvicorn, vllm entrypoints/launcher.py, llama.cpp tools/server, TGI router, gunicorn, Flask, and what engines of people's own say.
_LISTENS = re.compile(
    r"(?:\blisten(?:ing|s)?\b|\brunning on\b|\bserv(?:ing|es)\b|\bserver (?:is )?(?:up|started|ready|running)\b|\bapi server\b|\bstarted (?:on|at)\b)"
    r".{0,60}?"
    r"(?:(?:https?://)?(?P<host>\[[0-9a-f:]*\]|[a-z0-9.-]*):(?P<port>\d{2,5})\b|\bport\b[ :=]{1,3}(?P<named>\d{2,5})\b)"
)
_ITSELF_ONLY = {"127.0.0.1", "localhost", "[::1]"}


@dataclass(frozen=True)
class Listening:
    """What it said of itself."""

    port: int
    itself_only: bool
    line: str


def listening(log: str) -> Listening | None:
    """Where it listens, by the last line that says so."""
    for line in reversed(clean(log)):
        if found := _LISTENS.search(line.low):
            port = int(found["port"] or found["named"])
            if port <= 65535:
                return Listening(port, found["host"] in _ITSELF_ONLY, line.text.strip())
    return None
