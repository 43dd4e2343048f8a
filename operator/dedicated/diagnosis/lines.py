"""
A raw log tail -> lines that can be judged.

*Theory of operation.* What a container writes is seldom what the engine said: the runtime puts a timestamp before a line, compose a name, vLLM the
process (`(EngineCore_DP0 pid=7)`), torch the rank, a logger its level, and some loggers wrap it all in JSON. `clean` takes these layers off one after
the other and keeps what they tell (process and level), so that a rule sees the same text whoever carried it. Progress bars are runs of carriage
returns: of each run the last state is kept. Lines and the whole are bounded: nothing that a log says can cost more than `MAX_BYTES` of work.
"""

# ruff: noqa: E501 - a pattern cut in two is harder to read than a long line.
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_BYTES = 4 * 1024 * 1024
"""Of a longer log only the end is read. (bytes)"""
MAX_LINES = 20_000
"""Likewise. (lines)"""
MAX_LINE = 4000
"""Of a longer line the beginning and the end are kept. (characters)"""
_LINE_END = 1000
_MAX_LAYERS = 8


class Level(StrEnum):
    """How grave the writer thought it; NONE where it did not say."""

    NONE = ""
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Line:
    """One line without what carried it. `low` is the text in lower case; `stream` the process that wrote it, as far as the line tells."""

    text: str
    low: str
    level: Level = Level.NONE
    stream: str = ""
    carried: bool = False
    """Whether a logger or a runtime put something before it: what did not is a continuation, or print()."""


_LEVELS = {
    **dict.fromkeys(("debug", "info", "trace", "notice", "d", "i"), Level.INFO),
    **dict.fromkeys(("warning", "warn", "w"), Level.WARNING),
    **dict.fromkeys(("error", "critical", "fatal", "panic", "exception", "err", "e", "f"), Level.ERROR),
}
_ANSI = re.compile(r"\x1b\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BREAK = re.compile(r"\r?\n|\r")
_PROGRESS = re.compile(r"\d{1,3}%\s*(?:\||completed)|\d{1,3}%\|", re.IGNORECASE)

# What carries a line, outermost first; groups: level, stream. Forms: vllm/logger.py, sglang/srt/utils (configure_logger), TGI's tracing-subscriber,
# glog as in torch's c10, NCCL's debug.cc, uvicorn/logging.py, the CRI log format, docker compose, journald, llama.cpp's common/log.cpp (--log-prefix).
_CARRIERS: tuple[re.Pattern[str], ...] = tuple(
    re.compile(pattern)
    for pattern in (
        r"^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)\s+(?:std(?:out|err) [FP] )?",
        r"(?P<stream>[A-Za-z][\w./-]{0,63})\s{0,40}\| (?=\S)",
        r"\((?P<stream>[A-Za-z_][\w.:]{0,40}(?: rank=\d+| [\w=]{1,20})? pid=\d+(?:, ip=[\w.:]+)?)\) ?",
        r"\[(?P<stream>rank\d+)\]:?\s?",
        r"\[(?P<stream>[\w-]{1,20}\|)?(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)\] ",
        r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d (?:\[[^\]]{1,80}\]|[\w./-]+:\d+\]) ?",
        r"\[\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: (?P<stream>[A-Z]{2}\d+(?: [A-Z]{2}\d+)*))?\] ?(?:(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ]+)?",
        r"\[?(?P<level>[WEIF])\d{3,4} \d\d:\d\d:\d\d[.\d]* (?:\d+ )?[\w./-]+(?:\.\w+)?:\d+\] ?(?:\[PG[^\]]*\] ?)?",
        r"\d{4}[-/]\d\d[-/]\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:\d\d)?[ :]*(?:\| *|- *|\[)?(?:[\w.]+ - )?"
        r"(?:(?P<level>DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL|FATAL)\b\]?[ :|-]*)?",
        r" {0,2}(?P<level>INFO|WARN|ERROR|DEBUG) (?P<stream>text_generation\w*|shard-manager)[\w:]*(?:\{[^}]{0,400}\}:?[\w:]*(?:\{[^}]{0,400}\})?)*:? ?",
        r" {0,2}(?P<level>INFO|WARN|ERROR|DEBUG) [\w-]+(?:::[\w-]+)+: ",
        r"[\w./-]+\.rs:\d+: ",
        r"(?P<level>DEBUG|INFO|WARNING|ERROR|CRITICAL):(?:\s+|[\w.]+: ?)",
        r"[A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d [\w.-]+ [\w./@-]+\[\d+\]: ",
        r"(?P<stream>[\w.-]{1,80}:\d+:\d+) \[-?\d+\] (?=\S)",
        r"\[(?P<level>[WEIF]) [\w./-]+\.\w+:\d+\] ?",
        r"(?:\d+\.\d\d\.\d\d\d\.\d\d\d )?(?P<level>[IWED]) (?=[a-z]\w*(?::|  ?\w+:))",
        r"time=\S+ level=(?P<level>\w+) (?:source=\S+ )?",
        r"[>|] (?=\S)|[│┃║] ?",
    )
)
_TIMESTAMP = _CARRIERS[0]
_SAYS_WARNING = re.compile(r"(?:[\w./<>-]+:\d+: )?(?:[A-Z]\w*)?warning\b(?!\s{2})", re.IGNORECASE)


