"""
`dedicated fetch --s3`: bring a model's files from a bucket of the user's own into a folder, at the objects that were resolved.

S3 tells no digest of an object that is worth the name, so a file is right when it has its size and every byte of it came under the ETag that was
resolved. What a killed run left unfinished is fetched anew; a file that has its name is whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dedicated.adapters import boot
from dedicated.adapters.fetch import PROGRESS_S, Progress
from dedicated.adapters.object_store.download import Report, Source, download, forget_unfinished
from dedicated.adapters.object_store.patience import patiently
from dedicated.adapters.s3_source import S3Source, changed_object, opened
from dedicated.api.endpoint import EngineKind
from dedicated.core.quantities import human_bytes
from dedicated.weights.fetched import Fetched, Tier
from dedicated.weights.manifest import PART_BYTES, CachedFile, in_order, part_count
from dedicated.weights.streams import MOST

Say = Callable[[str], None]


@dataclass(frozen=True)
class S3Request:
    """What is to be brought, from where to where. (keys: what the user's Secret holds)"""

    uri: str
    revision: str
    directory: Path
    engine: EngineKind = EngineKind.CUSTOM
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)


def bring(request: S3Request, say: Say) -> Fetched:
    """
    Bring the files that the engine needs into the directory.

    Raises:
        ModelChanged: The folder, or one of its objects, is no longer what was resolved.
        DedicatedError: Stalled where trying again cannot help, Transient where it may.
    """
    began = time.monotonic()
    boot.distrust_what_another_boot_left(request.directory)
    _forget_what_cannot_be_checked(request.directory)
    source = opened(request.uri, request.keys, request.engine, streams=MOST)
    patiently(lambda: source.demand(request.revision))
    wanted = _sources(source)
    report = Report(sum(one.file.size for one in wanted))
    say(f"fetching {len(wanted)} files, {human_bytes(report.total)}, of {request.uri}")
    with _told(report, say):
        download(source.store, wanted, request.directory, report=report, verify=False)
    if report.bad:
        raise changed_object(request.uri, list(report.bad))
    done = Fetched(Tier.S3, report.total, time.monotonic() - began, {Tier.S3.value: report.received})
    say(f"{human_bytes(done.bytes)} from {request.uri} in {done.seconds:.1f} s, {human_bytes(done.bytes_per_s)}/s")
    return done


def _sources(source: S3Source) -> list[Source]:
    """The files in the order in which an engine reads them; their parts have no digests."""
    files = [CachedFile(one.path, one.size, "", ("",) * part_count(one.size, PART_BYTES)) for one in source.chosen().files]
    return [Source(file, source.objects[file.path].key, source.objects[file.path].etag) for file in in_order(files)]


def _forget_what_cannot_be_checked(folder: Path) -> None:
    forget_unfinished(folder)
    for left in list(folder.rglob(f"*{boot.PARTIAL}")):
        left.unlink(missing_ok=True)


@contextmanager
def _told(report: Report, say: Say) -> Iterator[None]:
    """Says how it goes, at times."""
    over, progress = threading.Event(), Progress(report.total)

    def tell() -> None:
        while not over.wait(PROGRESS_S):
            progress.done = report.done
            say(f"{progress.line()}, {report.streams} streams")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
