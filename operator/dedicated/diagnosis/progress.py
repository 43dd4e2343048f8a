"""
Whether a start goes on: when an engine last said something that it had not said before.

A start is slow in many ways (a large model, a first compilation, a cold disk), and hangs in one: nothing new is said. Words of waiting, however often
and with whatever numbers, are nothing new. Lines carry the kubelet's own timestamps, so nobody need remember what the log was like before.
"""

from __future__ import annotations

import re

from dedicated.core.clock import from_rfc3339
from dedicated.diagnosis.lines import clean

_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z ")
_ELAPSED = re.compile(r"\d+:\d\d(?::\d\d)?|\d+(?:\.\d+)? ?(?:ms|s|sec|seconds|it/s|s/it)\b|\?it/s")
_NOTHING_NEW = re.compile(
    r"\bwait(?:s|ing|ed)?\b|\bstill\b|\bheartbeat\b|\bno available shared memory\b|\bretr(?:y|ies|ying)\b|\bpolling\b|\balive\b"
    r"|http/1\.[01]\"|throughput: "
)
"""Of vLLM (`No available shared memory broadcast block found`, `Waiting for 1 local core engine proc(s)`), uvicorn's access log, and others."""


def stamped(log: str) -> tuple[str, float | None]:
    """The log without the kubelet's timestamps, and when it last said something new (seconds since the epoch; None where it never did)."""
    said: set[str] = set()
    lines, newest = [], None
    for line in log.split("\n"):
        stamp = _STAMP.match(line)
        text = line[stamp.end() :] if stamp else line
        lines.append(text)
        news = [told for told in _told(text) if told not in said and not _NOTHING_NEW.search(told)]
        said.update(news)
        if stamp and news:
            newest = from_rfc3339(stamp[1] + "Z")
    return "\n".join(lines), newest


def _told(text: str) -> list[str]:
    """What a line says, without what carries it and without how long it took so far."""
    return [_ELAPSED.sub("", line.low) for line in clean(text)]
