"""`dedicated keys create|list|revoke`."""

from __future__ import annotations

import json
import secrets
import time
from typing import Annotated, Any

import typer

from dedicated import settings
from dedicated.api import apikey
from dedicated.cli.cluster import Context, ask
from dedicated.cli.exits import ExitCode, fail
from dedicated.cli.output import Output
from dedicated.core.clock import from_rfc3339, rfc3339
from dedicated.core.quantities import seconds

DAY_S = 86_400


Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="The system namespace.")]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="text or json.")]
keys = typer.Typer(name="keys", no_args_is_help=True, help="API keys of the gateway.")


@keys.command()
def create(
    owner: Annotated[str, typer.Option(help="Who calls with it.")],
    expires_in: Annotated[str | None, typer.Option(help="Such as 90d or 12h; by default it does not expire.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Make a key and show its secret, this once."""
    if not 0 < len(owner) <= apikey.MAX_OWNER:
        fail(f"--owner needs between 1 and {apikey.MAX_OWNER} characters.", ExitCode.USAGE)
    expires_at = _expiry(expires_in)
    secret = apikey.secret_from(secrets.token_bytes(40))
    manifest = apikey.manifest(secret, owner, namespace or settings.system_namespace(), expires_at)
    made = ask(context, lambda kube: kube.create(manifest), "key")
    name = str(made["metadata"]["name"])
    if output is Output.JSON:
        typer.echo(json.dumps({"name": name, "owner": owner, "key": secret, "expiresAt": expires_at}))
        return
    typer.echo(f"{name} of {owner}; the key is shown only now:", err=True)
    typer.echo(secret)


@keys.command(name="list")
def listed(
    owner: Annotated[str | None, typer.Option(help="Only those of this owner.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show keys, without their secrets."""
    found = ask(context, lambda kube: _all(kube, namespace or settings.system_namespace()), "key")
    rows = [_row(key) for key in found if owner in (None, key["spec"]["owner"])]
    if output is Output.JSON:
        typer.echo(json.dumps(rows))
        return
    typer.echo(f"{'NAME':43} {'OWNER':20} {'PREFIX':9} {'STATE':8} {'EXPIRES':21} LAST-USED")
    for row in rows:
        typer.echo(f"{row['name']:43} {row['owner']:20} {row['prefix']:9} {row['state']:8} {row['expiresAt'] or '-':21} {row['lastUsedTime'] or '-'}")


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Name of the key, or its secret.")],
    namespace: Namespace = None,
    context: Context = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Refuse a key from now on."""
    from dedicated.adapters.kinds import API_KEY

    name = apikey.object_name(apikey.hash_of(key)) if apikey.well_formed(key) else key
    where = namespace or settings.system_namespace()
    done = ask(context, lambda kube: kube.patch(API_KEY, where, name, {"spec": {"revoked": True}}), "key")
    typer.echo(json.dumps(_row(done)) if output is Output.JSON else f"{name} of {done['spec']['owner']} is revoked.")


def _expiry(expires_in: str | None) -> str | None:
    if expires_in is None:
        return None
    try:
        lasts_s = int(expires_in[:-1]) * DAY_S if expires_in.endswith("d") else seconds(expires_in)
    except ValueError:
        fail(f"--expires-in is '{expires_in}': write a duration such as 90d or 12h.", ExitCode.USAGE)
    return rfc3339(time.time() + lasts_s)


def _row(key: dict[str, Any]) -> dict[str, Any]:
    spec = key["spec"]
    expires_at = spec.get("expiresAt")
    expired = expires_at is not None and from_rfc3339(expires_at) <= time.time()
    return {
        "name": key["metadata"]["name"],
        "owner": spec["owner"],
        "prefix": spec["prefix"],
        "state": "revoked" if spec.get("revoked") else "expired" if expired else "active",
        "expiresAt": expires_at,
        "lastUsedTime": (key.get("status") or {}).get("lastUsedTime"),
    }


async def _all(kube: Any, namespace: str) -> list[dict[str, Any]]:
    from dedicated.adapters.kinds import API_KEY

    found: list[dict[str, Any]] = await kube.list(API_KEY, namespace=namespace)
    return found
