"""Models of a user's own in S3: folders in a bucket that is not the cache's, and the Secret that opens it."""

from __future__ import annotations

import base64
from typing import Any

from dedicated.adapters.object_store import ObjectStore
from dedicated.api.names import LABEL_USE, USE_S3_SOURCE
from tests.support.hub import WEIGHTS
from tests.support.s3 import CREDENTIALS, a_store, make_bucket

MODELS = "models"
SHARDS = {f"model-0000{n}-of-00002.safetensors": WEIGHTS[: n * 100_000] for n in (1, 2)}
NEEDED = {"config.json": b'{"architectures": ["LlamaForCausalLM"]}', "tokenizer.json": b"{}", **SHARDS}
"""What vLLM needs of the model that `put_model` writes."""
BESIDE = {"original/consolidated.safetensors": b"x" * 1000, "pytorch_model.bin": b"y" * 1000}
SECRET_NAME = "s3-read"


def put_model(url: str, folder: str = "own", files: dict[str, bytes] | None = None, bucket: str = MODELS) -> ObjectStore:
    """A folder of these files on the server; by default a model in safetensors with other forms of its weights beside."""
    make_bucket(url, bucket)
    store = a_store(url, bucket)
    for name, content in ({**NEEDED, **BESIDE} if files is None else files).items():
        store.put(f"{folder}/{name}", content)
    return store


def secret(url: str, *, label: str = USE_S3_SOURCE, namespace: str = "team-a", **keys: str) -> dict[str, Any]:
    """The Secret, as the API server has it. (keys: in the place of those that open the server)"""
    found = keys or {**CREDENTIALS, "AWS_ENDPOINT_URL": url}
    data = {name: base64.b64encode(value.encode()).decode() for name, value in found.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET_NAME, "namespace": namespace, "labels": {LABEL_USE: label}},
        "data": data,
    }


def source(folder: str = "own", bucket: str = MODELS, name: str = SECRET_NAME) -> dict[str, Any]:
    """`spec.model` of an endpoint of the folder."""
    return {"s3": {"uri": f"s3://{bucket}/{folder}", "credentialsSecretRef": {"name": name}}}
