"""A verdict in words: what happened, with the numbers of the log; what to do about it; and the lines that prove it."""

from __future__ import annotations

from typing import NamedTuple

from dedicated.diagnosis.classify import Verdict
from dedicated.diagnosis.numbers import told
from dedicated.diagnosis.redact import redacted
from dedicated.diagnosis.words import first_sentence

MAX_EVIDENCE_LINE = 500
"""Characters of a line of evidence; the status takes 512."""


class Explained(NamedTuple):
    """Ready for a person; nothing in it must be hidden any more."""

    message: str
    next_step: str
    evidence: tuple[str, ...]


def explain(verdict: Verdict) -> Explained:
    """The cause's sentence, then the numbers, or what the engine itself said."""
    cause = verdict.cause
    numbers = told(cause.coarse, verdict.line, verdict.context)
    said = numbers.sentence or (f"It said: {first_sentence(verdict.line)}" if verdict.line else "")
    step = numbers.next_step or cause.next_step
    evidence = (shortened(verdict.line, MAX_EVIDENCE_LINE),) if verdict.line else ()
    return Explained(redacted(f"{cause.sentence} {said}".strip()), step, evidence)


def shortened(text: str, limit: int) -> str:
    """On one line, redacted, then bounded: what is hidden is not cut in half."""
    line = " ".join(redacted(text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
