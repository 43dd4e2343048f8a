"""
Bringing weights from where they are nearest: the cache in S3, else the hub; and from the hub into the cache.

Theory of operation: the cache never makes a start worse. What it does not have, has wrong, or cannot hand out now, comes from the hub; what came
from the hub goes up beside the fetch. Nothing that came from the cache is kept before its digests were compared, and where the hub answers, also not
before the hub has said the same digests. Weights that are not public are handed out only to a token that opens them at the hub today, or did within a
day where the hub cannot be asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dedicated.adapters import boot
from dedicated.adapters.fetch import EXIT_PERMANENT, EXIT_RETRYABLE, PROGRESS_S, FetchRequest, Progress, fetch, leave_message, say_line
from dedicated.adapters.hub import HubClient
from dedicated.adapters.hub.token import key_of
from dedicated.adapters.object_store.download import Report, forget_unfinished
from dedicated.adapters.object_store.lease import TTL_S, Lease
from dedicated.adapters.weights_cache import Filling, Hit, WeightsCache
from dedicated.api.errors import CacheCorrupt, DedicatedError, HubUnavailable, ObjectStoreDenied, ObjectStoreUnavailable, Stalled, Transient
from dedicated.core.quantities import human_bytes
from dedicated.weights.fetched import Fetched, Tier
from dedicated.weights.keys import PUBLIC, Model, filter_name
from dedicated.weights.manifest import CachedFile
from dedicated.weights.repository import ModelInfo
from dedicated.weights.selection import RepoFile, Selection

HUB_S = 5.0
"""How long the hub is waited for where the cache could do without. (seconds)"""
HUB_AFTER_S = 1.0
"""How much longer, when all files are here already. (seconds)"""
POLL_S = 1.0
STANDSTILL_S = 300.0
"""How long one that fills the cache may make no progress before others stop waiting for it. (seconds)"""
_COMMIT = re.compile(r"[0-9a-f]{40}")
Say = Callable[[str], None]


def run(request: FetchRequest, cache: Callable[[], WeightsCache] | None) -> int:
    """Bring the weights, tell, and answer the exit code: 0, 1 where trying again may help, 3 where it cannot."""
    return last_words(lambda: asyncio.run(_run(request, cache, say_line)), request.termination_log)


def last_words(work: Callable[[], Fetched], termination_log: Path | None) -> int:
    """The exit code of a fetch; what it has to tell is left in the file."""
    try:
        done = work()
    except DedicatedError as failure:
        retryable = not isinstance(failure, Stalled)
        say_line(f"{failure.message} {failure.next_step}")
        if termination_log:
            leave_message(termination_log, failure, retryable)
        return EXIT_RETRYABLE if retryable else EXIT_PERMANENT
    if termination_log:
        with contextlib.suppress(OSError):
            termination_log.write_text(done.encoded())
    return 0


async def _run(request: FetchRequest, cache: Callable[[], WeightsCache] | None, say: Say) -> Fetched:
    return await bring(request, cache() if cache else None, say)


async def bring(request: FetchRequest, cache: WeightsCache | None, say: Say) -> Fetched:
    """
    Bring the wanted files into the directory.

    Raises:
        DedicatedError: Stalled where trying again cannot help, Transient where it may.
    """
    boot.distrust_what_another_boot_left(request.directory)
    began = time.monotonic()
    if cache is None or not _COMMIT.fullmatch(request.commit):
        chosen = await fetch(request, say)
        return Fetched(Tier.HUB, _bytes(chosen.files), time.monotonic() - began, {"hub": _bytes(chosen.files)})
    found = await _Bringing(request, cache, say).run()
    done = replace(found, seconds=time.monotonic() - began)
    say(f"{human_bytes(done.bytes)} from {done.tier.value} in {done.seconds:.1f} s, {human_bytes(done.bytes_per_s)}/s")
    return done


def _bytes(files: Sequence[RepoFile]) -> int:
    return sum(file.size for file in files)


@dataclass
class _Bringing:
    request: FetchRequest
    cache: WeightsCache
    say: Say
    trouble: DedicatedError | None = None
    """What the cache could not do."""
    _filling: Filling | None = None

    @property
    def model(self) -> Model:
        return Model(self.request.repo, self.request.commit, filter_name(self.request.engine, self.request.include, self.request.exclude))

    async def run(self) -> Fetched:
        hit = await self._found()
        if hit is not None and (done := await self._from_cache(hit)) is not None:
            return done
        return await self._from_hub()

    async def _found(self) -> Hit | None:
        try:
            return await asyncio.to_thread(self.cache.find, self.model)
        except DedicatedError as failure:
            self._note(failure)
            return None

    def _note(self, failure: DedicatedError) -> None:
        """The cache is of no use now: say so, and go on without it."""
        self.trouble = failure
        self.say(f"cache: {failure.reason}: {failure.message}")

    # from the cache

    async def _from_cache(self, hit: Hit) -> Fetched | None:
        """What came; None where the hub is to be asked for all of it."""
        if hit.keys.scope != PUBLIC:
            await self._check_token(hit)
        told = asyncio.create_task(self._told_by_hub())
        report = Report(hit.manifest.total_bytes)
        self.say(f"fetching {len(hit.manifest.files)} files, {human_bytes(report.total)}, of {hit.model.repo} from the cache")
        try:
            await self._watched(report, asyncio.to_thread(self.cache.read, hit, self.request.directory, report))
        except (ObjectStoreUnavailable, ObjectStoreDenied) as failure:
            told.cancel()
            self._note(failure)
            return None
        except BaseException:
            told.cancel()
            raise
        await asyncio.wait({told}, timeout=HUB_AFTER_S)
        disputed = await asyncio.to_thread(_disputed, hit, told.result() if told.done() else None, self.request.directory)
        told.cancel()
        if disputed:
            await self._reject(hit, disputed)
            return None
        await asyncio.to_thread(self.cache.touch, hit)
        sources = {"s3": report.received}
        if report.bad:
            sources["hub"] = await self._mend(hit, sorted(report.bad))
            self.trouble = CacheCorrupt(
                f"{len(report.bad)} files in the cache were wrong and came from the hub: {', '.join(sorted(report.bad)[:5])}."
            )
        reason, words = (self.trouble.reason, self.trouble.message) if self.trouble else (None, "")
        return Fetched(Tier.S3, report.total, 0.0, sources, True, reason, words)

    async def _watched(self, report: Report, work: Awaitable[None]) -> None:
        progress = Progress(report.total)

        async def tick() -> None:
            while True:
                await asyncio.sleep(PROGRESS_S)
                progress.done = report.done
                self.say(f"{progress.line()}, {report.streams} streams")

        ticker = asyncio.create_task(tick())
        try:
            await work
        finally:
            ticker.cancel()

    async def _reject(self, hit: Hit, disputed: list[str]) -> None:
        """Another content than the hub's: nothing of it stays."""
        self._note(CacheCorrupt(f"The cache's manifest of {hit.model.repo} differs from the hub in {', '.join(disputed[:5])}; it is not used."))
        for file in hit.manifest.files:
            (self.request.directory / file.path).unlink(missing_ok=True)
        with contextlib.suppress(DedicatedError):
            await asyncio.to_thread(self.cache.drop_ref, hit)

    async def _mend(self, hit: Hit, paths: list[str]) -> int:
        """Bring single files from the hub, and put them right in the cache. Answers their bytes."""
        self.say(f"cache: CacheCorrupt: {', '.join(paths)} in the cache is not what its digest says; fetching it from the hub")
        wanted = {file.path: file for file in hit.manifest.files if file.path in paths}
        only = tuple(RepoFile(file.path, file.size, file.sha256) for file in wanted.values())
        await fetch(self.request, self.say, only=only)
        for path, file in wanted.items():
            try:
                await asyncio.to_thread(self.cache.repair, hit.keys, file, self.request.directory / path)
                self.say(f"cache: {path} is right again")
            except DedicatedError as failure:
                self._note(failure)
        return sum(file.size for file in wanted.values())

    # what the hub says

    async def _told_by_hub(self) -> ModelInfo | None:
        """What the hub says of the model; None where it does not answer soon."""
        hub = HubClient(self.request.endpoint)
        try:
            async with asyncio.timeout(HUB_S):
                return await hub.info(self.request.asked())
        except (DedicatedError, TimeoutError):
            return None
        finally:
            await hub.close()

    async def _check_token(self, hit: Hit) -> None:
        """That the token opens the model: at the hub, or within a day where the hub cannot be asked. Raises what the hub refuses it with."""
        asked = self.request.asked()
        token_key = key_of(asked.token)
        hub = HubClient(self.request.endpoint)
        try:
            async with asyncio.timeout(HUB_S):
                await hub.span(asked, hit.manifest.files[-1].path, 0, 1)
            with contextlib.suppress(DedicatedError):
                await asyncio.to_thread(self.cache.note_access, hit.keys, hit.model, token_key)
        except (Transient, TimeoutError) as silent:
            if not await asyncio.to_thread(self.cache.had_access, hit.keys, hit.model, token_key):
                raise HubUnavailable(
                    f"The hub does not answer, and this token was not seen to open {hit.model.repo} within a day; the cache does not hand it out."
                ) from silent
            self.say("the hub does not answer; this token opened the model within the last day")
        finally:
            await hub.close()

    async def _is_public(self, files: Sequence[RepoFile]) -> bool:
        """Whether the content can be read without a token. That it can be listed proves nothing."""
        hub, probe = HubClient(self.request.endpoint), max(files, key=lambda file: file.size)
        try:
            async with asyncio.timeout(HUB_S):
                return bool(await hub.span(replace(self.request.asked(), token=None), probe.path, 0, 1))
        except (DedicatedError, TimeoutError):
            return False
        finally:
            await hub.close()

    # from the hub

    async def _from_hub(self) -> Fetched:
        """All files from the hub, and into the cache on the way; or from the cache, where another fills it meanwhile."""
        await asyncio.to_thread(forget_unfinished, self.request.directory)
        try:
            chosen = await fetch(self.request, self.say, before=self._before, whole=self._whole)
        except _CameMeanwhile as came:
            return came.fetched
        except BaseException:
            if self._filling:
                await asyncio.to_thread(self._filling.abandon)
            raise
        cached = await self._filled() if self._filling else False
        reason, words = (self.trouble.reason, self.trouble.message) if self.trouble else (None, "")
        return Fetched(Tier.HUB, _bytes(chosen.files), 0.0, {"hub": _bytes(chosen.files)}, cached, reason, words)

    async def _before(self, chosen: Selection) -> None:
        """Between knowing the files and fetching them: become the one that fills the cache, or wait for the one that does."""
        if isinstance(self.trouble, ObjectStoreUnavailable | ObjectStoreDenied):
            return
        keys = self.cache.keys(anonymous_read=await self._is_public(chosen.files))
        try:
            lease = await asyncio.to_thread(self.cache.lease, keys, self.model)
            if lease is None:
                self.say("cache: this server does not keep conditions of writes, so nobody is waited for")
            else:
                if not await asyncio.to_thread(lease.acquire):
                    lease = await self._wait_for(lease)
                await self._look_again(lease)
            self._filling = Filling(self.cache, keys, self.model, chosen.files, lease)
            await asyncio.to_thread(self._filling.begin)
            if keys.scope != PUBLIC:
                await asyncio.to_thread(self.cache.note_access, keys, self.model, key_of(self.request.asked().token))
        except (_GoOnAlone, DedicatedError) as failure:
            if isinstance(failure, DedicatedError):
                self._note(failure)
            if self._filling:
                await asyncio.to_thread(self._filling.abandon)
                self._filling = None

    async def _look_again(self, lease: Lease) -> None:
        """Now that the lease is ours: who had it may have finished since we looked. Raises _CameMeanwhile."""
        hit = await self._found() if self.trouble is None else None
        if hit is not None and (done := await self._from_cache(hit)) is not None:
            with contextlib.suppress(DedicatedError):
                await asyncio.to_thread(lease.release)
            raise _CameMeanwhile(done)

    async def _wait_for(self, lease: Lease) -> Lease:
        """
        Until the model is in the cache, or nobody fills it any more: then the lease is ours.

        Raises:
            _CameMeanwhile: It is there, and was brought.
            _GoOnAlone: Whoever fills it makes no progress.
        """
        seen, since = -1, time.monotonic()
        self.say("another start fetches the same model; waiting for it to be in the cache")
        while True:
            await asyncio.sleep(POLL_S)
            hit = await self._found()
            if hit is not None and (done := await self._from_cache(hit)) is not None:
                raise _CameMeanwhile(done)
            if self.trouble is not None:
                raise _GoOnAlone
            held = await asyncio.to_thread(lease.held)
            if held is None or held.age_s >= TTL_S:
                if await asyncio.to_thread(lease.acquire):
                    return lease
                continue
            if held.done != seen:
                seen, since = held.done, time.monotonic()
            elif time.monotonic() - since > STANDSTILL_S:
                raise _GoOnAlone

    def _whole(self, file: RepoFile, path: Path) -> None:
        if self._filling:
            self._filling.add(file, path)

    async def _filled(self) -> bool:
        assert self._filling
        try:
            manifest = await asyncio.to_thread(self._filling.finish)
        except DedicatedError as failure:
            self._note(failure)
            return False
        self.say(f"cache: {human_bytes(manifest.total_bytes)} of {self.model.repo} are in the cache ({self._filling.keys.scope})")
        return True


class _CameMeanwhile(Exception):
    def __init__(self, fetched: Fetched) -> None:
        super().__init__()
        self.fetched = fetched


class _GoOnAlone(Exception):
    """Fetch without filling."""


def _disputed(hit: Hit, info: ModelInfo | None, folder: Path) -> list[str]:
    """Files of which the hub says another size or digest than the cache. What the hub does not say is not disputed."""
    if info is None:
        return []
    told = {file.path: file for file in info.files}
    return [file.path for file in hit.manifest.files if _differs(file, told.get(file.path), folder / file.path)]


def _differs(file: CachedFile, said: RepoFile | None, path: Path) -> bool:
    if said is None or (said.sized and said.size != file.size) or said.sha256 not in (None, file.sha256):
        return True
    if said.git_sha1 is None or not path.exists():
        return False
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() != said.git_sha1
