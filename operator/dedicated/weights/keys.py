"""
Where things are in the cache's bucket.

    <prefix>/v1/<scope>/blobs/<sha[:2]>/<sha256>              immutable, named by content
    <prefix>/v1/<scope>/manifests/<sha256>.json               immutable, named by content
    <prefix>/v1/<scope>/refs/<repo>/<commit>/<filter>.json    written last: it exists, so all that it leads to exists
    <prefix>/v1/<scope>/{intents,leases}/<repo>/<commit>/<filter>.json
    <prefix>/v1/<scope>/quarantine/<sha256>.json              a blob that was found to be wrong
    <prefix>/v1/<scope>/access/<repo>/<commit>/<token>.json   when this token was last seen to open the model
    <prefix>/v1/<scope>/marks.json                            what the collector has found unused, and since when
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dedicated.api.endpoint import EngineKind
from dedicated.core.quantities import stable_hash

SCHEMA = 1
PUBLIC = "public"
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BLOB = re.compile(r"blobs/[0-9a-f]{2}/([0-9a-f]{64})$")
_REF = re.compile(r"refs/(?P<repo>[^/]+(?:/[^/]+)?)/(?P<commit>[^/]+)/(?P<filter>[^/]+)\.json$")
_SCOPE = re.compile(r"v1/(?P<scope>public|n-[0-9a-f-]{36})/")


def scope_for(*, anonymous_read: bool, namespace_uid: str) -> str:
    """
    Who shares the weights: everybody where a read of their content without any token has succeeded, else the endpoint's namespace.

    The namespace goes by its UID, which nobody can choose: one that is made again under an old name does not inherit.

    Raises:
        ValueError: The UID is none.
    """
    if anonymous_read:
        return PUBLIC
    if not _UID.fullmatch(namespace_uid):
        raise ValueError(f"'{namespace_uid}' is not the UID of a namespace")
    return f"n-{namespace_uid}"


def filter_name(engine: EngineKind, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> str:
    """Names the rule by which files are chosen; engines that choose alike share it."""
    form = {EngineKind.LLAMACPP: "gguf", EngineKind.CUSTOM: "all"}.get(engine, "one-form")
    if not include and not exclude:
        return form
    return f"{form}-{stable_hash({'include': sorted(set(include)), 'exclude': sorted(set(exclude))})}"


@dataclass(frozen=True)
class Model:
    """Which files are meant: a repository, its commit, and the rule by which its files are chosen."""

    repo: str
    commit: str
    filter: str

    @property
    def path(self) -> str:
        """As part of a key."""
        return f"{self.repo}/{self.commit}/{self.filter}"


@dataclass(frozen=True)
class Keys:
    """Keys of one scope below a prefix."""

    prefix: str
    scope: str

    @property
    def root(self) -> str:
        """What all keys of the scope begin with."""
        return f"{root(self.prefix)}{self.scope}/"

    def blob(self, sha256: str) -> str:
        """Content."""
        return f"{self.root}blobs/{sha256[:2]}/{sha256}"

    def manifest(self, digest: str) -> str:
        """What a model consists of."""
        return f"{self.root}manifests/{digest}.json"

    def ref(self, model: Model) -> str:
        """The mark that a model is complete."""
        return f"{self.root}refs/{model.path}.json"

    def lease(self, model: Model) -> str:
        """Who is filling it."""
        return f"{self.root}leases/{model.path}.json"

    def intent(self, model: Model, holder: str) -> str:
        """What a writer is about to use: the collector keeps its hands off."""
        return f"{self.root}intents/{model.path}/{holder}.json"

    def quarantine(self, sha256: str) -> str:
        """The mark that a blob was found to be wrong."""
        return f"{self.root}quarantine/{sha256}.json"

    def access(self, model: Model, token_key: str) -> str:
        """When a token was last seen to open the model."""
        return f"{self.root}access/{model.repo}/{model.commit}/{token_key}.json"

    @property
    def marks(self) -> str:
        """What the collector has found unused."""
        return f"{self.root}marks.json"


def root(prefix: str) -> str:
    """What all keys below a prefix begin with."""
    clean = prefix.strip("/")
    return f"{clean}/v1/" if clean else "v1/"


def blob_of(key: str) -> str | None:
    """The sha256 that a blob's key names; None for other keys."""
    found = _BLOB.search(key)
    return found[1] if found else None


def model_of(key: str) -> Model | None:
    """The model that a ref's key names; None for other keys."""
    found = _REF.search(key)
    return Model(found["repo"], found["commit"], found["filter"]) if found else None


def scope_of(key: str) -> str | None:
    """The scope that a key lies in."""
    found = _SCOPE.search(key)
    return found["scope"] if found else None
