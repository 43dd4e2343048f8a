"""The Deployment of one revision. Its pod template is written once; what serves is never rewritten in place."""

from __future__ import annotations

import math
from typing import Any

from dedicated.api import names
from dedicated.api.endpoint import HuggingFace, Model
from dedicated.core.quantities import GIB, MIB, seconds
from dedicated.render import cache, s3_source
from dedicated.render.devices import Devices, devices
from dedicated.render.endpoint import ENGINE_CACHE, Wanted
from dedicated.render.engines import CACHE_DIR, HOME, WEIGHTS_DIR, Launch, launch
from dedicated.render.isolation import KEY_IN_SECRET, SERVICE_ACCOUNT
from dedicated.render.nodes import affinity, tolerations
from dedicated.render.platform import Platform

Manifest = dict[str, Any]

ENGINE_USER = 65532
PRESTOP_S = 5
"""How long a pod that is going keeps answering, so that routes to it can be taken away first. (seconds)"""
PROBE_PERIOD_S = 2
DAY_S = 86_400
PORT_NAME = "http"


def deployment(wanted: Wanted, replicas: int, platform: Platform) -> Manifest:
    """
    The Deployment of this revision.

    Raises:
        InvalidSpec, ConflictingArgs: The engine cannot be started as the spec asks.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": wanted.meta(wanted.child(wanted.revision), **{names.LABEL_REVISION: wanted.revision}),
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": wanted.selector()},
            "template": {
                "metadata": {"labels": {**wanted.labels(), names.LABEL_REVISION: wanted.revision}, **_annotations(platform)},
                "spec": _pod(wanted, platform),
            },
        },
    }


def _annotations(platform: Platform) -> Manifest:
    found = cache.pod_annotations(platform)
    return {"annotations": found} if found else {}


def _pod(wanted: Wanted, platform: Platform) -> Manifest:
    spec, hardware = wanted.spec, wanted.spec.hardware
    start, asked = launch(wanted, wanted.startup_s(platform.startup_base_s)), devices(wanted, platform)
    optional = {
        "imagePullSecrets": [ref.to_dict() for ref in spec.engine.image_pull_secrets],
        "nodeSelector": dict(hardware.node_selector),
        "affinity": {} if asked.claims else affinity(wanted),
        "resourceClaims": asked.pod_claims,
        "tolerations": tolerations(wanted),
        "priorityClassName": hardware.priority_class_name,
        "runtimeClassName": hardware.runtime_class_name,
    }
    return {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service named vllm would set VLLM_PORT, which vLLM reads as its own
        "terminationGracePeriodSeconds": PRESTOP_S + seconds(spec.update.drain) + 5,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": ENGINE_USER,
            "runAsGroup": ENGINE_USER,
            "fsGroup": ENGINE_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{key: value for key, value in optional.items() if value},
        "initContainers": [_fetch(wanted, spec.model, platform)] if spec.model else [],
        "containers": [_engine(wanted, start, platform, asked)],
        "volumes": [
            {"name": "weights", "emptyDir": {"sizeLimit": f"{_disk_bytes(wanted) // MIB}Mi"}},
            {"name": "tmp", "emptyDir": {}},
            *_volumes_to_compile(wanted),
        ],
    }


def _volumes_to_compile(wanted: Wanted) -> list[Manifest]:
    """A cache, and /dev/shm: the container runtime's own has 64 MiB, too little for NCCL."""
    if not wanted.compiles:
        return []
    return [
        {"name": "cache", "emptyDir": {"sizeLimit": f"{ENGINE_CACHE // MIB}Mi"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": f"{wanted.shm_bytes // MIB}Mi"}},
    ]


def _mounts(wanted: Wanted) -> list[Manifest]:
    mounts: list[Manifest] = [{"name": "weights", "mountPath": WEIGHTS_DIR, "readOnly": True}, {"name": "tmp", "mountPath": "/tmp"}]
    return mounts + ([{"name": "cache", "mountPath": CACHE_DIR}, {"name": "shm", "mountPath": "/dev/shm"}] if wanted.compiles else [])


def _disk_bytes(wanted: Wanted) -> int:
    """Room for the weights, a tenth over, and the small files beside them."""
    return math.ceil(wanted.weight_bytes * 1.1) + GIB // 2


def _locked_down() -> Manifest:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def _from_hub(wanted: Wanted, source: HuggingFace, platform: Platform) -> tuple[list[str], list[Manifest]]:
    """Arguments and environment of a fetch from the hub, by way of the cache."""
    args = ["fetch", "--repo", source.repo, "--commit", wanted.commit or source.revision, "--engine", wanted.spec.engine.kind.value]
    args += [part for pattern in source.files.include for part in ("--include", pattern)]
    args += [part for pattern in source.files.exclude for part in ("--exclude", pattern)]
    env: list[Manifest] = [{"name": "HF_ENDPOINT", "value": platform.hub_endpoint}, *cache.variables(wanted, platform)]
    token = wanted.spec.model.token_secret_ref if wanted.spec.model else None
    if token:
        env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": token.name, "key": token.key}}})
    return args, env


def _fetch(wanted: Wanted, model: Model, platform: Platform) -> Manifest:
    """The init container that brings the weights; the only one that sees the hub token and the credentials of the cache or of the source."""
    if model.s3:
        args, env = s3_source.fetch(wanted, model.s3)
    else:
        assert model.hugging_face  # a spec has one of the two
        args, env = _from_hub(wanted, model.hugging_face, platform)
    return {
        "name": names.FETCH_CONTAINER,
        "image": platform.fetch_image,
        "imagePullPolicy": "IfNotPresent",
        "args": [*args, "--to", WEIGHTS_DIR],
        "env": env,
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": f"{_disk_bytes(wanted) // MIB}Mi"},
            "limits": {"memory": "512Mi"},
        },
        "securityContext": _locked_down(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "weights", "mountPath": WEIGHTS_DIR}, {"name": "tmp", "mountPath": "/tmp"}],
    }


def _engine(wanted: Wanted, start: Launch, platform: Platform, asked: Devices) -> Manifest:
    spec = wanted.spec
    key_ref = {"secretKeyRef": {"name": wanted.child("key"), "key": KEY_IN_SECRET}}
    env: list[Manifest] = [
        {"name": HOME, "value": start.home},
        {"name": start.key_env, "valueFrom": key_ref},
        *({"name": name, "value": value} for name, value in start.env),
        *spec.engine.env,
    ]
    return {
        "name": names.ENGINE_CONTAINER,
        "image": spec.engine.image or platform.engine_images.get(spec.engine.kind, ""),
        "imagePullPolicy": "IfNotPresent",
        **({"command": list(start.command)} if start.command else {}),
        "args": list(start.args),
        "env": env,
        "ports": [{"name": PORT_NAME, "containerPort": start.port, "protocol": "TCP"}],
        "resources": _resources(wanted, asked),
        "securityContext": _locked_down(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(wanted),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRESTOP_S}}},
        **_probes(start, wanted.startup_s(platform.startup_base_s)),
    }


