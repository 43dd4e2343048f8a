"""OCI image archives (image-layout 1.0.0), written without a builder: for images that are one file system and an entrypoint."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def write_archive(path: Path, reference: str, layers: Sequence[Path], *, entrypoint: Sequence[str], labels: Mapping[str, str] | None = None) -> None:
    """
    Write an image of these layers (uncompressed tar files), run as a user without rights.

    Args:
        reference: The name under which a runtime imports it.
        entrypoint: Program and first arguments.
    """
    digests = [_digest_of(layer) for layer in layers]
    config = _json(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": list(entrypoint), "User": "65532:65532", "Labels": dict(labels or {}), "Env": ["PATH=/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": digests},
        }
    )
    listed = [
        {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": layer.stat().st_size}
        for digest, layer in zip(digests, layers, strict=True)
    ]
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = _json(
        {"schemaVersion": 2, "mediaType": kind, "config": _descriptor("application/vnd.oci.image.config.v1+json", config), "layers": listed}
    )
    names = {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference}
    index = _json({"schemaVersion": 2, "manifests": [{**_descriptor(kind, manifest), "annotations": names}]})
    partial = path.with_suffix(".partial")
    with tarfile.open(partial, "w") as tar:
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        _add(tar, "index.json", index)
        for blob in (config, manifest):
            _add(tar, _place(_digest(blob)), blob)
        for digest, layer in zip(digests, layers, strict=True):
            tar.add(layer, _place(digest), filter=_anonymous)
    partial.rename(path)


def write_layer(path: Path, files: Mapping[str, bytes] | None = None, links: Mapping[str, str] | None = None) -> None:
    """A layer of executable files and symbolic links; the same contents give the same bytes."""
    with tarfile.open(path, "w") as tar:
        for name, data in sorted((files or {}).items()):
            _add(tar, name, data, 0o755)
        for name, target in sorted((links or {}).items()):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)


def _anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return info


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _place(digest: str) -> str:
    return "blobs/sha256/" + digest.removeprefix("sha256:")


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _digest_of(path: Path) -> str:
    with path.open("rb") as content:
        return "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}
