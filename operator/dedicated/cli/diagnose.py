"""`dedicated diagnose`: the cause of a failure from files alone, without a cluster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Annotated, Any, TypeVar

import typer
import yaml

from dedicated.cli.exits import ExitCode, fail
from dedicated.cli.output import Output
from dedicated.diagnosis.conclude import Conclusion, conclude
from dedicated.diagnosis.evidence import EventFacts, PodFacts
from dedicated.diagnosis.lines import MAX_BYTES

CHUNK = 1024 * 1024
MAX_MANIFEST = 16 * CHUNK
"""A larger --pod or --events is no manifest. (bytes)"""
T = TypeVar("T")


def diagnose(
    log: Annotated[str, typer.Option("--log", help="Log of the engine, or `-` for standard input. Of a long one the last 4 MiB are read.")],
    pod: Annotated[Path | None, typer.Option("--pod", help="Pod, PodStatus, or a fragment with containerStatuses (JSON or YAML).")] = None,
    events: Annotated[Path | None, typer.Option("--events", help="EventList of the pod (JSON or YAML).")] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="Form of the answer.")] = Output.TEXT,
) -> None:
    """Say why an engine failed: one cause from its log, its pod and its events."""
    found = conclude(_log(log), _pod(pod, events), _events(events))
    typer.echo(as_json(found) if output is Output.JSON else as_text(found))


def as_json(found: Conclusion) -> str:
    """For scripts; a reason of null means that nothing failed."""
    told = {
        "reason": found.reason,
        "retryable": found.retryable,
        "message": found.message,
        "nextStep": found.next_step,
        "evidence": list(found.evidence),
        "class": found.coarse,
    }
    return json.dumps(told, ensure_ascii=False, indent=2)


def as_text(found: Conclusion) -> str:
    """For people: cause, evidence, next step."""
    if found.reason is None:
        return found.message
    again = "it may succeed when it is tried again" if found.retryable else "trying it again changes nothing"
    evidence = [f"  {line}" for line in found.evidence] or ["  none"]
    return "\n".join(
        [f"{found.reason} ({found.coarse}): {found.message}", "", "Evidence", *evidence, "", f"Next: {found.next_step}", f"Again: {again}."]
    )


def _log(name: str) -> str:
    """The end of the log, whatever bytes are in it."""
    if name == "-":
        return _end_of(sys.stdin.buffer)
    try:
        with Path(name).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - MAX_BYTES))
            return _end_of(file)
    except OSError as why:
        fail(f"The log {name} cannot be read: {why.strerror}.", ExitCode.USAGE)


def _end_of(stream: IO[bytes]) -> str:
    kept = b""
    for chunk in _chunks(stream):
        kept = (kept + chunk)[-MAX_BYTES:]
    return kept.decode(errors="replace")


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk


def _pod(path: Path | None, events: Path | None) -> PodFacts | None:
    from dedicated.adapters import facts

    if path is None:
        return None
    told = _events(events)
    return _read(path, "pod", lambda found: facts.loose_pod(found, told))


def _events(path: Path | None) -> tuple[EventFacts, ...]:
    from dedicated.adapters import facts

    return _read(path, "event list", facts.events) if path else ()


def _read(path: Path, what: str, make: Callable[[Any], T]) -> T:
    """A manifest as facts, or one sentence."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_MANIFEST + 1)
    except OSError as why:
        fail(f"The {what} {path} cannot be read: {why.strerror}.", ExitCode.USAGE)
    if len(text) > MAX_MANIFEST:
        fail(f"The {what} {path} is larger than {MAX_MANIFEST // CHUNK} MiB.", ExitCode.USAGE)
    try:
        return make(_parsed(text))
    except (ValueError, yaml.YAMLError) as why:
        fail(f"The {what} {path} cannot be used: {' '.join(str(why).split())}.", ExitCode.USAGE)


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return yaml.safe_load(text)
