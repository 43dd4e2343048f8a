"""python -m hack.gateway_url: print the gateway's address as this machine reaches it, in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from hack.cluster import context, tools
from hack.install import SYSTEM
from hack.tools import ToolError

SERVICE = "dedicated-gateway"


def url(service: dict[str, Any], nodes: list[dict[str, Any]]) -> str:
    """
    Of a Service with a load balancer its address, else a node's with the node port.

    Raises:
        ToolError: It is reached from inside the cluster only.
    """
    port = service["spec"]["ports"][0]
    balancers = service.get("status", {}).get("loadBalancer", {}).get("ingress") or []
    if balancers:
        return f"{port['name']}://{balancers[0].get('ip') or balancers[0]['hostname']}:{port['port']}"
    inside = [address["address"] for node in nodes for address in node["status"].get("addresses", []) if address["type"] == "InternalIP"]
    if not port.get("nodePort") or not inside:
        command = f"kubectl port-forward --namespace {SYSTEM} service/{SERVICE} 8080:{port['port']}"
        raise ToolError(f"The gateway has no address outside its cluster. This gives it one: {command}")
    return f"{port['name']}://{inside[0]}:{port['nodePort']}"


def main() -> int:
    """Print it; without a cluster or a gateway one sentence, and exit code 1."""
    try:
        kubectl = [str(tools.path("kubectl")), f"--kubeconfig={context.kubeconfig()}", "get", "--output=json"]
        found = subprocess.run([*kubectl, f"--namespace={SYSTEM}", "service", SERVICE], capture_output=True, text=True, check=False)
        if found.returncode:
            raise ToolError(f"There is no gateway in the cluster: make demo installs one. (kubectl: {found.stderr.strip()})")
        nodes = subprocess.run([*kubectl, "nodes"], capture_output=True, text=True, check=True)
        print(url(json.loads(found.stdout), json.loads(nodes.stdout)["items"]))
    except ToolError as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
