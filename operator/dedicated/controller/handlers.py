"""Every Kopf decorator, and nothing else: login, settings, and the events of endpoints."""

from __future__ import annotations

from typing import Any

from dedicated.adapters.credentials import Credentials
from dedicated.adapters.kinds import ENDPOINT
from dedicated.api.names import GROUP
from dedicated.controller.feed import Feed
from dedicated.controller.frame import kopf


class NothingToCompare(kopf.DiffBaseStorage):
    """Keeps no copy of a spec on the object: the operator never writes its objects' metadata."""

    def build(self, *, body: Any, extra_fields: Any = None) -> Any:
        """Nothing is kept."""
        return kopf.BodyEssence({})

    def fetch(self, *, body: Any) -> None:
        """Nothing was kept."""
        return

    def store(self, *, body: Any, patch: Any, essence: Any) -> None:
        """Nothing is kept."""


class NoProgress(kopf.ProgressStorage):
    """Keeps no handler progress on the object."""

    def fetch(self, *, key: Any, body: Any) -> None:
        """Nothing was kept."""
        return

    def store(self, *, key: Any, record: Any, body: Any, patch: Any) -> None:
        """Nothing is kept."""

    def purge(self, *, key: Any, body: Any, patch: Any) -> None:
        """Nothing was kept."""

    def touch(self, *, body: Any, patch: Any, value: Any) -> None:
        """Nothing is kept."""

    def clear(self, *, essence: Any) -> Any:
        """Nothing is to be cleared."""
        return essence


def configure(settings: kopf.OperatorSettings, watch_silence_s: float) -> None:
    """Kopf as a watch client: it writes nothing, and its tasks end when an object is quiet."""
    settings.persistence.diffbase_storage = NothingToCompare()
    settings.persistence.progress_storage = NoProgress()
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.queueing.idle_timeout = 0.1
    settings.watching.server_timeout, settings.watching.client_timeout = 600, 630
    settings.watching.inactivity_timeout = watch_silence_s
    settings.watching.chunk_size = 100
    settings.networking.connect_timeout, settings.networking.request_timeout = 10, 60
    settings.networking.error_backoffs = (1, 1, 2, 3, 5, 8, 13, 21)


def register(feed: Feed, credentials: Credentials, watch_silence_s: float) -> kopf.OperatorRegistry:
    """A registry of its own with every handler in it."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings, watch_silence_s)

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(credentials)

    @kopf.on.event(group=ENDPOINT.group, version=ENDPOINT.version, plural=ENDPOINT.plural, registry=registry)
    async def seen(event: Any, **_: Any) -> None:
        feed.seen(ENDPOINT, event["type"], event["object"])

    return registry


def connection(credentials: Credentials) -> kopf.ConnectionInfo:
    """The same API server, and the same we, for Kopf's watch; it asks again when the API server does not know us any more."""
    scheme, _, token = (credentials.authorization() or "").partition(" ")
    return kopf.ConnectionInfo(
        server=credentials.host,
        ca_path=credentials.ca_file,
        insecure=not credentials.verify or None,
        scheme=scheme or None,
        token=token or None,
        certificate_path=credentials.cert_file,
        private_key_path=credentials.key_file,
        proxy_url=credentials.proxy,
    )
