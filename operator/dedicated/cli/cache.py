"""`dedicated cache ls|gc|verify|prefetch|evict`: looking after the bucket that caches weights. Which bucket is said by DEDICATED_S3_*."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from dedicated import settings
from dedicated.api.endpoint import EngineKind
from dedicated.api.errors import ApiUnavailable, DedicatedError, ObjectStoreDenied, ObjectStoreUnavailable, Transient
from dedicated.cli.exits import ExitCode, fail
from dedicated.cli.output import Output
from dedicated.core.quantities import human_bytes, human_seconds, quantity

if TYPE_CHECKING:
    from dedicated.adapters.object_store import ObjectStore
    from dedicated.adapters.weights_collect import Entry

Answer = TypeVar("Answer")
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text or json.")]
cache = typer.Typer(name="cache", no_args_is_help=True, help="The bucket that caches weights.")


@cache.command()
def ls(output: OutputOption = Output.TEXT) -> None:
    """Show the models that it holds."""
    from dedicated.adapters.weights_collect import Collector

    entries = _asking(lambda store: Collector(store).entries())
    if output is Output.JSON:
        typer.echo(json.dumps([_row(entry) for entry in entries]))
        return
    typer.echo(f"{'REPOSITORY':45} {'COMMIT':12} {'FILES':18} {'SCOPE':14} {'SIZE':>10} {'IDLE':>8}")
    for entry in entries:
        model, size = entry.model, human_bytes(entry.manifest.total_bytes) if entry.manifest else "broken"
        typer.echo(f"{model.repo:45} {model.commit[:12]:12} {model.filter:18} {entry.scope[:14]:14} {size:>10} {human_seconds(entry.idle_s):>8}")


def _row(entry: Entry) -> dict[str, object]:
    model, manifest = entry.model, entry.manifest
    said: dict[str, object] = {"repo": model.repo, "commit": model.commit, "filter": model.filter, "scope": entry.scope}
    said |= {"idleSeconds": int(entry.idle_s), "bytes": manifest.total_bytes if manifest else None}
    return {**said, "problem": entry.problem} if entry.problem else said


@cache.command()
def gc(
    budget: Annotated[str | None, typer.Option(help="Evict what was not used for longest until the rest fits, such as 2Ti.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Mark what nobody refers to, and remove what was marked a day ago. Safe while others read and write."""
    from dedicated.adapters.weights_collect import Collector

    limit = _budget(budget)
    in_use = _used_by_endpoints(context) if limit is not None else set()
    swept = _asking(lambda store: Collector(store).collect(budget_bytes=limit, in_use=in_use, dry_run=dry_run))
    if output is Output.JSON:
        said = {"evicted": swept.evicted, "marked": swept.marked, "removed": swept.removed, "removedBytes": swept.removed_bytes}
        typer.echo(json.dumps({**said, "forgotten": swept.forgotten}))
        return
    would = "would be " if dry_run else ""
    for key in swept.evicted:
        typer.echo(f"{would}evicted: {key}")
    typer.echo(f"{swept.removed} blobs ({human_bytes(swept.removed_bytes)}) {would}removed, {swept.marked} marked, {swept.forgotten} notes forgotten")


def _budget(text: str | None) -> int | None:
    try:
        return int(quantity(text)) if text else None
    except ValueError as bad:
        fail(f"--budget: {bad}", ExitCode.USAGE)


def _used_by_endpoints(context: str | None) -> set[tuple[str, str]]:
    """Repository and commit of every endpoint in the cluster."""

    async def listed() -> set[tuple[str, str]]:
        from dedicated.adapters.kinds import ENDPOINT
        from dedicated.adapters.kube import KubeApi

        kube = await KubeApi.connect(settings.kubeconfig(), context)
        try:
            found = await kube.list(ENDPOINT)
        finally:
            await kube.close()
        sources = [((one["spec"].get("model") or {}).get("huggingFace") or {}, (one.get("status") or {}).get("model") or {}) for one in found]
        return {(source["repo"], model.get("revision", "")) for source, model in sources if source}

    try:
        return asyncio.run(listed())
    except ApiUnavailable as lost:
        fail(f"With a budget the cluster is asked which models endpoints use, and it cannot be reached: {lost}", ExitCode.CANNOT_REACH)
    except DedicatedError as refused:
        fail(f"With a budget the cluster is asked which models endpoints use: {refused}", ExitCode.NO)


