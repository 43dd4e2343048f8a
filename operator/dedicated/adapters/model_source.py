"""Where one endpoint's model comes from, asked with the endpoint's own token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dedicated.adapters.hub import Hub, Token
from dedicated.adapters.kinds import SECRET
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.secrets import hub_token
from dedicated.adapters.store import Store
from dedicated.api import names
from dedicated.api.endpoint import EndpointSpec, HuggingFace, SecretKeyRef
from dedicated.api.errors import ModelNotFound, UnsupportedArchitecture, WeightsCorrupt
from dedicated.api.status import ModelStatus
from dedicated.planner import gguf, model_facts, stored
from dedicated.planner.model_facts import ModelFacts
from dedicated.weights.repository import Access
from dedicated.weights.selection import wanted_files


class ModelSource:
    """The model of one endpoint in one pass: its token is read at most once, and only where the hub is asked."""

    def __init__(self, hub: Hub, kube: KubeApi, store: Store, endpoint: Mapping[str, Any], spec: EndpointSpec) -> None:
        self._hub, self._kube, self._store, self._spec = hub, kube, store, spec
        self._namespace: str = endpoint["metadata"]["namespace"]
        self._annotations: Mapping[str, str] = endpoint["metadata"].get("annotations") or {}
        self._known_token: Token | None = None

    async def resolve(self, source_hash: str) -> ModelStatus:
        """The commit and the files that the spec stands for now. Raises what the hub refuses it with."""
        source = self._hugging_face()
        info = await self._hub.resolve(source.repo, source.revision, await self._token(), mark=self._mark())
        chosen = wanted_files(info.files, engine=self._spec.engine.kind, include=source.files.include, exclude=source.files.exclude)
        return ModelStatus(
            revision=info.commit,
            architecture=info.architecture,
            parameters=info.parameters,
            weight_bytes=chosen.weight_bytes,
            entry=chosen.entry,
            gated=bool(info.gated) if info.gated is not None else None,
            license=info.license,
            source_hash=source_hash,
        )

    async def prove(self, model: ModelStatus) -> Access:
        """That the model's files may be read, or that the hub does not tell. Raises what the hub refuses it with."""
        files = [model.entry] if model.entry else []
        return await self._hub.prove_access(self._hugging_face().repo, model.revision, await self._token(), files, mark=self._mark())

    async def facts(self, model: ModelStatus) -> ModelFacts | None:
        """
        What the planner needs, from the model's files at its commit; None where they do not tell.

        Raises what the hub refuses it with.
        """
        try:
            return await self._facts(self._hugging_face().repo, model, await self._token())
        except (UnsupportedArchitecture, WeightsCorrupt):
            return None

    async def _facts(self, repo: str, model: ModelStatus, token: Token | None) -> ModelFacts | None:
        if model.entry:
            header = await self._hub.gguf_header(repo, model.revision, model.entry, token, mark=self._mark())
            return gguf.of_metadata({**header.lengths, **header.values}, model.weight_bytes or 0)
        config = await self._hub.file_json(repo, model.revision, "config.json", token, mark=self._mark())
        if config is None:
            return None
        layers = model_facts.of_config(config).layers
        index = await self._hub.file_json(repo, model.revision, "model.safetensors.index.json", token, mark=self._mark())
        if index is not None:
            return model_facts.of_config(config, stored.of_index(index, model.weight_bytes or 0, layers))
        return model_facts.of_config(config, await self._of_one_file(repo, model, token, layers))

    async def _of_one_file(self, repo: str, model: ModelStatus, token: Token | None, layers: int) -> stored.Stored | None:
        """Weights without an index are one file, or none that tells."""
        try:
            header = await self._hub.safetensors_header(repo, model.revision, "model.safetensors", token, mark=self._mark())
        except ModelNotFound:
            return stored.Stored(model.weight_bytes, stored.Source.FILES) if model.weight_bytes else None
        tensors = {one.name: {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [0, one.size]} for one in header.tensors}
        return stored.of_headers([tensors], layers)

    def lacks_token(self) -> str | None:
        """The Secret that the spec names for the hub token, where the watch knows none such that is labelled for it."""
        ref = self._ref()
        if ref is None:
            return None
        found = self._store.named(SECRET, self._namespace, ref.name)
        labels = (found["metadata"].get("labels") or {}) if found else {}
        return None if labels.get(names.LABEL_USE) == names.USE_HUB_TOKEN else ref.name

    async def _token(self) -> Token | None:
        ref = self._ref()
        if ref and self._known_token is None:
            self._known_token = await hub_token(self._kube, self._namespace, ref, labelled=self.lacks_token() is None)
        return self._known_token

    def _ref(self) -> SecretKeyRef | None:
        return self._spec.model.token_secret_ref if self._spec.model else None

    def _hugging_face(self) -> HuggingFace:
        assert self._spec.model and self._spec.model.hugging_face
        return self._spec.model.hugging_face

    def _mark(self) -> str:
        """What a person has set to have the hub asked anew: no answer that others got before serves then."""
        return "/".join(self._annotations.get(mark, "") for mark in (names.ANNOTATION_REFRESH, names.ANNOTATION_RETRY)).strip("/")
