"""Somebody else's words, fit for a message."""

from __future__ import annotations

from dedicated.diagnosis.redact import redacted

MAX_SENTENCE = 400
"""Characters of somebody else's words in a message."""


def first_sentence(text: str) -> str:
    """Somebody else's words as one sentence: on one line, redacted, bounded, with a full stop."""
    line = " ".join(redacted(text).split())
    if len(line) > MAX_SENTENCE:
        return line[: MAX_SENTENCE - 3] + "..."
    return line if not line or line[-1] in ".!?" else line + "."
