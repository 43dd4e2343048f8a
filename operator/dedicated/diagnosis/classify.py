"""
A log -> one cause, or none.

*Theory of operation.* Every line that fits a signature is a hit. Hits are then judged by what surrounds them:

1. of several starts in one log, the last one that tells anything counts;
2. a line that quotes a request, gives advice, or was logged as a warning is no error; a warning is believed only where something died and nothing
   else says why;
3. an engine that came up afterwards, or went on loading in the same process, survived what was complained about before;
4. an engine that serves fails by dying, or by an error that no server survives (`Cause.serving`); a request that it refuses is not its failure;
5. what comes after an order to stop is no failure;
6. of what is left the highest role wins, and of one role the earliest line: the first rank to fail takes the others with it. Where only exceptions
   are left, the one above the first wrapper.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from dedicated.diagnosis import causes, markers
from dedicated.diagnosis.causes import Cause
from dedicated.diagnosis.lines import Level, Line, clean
from dedicated.diagnosis.markers import Stage, stage
from dedicated.diagnosis.numbers import held_by_others
from dedicated.diagnosis.signatures import OOM_WHEREVER, SIGNATURES, Role, Signature

WANTED_LINES = 120
"""How far below an allocator's error the line stands that says for what the memory was wanted: a traceback lies between. (lines)"""
NEAR_LINES = 40
"""How far around a line its other half is looked for, such as the status code of a refused download. (lines)"""

_EXCEPTION = re.compile(r"^\s*(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Failure|Fault)(?::|\(|$)")
_NO_EXCEPTION = re.compile(r"(?:KeyboardInterrupt|SystemExit|CancelledError|GeneratorExit|StopIteration|StopAsyncIteration|HTTPException)\b")
_DETERMINISTIC = re.compile(r"(?:AttributeError|TypeError|KeyError|IndexError|NameError|NotImplementedError|AssertionError|SyntaxError|ValueError)\b")
"""The same program with the same request throws it again; what it throws while it starts, it throws at every start."""


_DIVIDES = re.compile(r"^assert .*% *[\w.()]*(?:tp|world|parallel|num_shards)")
"""A bare AssertionError says nothing; the line of code above it does."""
_THROWN = re.compile(r"^\s*(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception): ")
"""What was thrown, right below a frame: of compiled code a traceback quotes no line."""
_CODE = re.compile(r'raise \w|file "|(?:❱ )?\d+ │')


@dataclass(frozen=True)
class Hit:
    """A line that fits a row."""

    at: int
    line: Line
    cause: Cause
    role: Role


@dataclass(frozen=True)
class Verdict:
    """What a log proves. `certain` says that a line names the cause; otherwise something died and this line is the best that there is."""

    cause: Cause
    line: str
    context: tuple[str, ...]
    """The lines of the start that was judged, for the numbers in them."""
    certain: bool = False


@dataclass(frozen=True)
class Reading:
    """What a log tells: why its engine failed, if it did, and whether it was told to stop or came to serve."""

    verdict: Verdict | None = None
    stopped: bool = False
    served: bool = False


@lru_cache(maxsize=32)
def read(log: bytes | str, *, died: bool = False) -> Reading:
    """Judges a log. `died` says that the container is known to have failed, so that a warning may be the best explanation."""
    lines = clean(log)
    starts = _starts(lines)
    text = "\n".join(line.low for line in lines)
    present = [row for row in SIGNATURES if row.needle in text]
    for number, start in enumerate(reversed(starts)):
        found = _Start(start, present, died).reading()
        if found.verdict or found.served or found.stopped or (number == 0 and not died and _progressed(start)):
            return found
    return Reading()


def _starts(lines: list[Line]) -> list[list[Line]]:
    """The log, cut where a server starts; what stands before the first such line is one part too."""
    cuts = [at for at, line in enumerate(lines) if markers.BEGIN.search(line.low) and line.level is not Level.ERROR]
    edges = [0, *(at for at in cuts if at), len(lines)]
    return [part for begin, end in pairwise(edges) if (part := lines[begin:end])]


def _progressed(lines: Iterable[Line]) -> bool:
    return any(markers.PROGRESS.search(line.low) for line in lines)


