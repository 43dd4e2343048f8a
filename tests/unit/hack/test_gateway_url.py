"""The one line that `make gateway-url` prints."""

from __future__ import annotations

import pytest

from hack.gateway_url import url
from hack.tools import ToolError

NODES = [{"status": {"addresses": [{"type": "Hostname", "address": "node"}, {"type": "InternalIP", "address": "198.18.0.2"}]}}]


def a_service(name="http", port=80, node_port=None, ingress=None):
    ports = [{"name": name, "port": port, **({"nodePort": node_port} if node_port else {})}]
    return {"spec": {"ports": ports}, "status": {"loadBalancer": {"ingress": ingress} if ingress else {}}}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        (a_service(node_port=30080), "http://198.18.0.2:30080"),
        (a_service("https", 443, 30443), "https://198.18.0.2:30443"),
        (a_service(node_port=30080, ingress=[{"ip": "203.0.113.7"}]), "http://203.0.113.7:80"),
        (a_service("https", 443, ingress=[{"hostname": "lb.example.com"}]), "https://lb.example.com:443"),
    ],
    ids=["a node port", "with a certificate", "a load balancer", "a load balancer with a name"],
)
def test_the_address_that_a_service_has_outside_its_cluster(service, expected):
    assert url(service, NODES) == expected


@pytest.mark.parametrize(("service", "nodes"), [(a_service(), NODES), (a_service(node_port=30080), [])], ids=["no port", "no node"])
def test_where_it_has_none_the_command_that_gives_it_one_is_named(service, nodes):
    with pytest.raises(ToolError, match="kubectl port-forward --namespace dedicated-system service/dedicated-gateway 8080:80"):
        url(service, nodes)
