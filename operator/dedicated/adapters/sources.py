"""Where one endpoint's model comes from: a hub, or a bucket of the user's own."""

from __future__ import annotations

from typing import Protocol

from dedicated.adapters.model_source import ModelSource
from dedicated.adapters.s3_model import S3Model
from dedicated.adapters.view import Clients, EndpointView
from dedicated.api.status import ModelStatus
from dedicated.planner.model_facts import ModelFacts
from dedicated.weights.repository import Access


class Source(Protocol):
    """What a pass asks of it. Each call raises what it is refused with."""

    async def resolve(self, source_hash: str) -> ModelStatus:
        """The revision and the files that the spec stands for now."""

    async def prove(self, model: ModelStatus) -> Access:
        """That the model's files may be read."""

    async def facts(self, model: ModelStatus) -> ModelFacts | None:
        """What the planner needs; None where the files do not tell."""

    def lacks_token(self) -> str | None:
        """The Secret with the hub token that the spec names, where there is none."""


def source_of(clients: Clients, view: EndpointView) -> Source:
    """That of one endpoint, for one pass."""
    source = view.spec.model.s3 if view.spec.model else None
    if source is None:
        return ModelSource(clients.hub, clients.kube, clients.store, view.raw, view.spec)
    return S3Model(clients.kube, clients.store, view.meta["namespace"], source, view.spec.engine.kind, clients.platform)