class _Start:
    """One start of an engine, as its lines tell it."""

    def __init__(self, lines: Sequence[Line], rows: Sequence[Signature], died: bool) -> None:
        self._lines = lines
        self._rows = rows
        self._died = died
        self._quoted = _quoted(lines)
        self._progress = {line.stream: at for at, line in enumerate(lines) if markers.PROGRESS.search(line.low)}
        self._stages: list[Stage | None] = []
        self._known: dict[str, Signature | None] = {}
        self._up_at = self._last(markers.STARTED)
        served = self._first(markers.SERVED)
        if self._up_at < 0:
            self._up_at = served
        self.served = self._up_at >= 0
        self._hits, self._hints = self._judged()

    def _first(self, marker: re.Pattern[str]) -> int:
        return next((at for at, line in enumerate(self._lines) if marker.search(line.low) and not self._quoted[at]), -1)

    def _last(self, marker: re.Pattern[str], before: int | None = None) -> int:
        end = len(self._lines) if before is None else before
        return next((at for at in range(end - 1, -1, -1) if marker.search(self._lines[at].low) and not self._quoted[at]), -1)

    def reading(self) -> Reading:
        """The verdict by the rules above."""
        hits = [hit for hit in self._hits if hit.at > self._up_at and not self._survived(hit)]
        stop = self._first(markers.STOPPING)
        first = min((hit.at for hit in hits), default=len(self._lines))
        if 0 <= stop < first:
            return Reading(stopped=True, served=self.served)
        chosen = self._serving(hits) if self.served else self._starting(hits)
        return Reading(self._verdict(chosen, hits) if chosen else None, stop >= 0 and chosen is None, self.served)

    def _judged(self) -> tuple[list[Hit], list[Hit]]:
        """Errors, and what would explain one."""
        hits: list[Hit] = []
        hints: list[Hit] = []
        ignoring: set[str] = set()
        for at, line in enumerate(self._lines):
            if markers.IGNORED_EXCEPTION.search(line.low):
                ignoring.add(line.stream)
            if self._quoted[at] or self._is_code(at) or self._is_refusal(line) or (hit := self._hit(at, line)) is None:
                continue
            if hit.role is Role.EXCEPTION and line.stream in ignoring:
                ignoring.discard(line.stream)
                continue
            (hints if _harmless(hit) else hits).append(hit)
        return hits, hints

    def _is_refusal(self, line: Line) -> bool:
        return bool(markers.REFUSED.search(line.low) or (self.served and markers.ADAPTER_REFUSED.search(line.low)))

    def _is_code(self, at: int) -> bool:
        """A line of a program, as a traceback quotes it: its text is not what was thrown."""
        before = self._lines[at - 1] if at else None
        frame = before is not None and before.stream == self._lines[at].stream and before.low.startswith('file "')
        return (frame and not _THROWN.match(self._lines[at].text)) or bool(_CODE.match(self._lines[at].low))

    def _hit(self, at: int, line: Line) -> Hit | None:
        if row := self._row(line.low):
            return Hit(at, line, self._placed(at, row), row.role)
        if line.low == "assertionerror" and _DIVIDES.search(self._lines[at - 1].low if at else ""):
            return Hit(at, self._lines[at - 1], causes.PARALLELISM, Role.CAUSE)
        if _EXCEPTION.match(line.text) and not _NO_EXCEPTION.search(line.text):
            again = not self.served or _DETERMINISTIC.search(line.text)
            return Hit(at, line, causes.BROKEN if again else causes.EXITED, Role.EXCEPTION)
        return None

    def _row(self, text: str) -> Signature | None:
        """The first row that fits. Logs repeat themselves: each text is tried once."""
        if text not in self._known:
            self._known[text] = next((row for row in self._rows if row.needle in text and row.pattern.search(text)), None)
        return self._known[text]

    def _placed(self, at: int, row: Signature) -> Cause:
        """The row's cause, made exact by what stands around the line."""
        if row in OOM_WHEREVER:
            return self._out_of_memory(at)
        if row.cause is causes.GATED_DENIED and row.role is Role.SYMPTOM:
            return self._gated(at)
        if row.cause is causes.SIGKILLED and self._near(at, "liveness probe", "startup probe"):
            return causes.PROBE_KILLED
        if row.cause is causes.DISK_FULL and self._near(at, "shared_memory", "/dev/shm", "/psm_"):
            return causes.SHM
        return row.cause

    def _out_of_memory(self, at: int) -> Cause:
        if held_by_others(self._lines[at].low):
            return causes.GPU_BUSY
        serves = self.served and at > self._up_at
        return causes.GPU_OOM_SERVING if serves or self._stage(at) is Stage.RUNNING else causes.GPU_OOM_LOADING

    def _stage(self, at: int) -> Stage | None:
        if not self._stages:
            self._stages = _stages(self._lines)
        return self._stages[at]

    def _gated(self, at: int) -> Cause:
        """401 means that no token, or none that the hub knows, was sent; 403 that its account may not."""
        if self._near(at, "must be authenticated", "and be authenticated", "please log in", "401"):
            return causes.GATED_NO_TOKEN
        return causes.GATED_PENDING if self._near(at, "awaiting a review") else causes.GATED_DENIED

    def _near(self, at: int, *words: str) -> bool:
        around = self._lines[max(0, at - NEAR_LINES) : at + NEAR_LINES]
        return any(word in line.low for line in around for word in words)

    def _survived(self, hit: Hit) -> bool:
        """The same process went on loading."""
        return hit.role is not Role.WRAPPER and self._progress.get(hit.line.stream, -1) > hit.at

    def _starting(self, hits: list[Hit]) -> Hit | None:
        chosen = _best(hits)
        if chosen and chosen.role > Role.COLLATERAL:
            return chosen
        return _best(self._hints) or chosen if chosen or self._died else None

    def _serving(self, hits: list[Hit]) -> Hit | None:
        """What ends an engine that serves; where it died, whatever it said last."""
        death = next((hit for hit in hits if hit.role is Role.WRAPPER), None)
        if death or (self._died and hits):
            return _best(hits)
        fatal = [hit for hit in hits if hit.cause.serving and hit.role > Role.EXCEPTION]
        chosen = _best(fatal)
        return chosen if chosen and self._last(markers.SERVED) < chosen.at else None

    def _verdict(self, hit: Hit, hits: list[Hit]) -> Verdict:
        hit = _sharpened(hit, hits)
        text = tuple(line.text for line in self._lines)
        return Verdict(hit.cause, hit.line.text.strip(), text, certain=hit.role is Role.CAUSE)


