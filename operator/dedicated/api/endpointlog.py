"""
`EndpointLog`: the end of a container's log, kept beyond its pod. Owned by its endpoint, written by the operator alone.

An endpoint has at most two, with names that follow from its own: of the last failure, and of the first readiness of the revision that came up last.
So they are replaced, never piled up.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from enum import StrEnum
from typing import Literal

from pydantic import Field

from dedicated.api import names
from dedicated.api.schema import Schema

KIND = "EndpointLog"
PLURAL = "endpointlogs"
MAX_OBJECT = 16 * 1024
"""Bytes of a whole object."""
MAX_TEXT = 14 * 1024
"""Bytes of `spec.text`: what the other fields and the metadata leave."""
MAX_TOTAL = 256 * 1024 * 1024
"""Bytes of all EndpointLogs of a cluster; beyond it the oldest go."""
MAX_UNPACKED = 4 * 1024 * 1024
"""Bytes that are unpacked at most."""
_FIRST_GUESS = 160 * 1024
"""Bytes of log that are tried first; logs shrink to a tenth."""


class Moment(StrEnum):
    """When it was recorded."""

    FAILED = "failed"
    READY = "ready"


class EndpointLogSpec(Schema):
    """The end of one run's log, redacted."""

    moment: Moment = Field(description="failed: of the run that failed last; ready: of the run with which the revision first answered.")
    container: str = Field(max_length=63, description="Container that wrote it.")
    pod: str = Field(default="", max_length=253, description="Pod it ran in.")
    revision: str = Field(default="", max_length=63, description="Revision it belonged to.")
    attempt: int = Field(default=1, description="Which attempt to start the endpoint this was.")
    started_at: str | None = Field(default=None, description="When the run began.", json_schema_extra={"format": "date-time"})
    ended_at: str | None = Field(default=None, description="When it ended.", json_schema_extra={"format": "date-time"})
    exit_code: int | None = Field(default=None, description="Its exit code, where it ended.")
    encoding: Literal["gzip+base64"] = Field(default="gzip+base64", description="Form of text.")
    text: str = Field(max_length=MAX_TEXT, description="The last lines, compressed.")


def object_name(endpoint: str, uid: str, moment: Moment) -> str:
    """Name of an endpoint's log of this moment."""
    return names.child_name(endpoint, uid, f"log-{moment.value}")


def packed(text: str, limit: int = MAX_TEXT) -> str:
    """The last lines that fit, compressed; the same text always gives the same. (limit: bytes of the result)"""
    raw = text.encode(errors="replace")
    keep = min(len(raw), max(_FIRST_GUESS, limit))
    while True:
        made = base64.b64encode(gzip.compress(_last_lines(raw, keep), mtime=0))
        if len(made) <= limit:
            return made.decode()
        keep = min(keep - 1, int(keep * 0.95 * limit / len(made)))


def _last_lines(raw: bytes, keep: int) -> bytes:
    """Whole lines where there are any, and never half a character."""
    cut = raw[len(raw) - keep :]
    line_end = cut.find(b"\n") if keep < len(raw) else -1
    return (cut[line_end + 1 :] if 0 <= line_end < len(cut) - 1 else cut).decode(errors="ignore").encode()


def unpacked(text: str) -> str:
    """The lines of `spec.text`. Raises ValueError where it is not what it should be."""
    try:
        return zlib.decompressobj(wbits=31).decompress(base64.b64decode(text, validate=True), MAX_UNPACKED).decode(errors="replace")
    except zlib.error as wrong:
        raise ValueError(f"the log cannot be unpacked: {wrong}") from wrong
