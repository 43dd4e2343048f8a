"""
Where the API server is and who we are: in a pod what the kubelet mounts there, elsewhere a kubeconfig.

A kubeconfig is read by the official client, which knows all its forms (plugins that hand out tokens, among them). In a pod the client is not loaded:
its models take 58 MiB of memory and a third of a second of each start, for two files and an address
(https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/).
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from dedicated.api.errors import ApiUnavailable

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_S = 60.0
"""How long a token is used before its file is read again: the kubelet puts a new one there long before the old one ends. (seconds)"""


@dataclass(frozen=True)
class Credentials:
    """One API server, and how to speak to it. (host: a URL; authorization: answers the header, or None where a certificate says who we are)"""

    host: str
    authorization: Callable[[], str | None]
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True
    server_name: str | None = None
    """What its certificate is checked for, where that is not the host of the URL."""
    proxy: str | None = None

    def tls(self) -> ssl.SSLContext:
        """The API server's certificate is checked, unless a kubeconfig says otherwise, and ours shown where there is one."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, keyfile=self.key_file)
        if not self.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context


def find(kubeconfig: str | None = None, context: str | None = None) -> Credentials:
    """
    The pod's, or those of a kubeconfig where one is named or this is no pod.

    Raises:
        ApiUnavailable: There is neither.
    """
    return (None if kubeconfig else of_pod()) or _of_kubeconfig(kubeconfig, context)


def of_pod(environment: Mapping[str, str] | None = None) -> Credentials | None:
    """What the kubelet mounts into a pod; None where this is none. DEDICATED_SERVICE_ACCOUNT_DIR names another folder."""
    env = os.environ if environment is None else environment
    folder = Path(env.get("DEDICATED_SERVICE_ACCOUNT_DIR") or SERVICE_ACCOUNT)
    host, port = env.get("KUBERNETES_SERVICE_HOST"), env.get("KUBERNETES_SERVICE_PORT")
    token = folder / "token"
    if not host or not port or not token.is_file():
        return None
    address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Credentials(address, _Token(token), ca_file=str(folder / "ca.crt"), proxy=_proxy_of_environment(address))


class _Token:
    """The Authorization header of a token in a file that changes."""

    def __init__(self, file: Path) -> None:
        self._file, self._read_at, self._header = file, -TOKEN_S, ""

    def __call__(self) -> str:
        """As the file has it; where it cannot be read for a moment, as it was."""
        if time.monotonic() - self._read_at >= TOKEN_S:
            try:
                self._header, self._read_at = f"Bearer {self._file.read_text().strip()}", time.monotonic()
            except OSError:
                if not self._header:
                    raise
        return self._header


def _of_kubeconfig(path: str | None, context: str | None) -> Credentials:
    from kubernetes import config
    from kubernetes.client.configuration import Configuration

    found = Configuration()
    try:
        config.load_kube_config(config_file=path, context=context, client_configuration=found)
        named = _proxy_of_file(path, context)
    except (config.ConfigException, OSError) as wrong:
        raise ApiUnavailable(f"this is no pod, and the kubeconfig {path or '~/.kube/config'} cannot be used ({wrong}).") from wrong
    return Credentials(
        host=found.host,
        authorization=lambda: (found.auth_settings().get("BearerToken") or {}).get("value"),
        ca_file=found.ssl_ca_cert,
        cert_file=found.cert_file,
        key_file=found.key_file,
        verify=found.verify_ssl,
        server_name=found.tls_server_name,
        proxy=named or _proxy_of_environment(found.host),
    )


def default_namespace(kubeconfig: str | None = None, context: str | None = None) -> str:
    """The namespace of a pod, or of a kubeconfig's context; `default` where neither says one."""
    own = SERVICE_ACCOUNT / "namespace"
    if not kubeconfig and not context and own.exists():
        return own.read_text().strip()
    from kubernetes import config

    try:
        chosen = _context(kubeconfig, context)
    except config.ConfigException:
        return "default"
    return str((chosen.get("context") or {}).get("namespace") or "default")


def _context(kubeconfig: str | None, context: str | None) -> dict[str, Any]:
    """The named context of a kubeconfig, or its current one. Raises ConfigException."""
    from kubernetes import config

    contexts, active = config.list_kube_config_contexts(config_file=kubeconfig)
    found: dict[str, Any] = next((one for one in contexts if one["name"] == context), active) if context else active
    return found


def _proxy_of_file(kubeconfig: str | None, context: str | None) -> str | None:
    """What a kubeconfig says of a proxy for its cluster: the client does not read it."""
    from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION, KubeConfigMerger

    name = _context(kubeconfig, context)["context"]["cluster"]
    clusters = KubeConfigMerger(kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION).config["clusters"]
    found: str | None = clusters.get_with_name(name)["cluster"].safe_get("proxy-url")
    return found


def _proxy_of_environment(host: str) -> str | None:
    """As aiohttp's trust_env would say, but looked up once: it reads ~/.netrc in a thread before each request. (host: a URL)"""
    where = urlsplit(host)
    return None if not where.hostname or proxy_bypass(where.hostname) else getproxies().get(where.scheme)