def _harmless(hit: Hit) -> bool:
    if hit.line.level in (Level.WARNING, Level.INFO) or markers.FALLBACK.search(hit.line.low):
        return True
    return hit.role < Role.CAUSE and bool(markers.HARMLESS.search(hit.line.low))


def _best(hits: Sequence[Hit]) -> Hit | None:
    """Highest role, earliest line; of plain exceptions the one above the first wrapper."""
    if not hits:
        return None
    role = max(hit.role for hit in hits)
    ranked = [hit for hit in hits if hit.role is role]
    wrapper = next((hit.at for hit in hits if hit.role is Role.WRAPPER), None)
    if role is Role.EXCEPTION and wrapper is not None:
        return next((hit for hit in reversed(ranked) if hit.at < wrapper), ranked[0])
    return ranked[-1] if role is Role.EXCEPTION else ranked[0]


def _sharpened(chosen: Hit, hits: Sequence[Hit]) -> Hit:
    """An allocator that found no memory, and the line that says for what it was wanted: the second is the cause."""
    if chosen.cause not in (causes.GPU_OOM_LOADING, causes.GPU_OOM_SERVING):
        return chosen
    wanted_for = (causes.KV_TOO_SMALL, causes.GPU_OOM_SAMPLER, causes.GPU_OOM_GRAPHS, causes.HOST_OOM)
    after = [hit for hit in hits if chosen.at < hit.at <= chosen.at + WANTED_LINES]
    better = next((hit for hit in after if hit.cause in wanted_for and hit.role is Role.CAUSE), None)
    compute = next((hit for hit in after if hit.cause is causes.GPU_OOM_SERVING), None)
    return better or (replace(chosen, cause=compute.cause) if compute else chosen)


def _stages(lines: Sequence[Line]) -> list[Stage | None]:
    """What went on at each line, told by the nearest line above (of the same process where one tells), or by the first that tells."""
    by_stream: dict[str, Stage] = {}
    latest = next((told for line in lines if (told := stage(line.low))), None)
    found: list[Stage | None] = []
    for line in lines:
        if told := stage(line.low):
            by_stream[line.stream] = latest = told
        found.append(by_stream.get(line.stream, latest))
    return found


def _quoted(lines: Sequence[Line]) -> list[bool]:
    """Whether each line is somebody else's words: a request in a log, and the bare lines after it."""
    found: list[bool] = []
    inside = False
    for line in lines:
        if markers.QUOTING.search(line.low):
            inside = True
        elif line.carried:
            inside = False
        found.append(inside)
    return found
