"""`dedicated get [NAME]`: endpoints, one a line."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from dedicated.cli.cluster import Context, Namespace, ask, endpoint_of, namespace_of
from dedicated.cli.output import Output, coloured
from dedicated.core.clock import from_rfc3339
from dedicated.core.quantities import human_seconds

COLUMNS = ("NAMESPACE", "NAME", "PHASE", "REASON", "MODEL", "ACCELERATOR", "READY", "AGE")


def get(
    name: Annotated[str | None, typer.Argument(help="Name of one InferenceEndpoint; without it, all of the namespace.")] = None,
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    context: Context = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="text or json.")] = Output.TEXT,
) -> None:
    """Show endpoints: phase, reason, model, accelerator. Exit code 0 there are some, 1 there are none, 2 usage, 3 cannot reach."""
    from dedicated.adapters.kinds import ENDPOINT

    where = None if everywhere else namespace_of(namespace, context)

    async def found(kube: Any) -> list[dict[str, Any]]:
        return [await endpoint_of(kube, where or "", name)] if name else await kube.list(ENDPOINT, namespace=where)

    if name and everywhere:
        typer.echo("Give a name or --all-namespaces, not both.", err=True)
        raise typer.Exit(2)
    rows = sorted((row(endpoint) for endpoint in ask(context, found)), key=lambda one: (one["namespace"], one["name"]))
    if output is Output.JSON:
        typer.echo(json.dumps(rows, indent=2))
    elif rows:
        typer.echo(table(rows, time.time()))
    else:
        typer.echo("There is no endpoint.", err=True)
    if not rows:
        raise typer.Exit(1)


def _model(model: dict[str, Any]) -> str | None:
    """The repository, or the folder in S3."""
    found: str | None = (model.get("huggingFace") or {}).get("repo") or (model.get("s3") or {}).get("uri")
    return found


def row(endpoint: dict[str, Any]) -> dict[str, Any]:
    """What is told of one endpoint; absent where it is not known."""
    meta, spec, status = endpoint["metadata"], endpoint["spec"], endpoint.get("status") or {}
    ready: dict[str, Any] = next((one for one in status.get("conditions") or [] if one.get("type") == "Ready"), {})
    told = {
        "namespace": meta.get("namespace"),
        "name": meta.get("name"),
        "phase": status.get("phase"),
        "reason": ready.get("reason"),
        "message": ready.get("message"),
        "model": _model(spec.get("model") or {}),
        "accelerator": (status.get("plan") or {}).get("accelerator"),
        "ready": ready.get("status"),
        "id": status.get("id"),
        "created": meta.get("creationTimestamp"),
    }
    return {key: value for key, value in told.items() if value not in (None, "")}


def table(rows: list[dict[str, Any]], now: float) -> str:
    """Rows as a table. (now: seconds since the epoch)"""
    cells = [COLUMNS, *(_cells(one, now) for one in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], *(coloured(line, str(one.get("phase"))) for line, one in zip(lines[1:], rows, strict=True))])


def _cells(one: dict[str, Any], now: float) -> tuple[str, ...]:
    age = human_seconds(max(0.0, now - from_rfc3339(one["created"]))) if "created" in one else "-"
    return (*(str(one.get(key, "-")) for key in ("namespace", "name", "phase", "reason", "model", "accelerator", "ready")), age)