@cache.command()
def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Read all content and compare it with its digest.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Tell what is wrong; exits 1 where something is. The next start that meets it puts it right from the hub."""
    from dedicated.adapters.weights_collect import Collector

    found = _asking(lambda store: Collector(store).verify(deep=deep))
    if output is Output.JSON:
        typer.echo(json.dumps([{**_row(entry), "problem": problem} for entry, problem in found]))
    else:
        for entry, problem in found:
            typer.echo(f"{entry.model.repo} at {entry.model.commit[:12]} ({entry.scope}): {problem}")
        typer.echo(f"{len(found)} problems")
    raise typer.Exit(ExitCode.NO if found else ExitCode.OK)


@cache.command()
def prefetch(
    repo: Annotated[str, typer.Argument(help="Repository on the hub.")],
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    engine: Annotated[EngineKind, typer.Option(help="Engine kind: decides which files are needed.")] = EngineKind.VLLM,
    include: Annotated[list[str] | None, typer.Option(help="Globs of files to fetch.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Globs of files to leave out.")] = None,
    scratch: Annotated[Path | None, typer.Option(help="Folder with room for the model; a temporary one by default.")] = None,
) -> None:
    """Bring a model from the hub into the cache before anybody asks for it. The hub token is read from HF_TOKEN."""
    from dedicated.adapters.fetch import FetchRequest

    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        request = FetchRequest(
            endpoint=settings.hub_endpoint(),
            repo=repo,
            commit=revision,
            engine=engine,
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            directory=Path(folder),
            token=settings.hub_token(),
        )
        typer.echo(_asking(lambda store: asyncio.run(_prefetched(request, store))))


async def _prefetched(request: object, store: ObjectStore) -> str:
    from dataclasses import replace

    from dedicated.adapters import tiers
    from dedicated.adapters.fetch import FetchRequest
    from dedicated.adapters.hub import HubClient
    from dedicated.adapters.weights_cache import WeightsCache
    from dedicated.weights.keys import Model, filter_name

    assert isinstance(request, FetchRequest)
    hub = HubClient(request.endpoint)
    try:
        request = replace(request, commit=(await hub.info(request.asked())).commit)
    finally:
        await hub.close()
    cached = WeightsCache(store, settings.namespace_uid(), settings.holder())
    model = Model(request.repo, request.commit, filter_name(request.engine, request.include, request.exclude))
    if cached.find(model):
        return f"{model.repo} at {model.commit} is in the cache already"
    done = await tiers.bring(request, cached, typer.echo)
    if not done.cached:
        fail(f"{model.repo} is not in the cache: {done.message or 'its commit is not known'}", ExitCode.NO)
    return f"{model.repo} at {model.commit} is in the cache"


@cache.command()
def evict(
    repo: Annotated[str, typer.Argument(help="Repository.")],
    commit: Annotated[str | None, typer.Option(help="Only this commit.")] = None,
) -> None:
    """Forget a model; what no other refers to goes with the collections of the next days. Who reads it now is not disturbed."""
    from dedicated.adapters.weights_collect import Collector

    found = _asking(lambda store: Collector(store).evict(repo, commit))
    for entry in found:
        typer.echo(f"evicted {entry.model.repo} at {entry.model.commit} ({entry.scope})")
    if not found:
        fail(f"The cache holds no {repo}" + (f" at {commit}" if commit else ""), ExitCode.NO)


def _asking(ask: Callable[[ObjectStore], Answer]) -> Answer:
    """The answer of the bucket that the environment names."""
    location = settings.weights_location()
    if location is None:
        fail("DEDICATED_S3_BUCKET names no bucket; set it, and DEDICATED_S3_ENDPOINT where it is not on AWS.", ExitCode.USAGE)
    from dedicated.adapters.object_store import ObjectStore

    try:
        return ask(ObjectStore(location))
    except (ObjectStoreUnavailable, Transient) as lost:
        fail(f"{lost.message} {lost.next_step}", ExitCode.CANNOT_REACH)
    except (ObjectStoreDenied, DedicatedError) as refused:
        fail(f"{refused.message} {refused.next_step}", ExitCode.NO)
