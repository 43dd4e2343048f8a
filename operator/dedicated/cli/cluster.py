"""What commands that ask a cluster share: the connection, the namespace, and errors as one sentence and an exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dedicated import settings
from dedicated.api.errors import ApiNotFound, ApiUnavailable, DedicatedError
from dedicated.cli.exits import ExitCode, fail

if TYPE_CHECKING:
    from dedicated.adapters.kube import KubeApi

Answer = TypeVar("Answer")
Name = Annotated[str, typer.Argument(help="Name of the InferenceEndpoint.")]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Its namespace; without it, that of the kubeconfig's context.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]


def ask(context: str | None, work: Callable[[KubeApi], Awaitable[Answer]], what: str = "endpoint") -> Answer:
    """Do something with the cluster. Exit code 1 where it refuses, or knows no such thing (`what`); 3 where it cannot be reached."""
    try:
        return asyncio.run(_connected(context, work))
    except ApiUnavailable as lost:
        fail(f"The cluster cannot be reached: {lost}", ExitCode.CANNOT_REACH)
    except ApiNotFound:
        fail(f"There is no such {what} in that namespace, or the chart dedicated-crds is not installed.", ExitCode.NO)
    except DedicatedError as refused:
        fail(f"The cluster refuses: {refused}", ExitCode.NO)


def namespace_of(namespace: str | None, context: str | None) -> str:
    """The namespace that is meant."""
    from dedicated.adapters.credentials import default_namespace

    return namespace or default_namespace(settings.kubeconfig(), context)


async def _connected(context: str | None, work: Callable[[KubeApi], Awaitable[Answer]]) -> Answer:
    from dedicated.adapters.kube import KubeApi

    kube = await KubeApi.connect(settings.kubeconfig(), context, agent="dedicated-cli")
    try:
        return await work(kube)
    finally:
        await kube.close()


async def endpoint_of(kube: KubeApi, namespace: str, name: str) -> dict[str, Any]:
    """The endpoint. Raises ApiNotFound."""
    from dedicated.adapters.kinds import ENDPOINT

    return await kube.get(ENDPOINT, namespace, name)
