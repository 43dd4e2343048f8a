"""`dedicated logs NAME`: of the pod that there is, else what was recorded of one that is gone. Says on standard error which."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from dedicated.api import names
from dedicated.api.endpointlog import EndpointLogSpec, Moment, unpacked
from dedicated.cli.cluster import Context, Name, Namespace, ask, endpoint_of, namespace_of
from dedicated.cli.exits import ExitCode, fail
from dedicated.cli.output import Output, faint
from dedicated.diagnosis.tails import readable

Manifest = dict[str, Any]
LINES, BYTES = 2000, 4 * 1024 * 1024


@dataclass(frozen=True)
class Said:
    """A log, and whose. `source` is pod or record."""

    source: str
    pod: str
    container: str
    about: str
    text: str


def logs(
    name: Name,
    container: Annotated[str, typer.Option(help="Container: engine, or fetch for the weights.")] = names.ENGINE_CONTAINER,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the run before, the one that failed.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="text or json.")] = Output.TEXT,
) -> None:
    """Show an endpoint's log, also when its pod is gone. Exit code 0 there is one, 1 there is none, 2 usage, 3 cannot reach."""
    if follow and (previous or output is Output.JSON):
        fail("--follow goes with neither --previous nor -o json.", ExitCode.USAGE)
    where = namespace_of(namespace, context)
    if follow and ask(context, lambda kube: _follow(kube, where, name, container)):
        return
    found = ask(context, lambda kube: _said(kube, where, name, container, previous))
    if found is None:
        fail(f"There is no log of container {container}, neither of a pod nor recorded.", ExitCode.NO)
    if output is Output.JSON:
        typer.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    typer.echo(faint(found.about), err=True)
    typer.echo(found.text)


async def _said(kube: Any, namespace: str, name: str, container: str, previous: bool) -> Said | None:
    endpoint = await endpoint_of(kube, namespace, name)
    pod = newest(await _pods(kube, namespace, endpoint))
    if pod is not None:
        which = pod["metadata"]["name"]
        text = await kube.logs(namespace, which, container, previous=previous, lines=LINES, limit_bytes=BYTES)
        if text:
            run = "the run before" if previous else "the run that there is"
            return Said("pod", which, container, f"Pod {which}, container {container}, {run}:", readable(text).rstrip("\n"))
    return recorded_of(await _recorded(kube, namespace, endpoint), container, previous)


def recorded_of(found: list[EndpointLogSpec], container: str, previous: bool) -> Said | None:
    """The record that is meant: of the last failure, else (unless that was asked for) of the first readiness."""
    wanted = [Moment.FAILED] if previous else [Moment.FAILED, Moment.READY]
    ranked = sorted((one for one in found if one.container == container and one.moment in wanted), key=lambda one: wanted.index(one.moment))
    if not ranked:
        return None
    one = ranked[0]
    ended = f", ended {one.ended_at}" if one.ended_at else ""
    code = f" with exit code {one.exit_code}" if one.exit_code is not None else ""
    when = "the last failure" if one.moment is Moment.FAILED else "the first readiness"
    about = f"Recorded at {when}: pod {one.pod}, container {one.container}, attempt {one.attempt}{ended}{code}:"
    return Said("record", one.pod, one.container, about, unpacked(one.text).rstrip("\n"))


def newest(pods: list[Manifest]) -> Manifest | None:
    """The pod that is meant: one that answers, else the newest; none that goes."""
    live = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"] and (pod.get("status") or {}).get("phase") != "Pending"]
    return max(live, key=lambda pod: (_is_ready(pod), pod["metadata"].get("creationTimestamp", "")), default=None)


def _is_ready(pod: Manifest) -> bool:
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in (pod.get("status") or {}).get("conditions") or [])


async def _follow(kube: Any, namespace: str, name: str, container: str) -> bool:
    """Print what is written from now on; False where there is no pod."""
    pod = newest(await _pods(kube, namespace, await endpoint_of(kube, namespace, name)))
    if pod is None:
        return False
    which = pod["metadata"]["name"]
    typer.echo(faint(f"Pod {which}, container {container}, until it ends:"), err=True)
    async for line in kube.follow(namespace, which, container):
        typer.echo(readable(line))
    return True


async def _pods(kube: Any, namespace: str, endpoint: Manifest) -> list[Manifest]:
    from dataclasses import replace

    from dedicated.adapters.kinds import POD

    mine = replace(POD, selector=f"{names.LABEL_ENDPOINT_ID}={names.endpoint_id(endpoint['metadata']['uid'])}")
    found: list[Manifest] = await kube.list(mine, namespace=namespace)
    return found


def _recorded(kube: Any, namespace: str, endpoint: Manifest) -> Awaitable[list[EndpointLogSpec]]:
    from dedicated.adapters.records import recorded

    read: Callable[..., Awaitable[list[EndpointLogSpec]]] = recorded
    return read(kube, namespace, endpoint["metadata"]["name"], endpoint["metadata"]["uid"])
