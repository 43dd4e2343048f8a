"""The kinds that are read or written, and their paths on the API server."""

from __future__ import annotations

from dataclasses import dataclass

from dedicated.api import accelerator, endpointlog, names


@dataclass(frozen=True)
class Kind:
    """A kind of object. `selector` limits what is listed and watched, `within` to one namespace; of `metadata_only` kinds nothing else is sent."""

    name: str
    api_version: str
    plural: str
    namespaced: bool = True
    selector: str | None = None
    metadata_only: bool = False
    within: str | None = None

    @property
    def group(self) -> str:
        """API group; empty for core."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """API version without its group."""
        return self.api_version.rpartition("/")[2]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, or of one object, or of its subresource."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        namespace = namespace or self.within
        parts += ["namespaces", namespace] if self.namespaced and namespace else []
        parts += [self.plural, *(part for part in (name, subresource) if part)]
        return "/".join(parts)


ENDPOINT = Kind(names.KIND, names.API_VERSION, names.PLURAL)
ACCELERATOR_CLASS = Kind(accelerator.KIND, names.API_VERSION, accelerator.PLURAL, namespaced=False)
DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments", selector=names.LABEL_ENDPOINT_ID)
REPLICA_SET = Kind("ReplicaSet", "apps/v1", "replicasets", selector=names.LABEL_ENDPOINT_ID, metadata_only=True)
POD = Kind("Pod", "v1", "pods", selector=names.LABEL_ENDPOINT_ID)
SERVICE = Kind("Service", "v1", "services", selector=names.LABEL_ENDPOINT_ID)
SECRET = Kind("Secret", "v1", "secrets", selector=names.LABEL_USE, metadata_only=True)
BUDGET = Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", selector=names.LABEL_ENDPOINT_ID)
SERVICE_ACCOUNT = Kind("ServiceAccount", "v1", "serviceaccounts", selector=f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}")
NETWORK_POLICY = Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies", selector=f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}")
NODE = Kind("Node", "v1", "nodes", namespaced=False)
ANY_POD = Kind("Pod", "v1", "pods")
"""Pods of anybody: what they take of a node."""
NODE_POOL = Kind("NodePool", "karpenter.sh/v1", "nodepools", namespaced=False)
CLAIM_TEMPLATE = Kind("ResourceClaimTemplate", "resource.k8s.io/v1", "resourceclaimtemplates", selector=names.LABEL_ENDPOINT_ID)
DEVICE_CLASS = Kind("DeviceClass", "resource.k8s.io/v1", "deviceclasses", namespaced=False)
EVENT = Kind("Event", "v1", "events")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
NAMESPACE = Kind("Namespace", "v1", "namespaces", namespaced=False, metadata_only=True)
ENDPOINT_SLICE = Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", selector=names.LABEL_ENDPOINT_ID)
API_KEY = Kind(names.KEY_KIND, names.API_VERSION, names.KEY_PLURAL)
ENDPOINT_LOG = Kind(endpointlog.KIND, names.API_VERSION, endpointlog.PLURAL)
CRD = Kind("CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)

WATCHED = (ENDPOINT, ACCELERATOR_CLASS, DEPLOYMENT, REPLICA_SET, POD, SERVICE, SECRET, BUDGET, SERVICE_ACCOUNT, NETWORK_POLICY, NODE)
CHILDREN = tuple(kind for kind in WATCHED if kind is not ENDPOINT)
BY_NAME = {kind.name: kind for kind in (*WATCHED, CLAIM_TEMPLATE, EVENT, LEASE, ENDPOINT_SLICE, API_KEY, ENDPOINT_LOG, CRD)}
