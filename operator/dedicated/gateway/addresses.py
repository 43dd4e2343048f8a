"""Which addresses of an endpoint's EndpointSlices may be called. An address is refused rather than trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

GENERATED_NAME = 58
"""Characters of a pod's name that come from its owner's: 63 without a dash and five at random (k8s.io/apiserver names/generate.go)."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One pod. (address: host and port as Envoy reads them; serves: the kubelet found its engine healthy; goes: it is being removed)"""

    address: str
    pod: str
    serves: bool = True
    goes: bool = False


def networks(cidrs: Sequence[str]) -> tuple[Network, ...]:
    """Networks from their texts. Raises ValueError."""
    return tuple(ipaddress.ip_network(cidr) for cidr in cidrs)


def may_be_called(address: Address, allowed: Sequence[Network]) -> bool:
    """
    Whether an address lies in a network where pods are.

    Loopback, link-local, multicast and unspecified addresses are never pods: a wide network does not let them in, only one that is all of their kind,
    as an engine beside the gateway needs it.
    """
    return any(address in network and _special(network) == _special(address) for network in allowed if network.version == address.version)


def _special(where: Network | Address) -> bool:
    return where.is_loopback or where.is_link_local or where.is_multicast or where.is_unspecified or where.is_reserved


def replicas(slice_: dict[str, Any], allowed: Sequence[Network], port_name: str) -> Iterator[Replica]:
    """Pods of an EndpointSlice that lie where pods are, those that do not serve yet or no more among them."""
    port = next((port.get("port") for port in slice_.get("ports") or [] if port.get("name") == port_name), None)
    if port is None or slice_.get("addressType") not in ("IPv4", "IPv6"):
        return
    namespace = slice_["metadata"].get("namespace")
    for endpoint in slice_.get("endpoints") or []:
        pod = _pod_of(endpoint, namespace)
        if pod is None:
            continue
        conditions = endpoint.get("conditions") or {}
        serves, goes = bool(conditions.get("serving")), bool(conditions.get("terminating"))
        for text in endpoint.get("addresses") or []:
            if (address := _parsed(text)) is not None and may_be_called(address, allowed):
                yield Replica(f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}", pod, serves, goes)


def _pod_of(endpoint: dict[str, Any], namespace: str | None) -> str | None:
    """Name of the pod behind an address; nothing else in a slice is called."""
    ref = endpoint.get("targetRef") or {}
    return str(ref["name"]) if ref.get("kind") == "Pod" and ref.get("namespace") == namespace and ref.get("name") else None


def _parsed(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_named_after(pod: str, deployment: str) -> bool:
    """Whether a pod's name is one that a Deployment's ReplicaSet gives: a label alone can be anybody's."""
    return pod.startswith(f"{deployment}-"[:GENERATED_NAME])
