"""The configuration files of a node's daemons. Each setting that is not obvious says why it is there."""

from __future__ import annotations

from pathlib import Path

import yaml

from hack.cluster import tools
from hack.cluster.controlplane import ControlPlane
from hack.cluster.layout import CLUSTER_DNS, POD_CIDR, Layout

PAUSE_IMAGE = "localhost/dedicated/pause:1"


def write_all(layout: Layout, plane: ControlPlane) -> None:
    """Write every configuration file of the node."""
    cni = layout.data / "cni"
    cni.mkdir(parents=True, exist_ok=True)
    (cni / "10-dedicated.conflist").write_text(CNI)
    layout.containerd_config.write_text(containerd(layout, cni))
    layout.kubelet_config.write_text(yaml.safe_dump(kubelet(layout, plane)))
    proxy = kubeconfig(plane, "kube-proxy", "system:kube-proxy")
    layout.proxy_config.write_text(yaml.safe_dump(kube_proxy(proxy)))
    layout.corefile.write_text(corefile(kubeconfig(plane, "coredns", "dedicated:coredns")))


def kubeconfig(plane: ControlPlane, name: str, common_name: str, group: str = "") -> Path:
    """A kubeconfig for one daemon, with an identity of its own."""
    return plane.pki.kubeconfig(plane.folder / f"{name}.kubeconfig", plane.server, plane.pki.issue(name, common_name, group))


def node_path() -> str:
    """PATH on which the node's daemons find runc, the shim and what they call."""
    ours = (tools.path("runc").parent, tools.path("containerd-shim-runc-v2").parent)
    return ":".join([*map(str, ours), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])


def may_set_oom_score() -> bool:
    """Whether this process has CAP_SYS_RESOURCE (bit 24 of the effective set)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    return bool(int(line.split()[1], 16) >> 24 & 1)


def containerd(layout: Layout, cni: Path) -> str:
    """containerd's configuration. Without CAP_SYS_RESOURCE runc may not lower an OOM score, so that is left out there."""
    restrict = "false" if may_set_oom_score() else "true"
    return f"""version = 2
root = "{layout.data / "containerd"}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.tracing"]
[grpc]
  address = "{layout.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = {restrict}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{tools.path("cni")}"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter()}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"""


def snapshotter() -> str:
    """overlayfs where the kernel has it."""
    return "overlayfs" if "overlay" in Path("/proc/filesystems").read_text() else "native"


CNI = f"""{{
  "cniVersion": "0.4.0",
  "name": "dedicated",
  "plugins": [
    {{
      "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{POD_CIDR}"}}]], "routes": [{{"dst": "0.0.0.0/0"}}]}}
    }},
    {{"type": "portmap", "capabilities": {{"portMappings": true}}}}
  ]
}}
"""


def kubelet(layout: Layout, plane: ControlPlane) -> dict[str, object]:
    """The kubelet's configuration."""
    resolv = layout.data / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.1\n")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": str(plane.pki.ca.cert)}, "webhook": {"enabled": True}, "anonymous": {"enabled": False}},
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "cgroupsPerQOS": True,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
        "imageGCHighThresholdPercent": 100,
        "registerNode": True,
        "resolvConf": str(resolv),
        "serializeImagePulls": False,
        # How soon a GPU that breaks is seen; without the second line the status would be written each second too.
        "nodeStatusUpdateFrequency": "1s",
        "nodeStatusReportFrequency": "5s",
        "podLogsDir": "/var/log/pods",
        "volumePluginDir": str(layout.data / "volume-plugins"),
        "registryPullQPS": 0,
        "maxPods": 200,
    }


def kube_proxy(kubeconfig_path: Path) -> dict[str, object]:
    """kube-proxy's configuration; conntrack limits are the machine's, not ours to set."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig_path)},
        "mode": "iptables",
        "clusterCIDR": POD_CIDR,
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def corefile(kubeconfig_path: Path) -> str:
    """CoreDNS on the node's own port 53, behind the Service kube-dns; other names go to the machine's name server, if it has one."""
    servers = [line.split()[1] for line in Path("/etc/resolv.conf").read_text().splitlines() if line.startswith("nameserver")]
    forward = f"forward . {' '.join(servers)}" if servers and not all(server.startswith("127.") for server in servers) else ""
    return f""".:53 {{
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig_path}
    }}
    {forward}
    cache 5
}}
"""


def cluster_objects(layout: Layout) -> list[dict[str, object]]:
    """What the cluster needs inside: the name service's Service, and CoreDNS's right to read."""
    meta = {"name": "kube-dns", "namespace": "kube-system"}
    ports = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"clusterIP": CLUSTER_DNS, "ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [layout.node_ip]}],
            "ports": ports_of_slice(),
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "dedicated:coredns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "dedicated:coredns"}],
        },
    ]


def ports_of_slice() -> list[dict[str, object]]:
    """Ports of CoreDNS behind the Service."""
    return [{"name": name, "port": 53, "protocol": protocol} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