def clean(raw: bytes | str) -> list[Line]:
    """The lines of a log's end, oldest first, without empty ones."""
    found: list[Line] = []
    for text, level in _unwrapped(_texts(raw)):
        line = _line(text, level)
        bar = bool(_PROGRESS.search(line.text))
        if bar and found and _same_bar(found[-1], line):
            found[-1] = line
        elif line.low:
            found.append(line)
    return found


def _texts(raw: bytes | str) -> Iterator[str]:
    """Bounded text lines, without colours and control characters."""
    text = raw[-MAX_BYTES:].decode(errors="replace") if isinstance(raw, bytes) else raw[-MAX_BYTES:]
    for line in _BREAK.split(text)[-MAX_LINES:]:
        yield _CONTROL.sub("", _ANSI.sub("", _bounded(line))).rstrip()


def _bounded(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - _LINE_END]} ... {line[-_LINE_END:]}"


def _same_bar(before: Line, after: Line) -> bool:
    """Two states of one progress bar: the same words before the percentage."""
    return bool(_PROGRESS.search(before.text)) and before.text.split("%")[0].rstrip("0123456789 ") == after.text.split("%")[0].rstrip("0123456789 ")


def _unwrapped(texts: Iterator[str]) -> Iterator[tuple[str, Level]]:
    """Each text, with those of a JSON log line instead of the JSON."""
    for text in texts:
        inner = _TIMESTAMP.sub("", text, count=1)
        told = _json(inner) if inner.startswith("{") and inner.endswith("}") else None
        yield from _said(told) if told else ((text, Level.NONE),)


def _json(text: str) -> dict[str, Any] | None:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) and any(key in told for key in (*_MESSAGE_KEYS, "fields")) else None


_MESSAGE_KEYS = ("message", "msg", "log", "event", "text")
_LEVEL_KEYS = ("level", "levelname", "severity", "log_level")
_TRACE_KEYS = ("exc_info", "exc_text", "exception", "stack_trace", "traceback", "stack", "error")


def _said(told: dict[str, Any]) -> Iterator[tuple[str, Level]]:
    """What a JSON log line says: its message, then its traceback."""
    inner = told["fields"] if isinstance(told.get("fields"), dict) else told
    level = next((_LEVELS.get(str(told[key]).lower(), Level.NONE) for key in _LEVEL_KEYS if key in told), Level.NONE)
    for key in (*_MESSAGE_KEYS, *_TRACE_KEYS):
        value = inner.get(key)
        if isinstance(value, str):
            yield from ((_bounded(part).rstrip(), level) for part in _BREAK.split(value))


def _line(text: str, level: Level) -> Line:
    """Takes the carriers off."""
    stream, carried = "", level is not Level.NONE
    for _ in range(_MAX_LAYERS):
        found = next((match for carrier in _CARRIERS if (match := carrier.match(text))), None)
        if found is None or found.end() == 0:
            break
        told, carried = found.groupdict(), True
        level = _LEVELS.get((told.get("level") or "").lower(), level)
        stream = told.get("stream") or stream
        text = text[found.end() :]
    if level in (Level.NONE, Level.INFO, Level.WARNING) and _SAYS_WARNING.match(text):
        level = Level.WARNING
    return Line(text, text.strip().lower(), level, stream, carried)