def _resources(wanted: Wanted, asked: Devices) -> Manifest:
    memory = wanted.memory()
    cpu = wanted.spec.hardware.cpu or str(max(1, 2 * wanted.accelerators))
    disk = {"ephemeral-storage": f"{(_disk_bytes(wanted) + ENGINE_CACHE) // MIB}Mi"} if wanted.compiles else {}
    claims = {"claims": asked.claims} if asked.claims else {}
    return {"requests": {"cpu": cpu, "memory": memory, **disk, **asked.resources}, "limits": {"memory": memory, **asked.resources}, **claims}


def _probes(start: Launch, startup_s: float) -> Manifest:
    """
    The operator, which can tell slow from stuck, judges a start. The startup probe ends one only where no operator has for a day, or for ten times
    the budget; liveness begins only after it.
    """
    get = {"httpGet": {"path": start.health_path, "port": PORT_NAME}}
    return {
        "startupProbe": {
            **get,
            "periodSeconds": PROBE_PERIOD_S,
            "timeoutSeconds": 2,
            "failureThreshold": math.ceil(max(startup_s * 10, DAY_S) / PROBE_PERIOD_S),
        },
        "readinessProbe": {**get, "periodSeconds": PROBE_PERIOD_S, "timeoutSeconds": 2, "failureThreshold": 3},
        "livenessProbe": {**get, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }
