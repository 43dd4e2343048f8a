"""Certificates and kubeconfigs of a test cluster, by the openssl program. Keys are EC: fast to make."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from hack.tools import ToolError

DAYS = "3650"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    cert: Path
    key: Path


def _openssl(*args: str | Path) -> None:
    try:
        done = subprocess.run(["openssl", *map(str, args)], capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise ToolError("Certificates need the program openssl: apt-get install openssl.") from missing
    if done.returncode:
        raise ToolError(f"openssl failed: {done.stderr.strip()[-300:]}")


class Pki:
    """One certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca = Pair(folder / "ca.crt", folder / "ca.key")
        if not self.ca.cert.exists():
            new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", DAYS)
            _openssl(*new, "-subj", "/CN=dedicated-test-ca", "-keyout", self.ca.key, "-out", self.ca.cert)

    def issue(self, name: str, common_name: str, group: str = "", addresses: Sequence[str] = ()) -> Pair:
        """A certificate for a client (with its group) or a server (with its names and addresses)."""
        pair = Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        subject = f"/O={group}/CN={common_name}" if group else f"/CN={common_name}"
        request, extra = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        listed = ",".join(f"IP:{a}" if a.replace(".", "").isdigit() else f"DNS:{a}" for a in addresses)
        extra.write_text("extendedKeyUsage=clientAuth,serverAuth\n" + (f"subjectAltName={listed}\n" if listed else ""))
        new = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        _openssl(*new, "-subj", subject, "-keyout", pair.key, "-out", request)
        sign = ("x509", "-req", "-in", request, "-CA", self.ca.cert, "-CAkey", self.ca.key, "-CAcreateserial", "-days", DAYS)
        _openssl(*sign, "-extfile", extra, "-out", pair.cert)
        return pair

    def signing_key(self, name: str) -> Path:
        """An RSA key that signs service-account tokens."""
        key = self.folder / f"{name}.key"
        _openssl("genrsa", "-out", key, "2048")
        return key

    def kubeconfig(self, path: Path, server: str, who: Pair, name: str = "dedicated") -> Path:
        """A kubeconfig with everything inside, so that the file alone is enough."""

        def inline(file: Path) -> str:
            return base64.b64encode(file.read_bytes()).decode()

        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": inline(self.ca.cert)}}],
            "users": [{"name": name, "user": {"client-certificate-data": inline(who.cert), "client-key-data": inline(who.key)}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path
