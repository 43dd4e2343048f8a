"""
Bringing weights from a local S3 server: ours against boto3's download_file, huggingface_hub, and a ceiling (the same requests without hashes).

Each client is a process of its own, and they take turns; server and clients share the machine, so CPU per GB says more than GB/s. huggingface_hub
is given hack/hub, which is slower than the S3 server: its line says what a start without a cache costs here.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hack.bench.machine import described
from hack.tools import REPO

BUCKET, REPO_ID = "weights", "bench/model"
FILES = 16
GB = 1e9
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "benchbench"}


def main() -> int:
    """Run it, print the table, and leave the figures where they are asked for."""
    parser = argparse.ArgumentParser(prog="python -m hack.bench.weights", description=__doc__)
    parser.add_argument("--size", type=float, default=4.0, help="of all files together (GiB)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where files come from and go to; a temporary folder by default")
    parser.add_argument("--streams", type=int, default=64, help="at most")
    parser.add_argument("--clients", default=",".join(CLIENTS), help="some of them, with commas")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        print(json.dumps(_measured(given.client, given.url, given.folder, given.streams)))
        return 0
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        rows = _all(given, Path(scratch))
    _print(rows)
    if given.json:
        given.json.write_text(json.dumps({"machine": described(), "size_gib": given.size, "rows": rows}, indent=1) + "\n")
    return 0


# the runs


def _all(given: argparse.Namespace, scratch: Path) -> dict[str, list[dict[str, float]]]:
    source = scratch / "models" / REPO_ID
    _make(source, int(given.size * 1024**3))
    wanted = given.clients.split(",")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
    s3 = subprocess.Popen([sys.executable, "-m", "hack.bench.sendfile", source], stdout=subprocess.PIPE, text=True, cwd=REPO)
    hub_port = "18099"
    hub = subprocess.Popen([sys.executable, "-m", "hack.hub", "--root", scratch / "models", "--port", hub_port], cwd=REPO)
    try:
        assert s3.stdout
        urls = {"huggingface_hub": f"http://127.0.0.1:{hub_port}"}
        s3_url = f"http://127.0.0.1:{s3.stdout.readline().strip()}"
        time.sleep(2)
        for _ in range(given.runs):
            for name in wanted:
                found[name].append(_once(name, urls.get(name, s3_url), scratch, given.streams))
    finally:
        for server in (s3, hub):
            server.kill()
            server.wait()
    return found


def _make(folder: Path, size: int) -> None:
    """Files of this size together, of which no two parts are alike, and what a manifest says of them."""
    from dedicated.adapters.object_store.upload import digests_of

    folder.mkdir(parents=True)
    said = []
    for number in range(FILES):
        path = folder / f"model-{number + 1:05}-of-{FILES:05}.safetensors"
        left, block = size // FILES, os.urandom(8 * 1024 * 1024)
        with path.open("wb") as out:
            while left > 0:
                out.write(left.to_bytes(8, "big") + block[: min(left, len(block)) - 8])
                left -= len(block)
        sha, parts = digests_of(path)
        said.append({"path": path.name, "size": path.stat().st_size, "sha256": sha, "parts": parts})
    (folder.parent.parent.parent / "files.json").write_text(json.dumps(said))


def _once(name: str, url: str, scratch: Path, streams: int) -> dict[str, float]:
    out = scratch / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    os.sync()
    command = [sys.executable, "-m", "hack.bench.weights", f"--client={name}", f"--url={url}", f"--folder={scratch}", f"--streams={streams}"]
    env = {**os.environ, **CREDENTIALS, "PYTHONPATH": f"{REPO / 'operator'}:{REPO}", "HF_ENDPOINT": url, "HF_HOME": str(out / "home")}
    done = subprocess.run(command, cwd=REPO, env={**env, "HF_HUB_DISABLE_XET": "1"}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-1500:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


# one client, in its own process


def _measured(name: str, url: str, scratch: Path, streams: int) -> dict[str, float]:
    files = json.loads((scratch / "files.json").read_text())
    fetch = CLIENTS[name](url, files, scratch / "out", streams)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    fetch()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    total = sum(file["size"] for file in files)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"gb_per_s": total / GB / seconds, "cpu_s_per_gb": cpu / (total / GB), "rss_mb": after.ru_maxrss / 1024, "seconds": seconds}


def _ours(verify: bool) -> Callable[..., Callable[[], None]]:
    def prepared(url: str, files: list[dict[str, Any]], out: Path, streams: int) -> Callable[[], None]:
        from dedicated.adapters.object_store import ObjectStore
        from dedicated.adapters.object_store.download import Report, Source, download
        from dedicated.api.s3 import S3Location
        from dedicated.weights.manifest import CachedFile

        store = ObjectStore(S3Location(BUCKET, endpoint=url, path_style=True), streams=streams)
        sources = [Source(CachedFile(f["path"], f["size"], f["sha256"], tuple(f["parts"])), f["path"]) for f in files]
        report = Report(sum(f["size"] for f in files))

        def fetch() -> None:
            download(store, sources, out, report=report, most=streams, verify=verify)
            assert not report.bad and report.done == report.total

        return fetch

    return prepared


def _boto3(url: str, files: list[dict[str, Any]], out: Path, streams: int) -> Callable[[], None]:
    import boto3
    from botocore.config import Config

    # As people use it: file after file, each in ten threads; only what a server without checksums needs is set.
    config = Config(s3={"addressing_style": "path"}, response_checksum_validation="when_required")
    client = boto3.session.Session(region_name="us-east-1").client("s3", endpoint_url=url, config=config)

    def fetch() -> None:
        for file in files:
            client.download_file(BUCKET, file["path"], str(out / file["path"]))

    return fetch


def _hub(url: str, files: list[dict[str, Any]], out: Path, streams: int) -> Callable[[], None]:
    from huggingface_hub import snapshot_download

    def fetch() -> None:
        snapshot_download(REPO_ID, local_dir=out / "model", endpoint=url, etag_timeout=120)

    return fetch


CLIENTS: dict[str, Callable[..., Callable[[], None]]] = {
    "ceiling": _ours(verify=False),
    "dedicated": _ours(verify=True),
    "boto3": _boto3,
    "huggingface_hub": _hub,
}


def _print(rows: dict[str, list[dict[str, float]]]) -> None:
    def median(name: str, what: str) -> float:
        return statistics.median(run[what] for run in rows[name])

    print(described())
    print(f"{'client':17} {'GB/s':>6} {'CPU s/GB':>9} {'RSS MB':>7}   GB/s of each run")
    for name, runs in rows.items():
        each = " ".join(f"{run['gb_per_s']:.2f}" for run in runs)
        print(f"{name:17} {median(name, 'gb_per_s'):6.2f} {median(name, 'cpu_s_per_gb'):9.2f} {max(run['rss_mb'] for run in runs):7.0f}   {each}")
    for other, least in (("boto3", 2.0), ("ceiling", 0.8)):
        if {other, "dedicated"} <= set(rows):
            print(f"dedicated / {other}: {median('dedicated', 'gb_per_s') / median(other, 'gb_per_s'):.2f} (wanted: at least {least})")


if __name__ == "__main__":
    sys.exit(main())
