"""What the installation decides, once for all endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dedicated.api import names
from dedicated.api.endpoint import EngineKind
from dedicated.api.s3 import S3Location


@dataclass(frozen=True)
class Platform:
    """Images, the hub, and the ranges that engine pods may not reach."""

    fetch_image: str
    """The image of `dedicated` itself: its `fetch` command brings the weights."""
    engine_images: Mapping[EngineKind, str] = field(default_factory=dict)
    """Default image per kind of engine; a kind that is absent has none."""
    hub_endpoint: str = "https://huggingface.co"
    startup_base_s: float = 600.0
    """Startup budget of an engine without weights. (seconds)"""
    system_namespace: str = "dedicated-system"
    blocked_cidrs: tuple[str, ...] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16")
    """Ranges that engine pods must not reach: cluster, API server, link-local."""
    extra_egress: tuple[dict[str, Any], ...] = ()
    """NetworkPolicyPeers that engine pods may reach all the same, such as a hub inside the cluster."""
    source_endpoints: tuple[str, ...] = ()
    """S3 servers besides AWS that `spec.model.s3` may be read from; that of the cache is one of them anyway. (URLs)"""
    weights: S3Location | None = None
    """The bucket that caches weights; None where there is none."""
    weights_credentials: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Variables with the credentials for it; empty where the pods' service account is trusted by the bucket."""
    engine_account_annotations: tuple[tuple[str, str], ...] = ()
    """Annotations of the service account of engine pods, such as the role that may use the bucket."""
    gateway_url: str = ""
    """Where applications reach the gateway; empty where that is not known."""
    claims: bool = False
    """Whether accelerators are asked for by claims (resource.k8s.io/v1) instead of extended resources; the operator finds out at its start."""
    definition_uid: str = ""
    """UID of the CustomResourceDefinition of endpoints, as the operator finds it at its start."""

    def ownership(self) -> dict[str, Any]:
        """Metadata of what belongs to no single endpoint: it goes with the custom resource, also where no operator is left to remove it."""
        if not self.definition_uid:
            return {}
        owner = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "name": names.CRD_NAME, "uid": self.definition_uid}
        return {"ownerReferences": [owner]}
