"""etcd and an API server, with real storage, admission and watches but no kubelet: ready in seconds, needs no root. With controllers if asked."""

from __future__ import annotations

import ssl
import subprocess
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from hack.cluster import tools
from hack.cluster.pki import Pair, Pki
from hack.cluster.processes import free_port, start, wait_until
from hack.tools import ToolError

READY_S = 60.0
SERVICE_CIDR = "10.96.0.0/16"
AUDIT_POLICY = """apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
"""


@dataclass
class ControlPlane:
    """A running control plane; `stop` ends it."""

    folder: Path
    server: str
    kubeconfig: Path
    audit_log: Path
    pki: Pki
    admin: Pair
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def stop(self) -> None:
        """Kill everything; the data stays in the folder."""
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def __enter__(self) -> ControlPlane:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_control_plane(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    port: int | None = None,
    controllers: bool = False,
    scheduler: bool = False,
    kubelet_client: bool = False,
) -> ControlPlane:
    """
    Start etcd and an API server, both killed by the kernel when this process dies.

    Args:
        folder: Where certificates, data and logs go.
        address: What the API server listens on and advertises.
        controllers: Run kube-controller-manager too.
        scheduler: Run kube-scheduler too; nodes for it come from hack.cluster.kwok.start_kwok.
        kubelet_client: Give the API server a client certificate for kubelets.
    Raises:
        ToolError: It did not become ready; the message holds the end of its log.
    """
    port = port or free_port()
    pki = Pki(folder / "pki")
    admin = pki.issue("admin", "dedicated-admin", "system:masters")
    serving = pki.issue("apiserver", "kube-apiserver", addresses=["127.0.0.1", address, "10.96.0.1", "localhost", "kubernetes.default.svc"])
    etcd_port = free_port()
    plane = ControlPlane(folder, f"https://{address}:{port}", folder / "kubeconfig", folder / "audit.log", pki, admin)
    plane.processes.append(_etcd(folder, etcd_port))
    command = _apiserver(plane, pki, serving, f"http://127.0.0.1:{etcd_port}", address, port)
    if kubelet_client:
        client = pki.issue("apiserver-kubelet", "kube-apiserver", "system:masters")
        command += [f"--kubelet-client-certificate={client.cert}", f"--kubelet-client-key={client.key}"]
    plane.processes.append(start("kube-apiserver", command, folder / "logs" / "kube-apiserver.log", die_with_us=True))
    pki.kubeconfig(plane.kubeconfig, plane.server, admin)
    if not wait_until(lambda: is_ready(plane), READY_S, 0.1):
        plane.stop()
        tail = (folder / "logs" / "kube-apiserver.log").read_text(errors="replace").splitlines()[-15:]
        raise ToolError("The API server did not become ready; the end of its log:\n" + "\n".join(tail))
    if controllers:
        plane.processes.append(start_controllers(plane))
    if scheduler:
        plane.processes.append(start_scheduler(plane))
    return plane


def _etcd(folder: Path, port: int) -> subprocess.Popen[bytes]:
    peer = free_port()
    url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    command: list[str | Path] = [
        tools.path("etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--unsafe-no-fsync",
    ]
    return start("etcd", command, folder / "logs" / "etcd.log", die_with_us=True)


def _apiserver(plane: ControlPlane, pki: Pki, serving: Pair, etcd: str, address: str, port: int) -> list[str | Path]:
    accounts = pki.signing_key("service-accounts")
    policy = plane.folder / "audit-policy.yaml"
    policy.write_text(AUDIT_POLICY)
    return [
        tools.path("kube-apiserver"),
        f"--etcd-servers={etcd}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        f"--client-ca-file={pki.ca.cert}",
        f"--tls-cert-file={serving.cert}",
        f"--tls-private-key-file={serving.key}",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={plane.audit_log}",
        "--max-requests-inflight=800",
    ]


def start_controllers(plane: ControlPlane) -> subprocess.Popen[bytes]:
    """kube-controller-manager: garbage collection, Deployments, endpoints."""
    who = plane.pki.issue("controller-manager", "system:kube-controller-manager")
    kubeconfig = plane.pki.kubeconfig(plane.folder / "controller-manager.kubeconfig", plane.server, who)
    command: list[str | Path] = [
        tools.path("kube-controller-manager"),
        f"--kubeconfig={kubeconfig}",
        f"--service-account-private-key-file={plane.pki.folder / 'service-accounts.key'}",
        f"--root-ca-file={plane.pki.ca.cert}",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        "--node-monitor-grace-period=20s",
        # Its default of 20 calls a second would be what a thousand endpoints wait for.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]
    return start("kube-controller-manager", command, plane.folder / "logs" / "kube-controller-manager.log", die_with_us=True)


def start_scheduler(plane: ControlPlane) -> subprocess.Popen[bytes]:
    """kube-scheduler: puts pods on nodes."""
    who = plane.pki.issue("scheduler", "system:kube-scheduler")
    kubeconfig = plane.pki.kubeconfig(plane.folder / "scheduler.kubeconfig", plane.server, who)
    command: list[str | Path] = [
        tools.path("kube-scheduler"),
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
        # Its default of 50 calls a second would be what a thousand pods wait for.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
    ]
    return start("kube-scheduler", command, plane.folder / "logs" / "kube-scheduler.log", die_with_us=True)


def is_ready(plane: ControlPlane) -> bool:
    """Whether the API server says that it is ready and its default namespace exists."""
    return all(answers(plane.server + path, plane.pki, plane.admin) for path in ("/readyz", "/api/v1/namespaces/default"))


def answers(url: str, pki: Pki, who: Pair) -> bool:
    """Whether a GET with this client certificate is answered with 200."""
    context = ssl.create_default_context(cafile=str(pki.ca.cert))
    context.load_cert_chain(who.cert, who.key)
    try:
        with urllib.request.urlopen(url, context=context, timeout=3) as response:
            return bool(response.status == 200)
    except OSError:
        return False
