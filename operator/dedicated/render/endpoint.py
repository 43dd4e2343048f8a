"""What the manifests of one endpoint are made from, and what all of them carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dedicated.api import names
from dedicated.api.accelerator import AcceleratorSpec
from dedicated.api.endpoint import CPU, EndpointSpec, EngineKind
from dedicated.api.status import Plan
from dedicated.core.quantities import GIB, MIB

STARTUP_S_PER_GIB = 20.0
"""Startup budget per GiB of weights; Kaito grants 18 s (kaito pkg/utils, 2026)."""

COMPILING = {EngineKind.VLLM, EngineKind.SGLANG}
"""Engines of several processes that compile kernels at their start: they need shared memory, and caches worth room of their own."""
SHM_PER_ACCELERATOR = 2 * GIB
"""For NCCL and for the rings by which the processes of a replica hand over requests; deployments in the field set 2-15 GiB (Kaito, lws). (bytes)"""
HOST_PER_ACCELERATOR = 8 * GIB
"""Python, CUDA contexts and pinned buffers of one worker process; pods in the field ask for 24 GiB and more (ome, lws). (bytes)"""
ENGINE_CACHE = 10 * GIB
"""Room for compiled kernels. (bytes)"""


@dataclass(frozen=True)
class Wanted:
    """One revision of one endpoint: its spec, frozen with the commit that its model was resolved to."""

    name: str
    namespace: str
    uid: str
    revision: str
    spec: EndpointSpec
    commit: str | None = None
    entry: str | None = None
    weight_bytes: int = 0
    plan: Plan | None = None
    """What one replica runs on; None where nothing is planned: then any device will do."""
    accelerator_class: AcceleratorSpec | None = None
    """The class that the plan names, where there is such an object."""
    queue: str | None = None
    """The Kueue queue that its pods wait in."""
    namespace_uid: str = ""
    """Whose weights these are in the cache, where they are not everybody's."""

    @property
    def id(self) -> str:
        """The endpoint's public id."""
        return names.endpoint_id(self.uid)

    def child(self, suffix: str = "") -> str:
        """Name of a child."""
        return names.child_name(self.name, self.uid, suffix)

    def labels(self) -> dict[str, str]:
        """Labels of everything that belongs to the endpoint."""
        return {
            "app.kubernetes.io/name": "inference-endpoint",
            "app.kubernetes.io/instance": self.name,
            names.LABEL_MANAGED_BY: names.MANAGED_BY,
            "app.kubernetes.io/part-of": "dedicated",
            "app.kubernetes.io/component": "engine",
            names.LABEL_ENDPOINT: self.name,
            names.LABEL_ENDPOINT_ID: self.id,
            **({names.LABEL_QUEUE: self.queue} if self.queue else {}),
        }

    def selector(self, revision: str | None = None) -> dict[str, str]:
        """Labels that select the pods of a revision of this endpoint."""
        return {names.LABEL_ENDPOINT_ID: self.id, names.LABEL_REVISION: revision or self.revision}

    def meta(self, name: str, **labels: str) -> dict[str, Any]:
        """Metadata of a child: it goes when the endpoint goes."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {**self.labels(), **labels},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": names.KIND,
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        }

    @property
    def on_cpu(self) -> bool:
        """Whether no accelerator is needed."""
        return self.spec.hardware.accelerators == [CPU]

    @property
    def accelerators(self) -> int:
        """Accelerators per replica."""
        planned = self.plan.count if self.plan else None
        return 0 if self.on_cpu else (planned or self.spec.hardware.count or 1)

    @property
    def max_model_len(self) -> int | None:
        """Context length: as asked for, else as planned. (tokens)"""
        return self.spec.engine.max_model_len or (self.plan.max_model_len if self.plan else None)

    @property
    def max_num_seqs(self) -> int | None:
        """Sequences served at once: as asked for, else as planned."""
        return self.spec.engine.max_num_seqs or (self.plan.max_num_seqs if self.plan else None)

    @property
    def parallel(self) -> tuple[int, int]:
        """Accelerators that share each layer, and groups of them that share the layers."""
        if self.plan and self.plan.tensor_parallel:
            return self.plan.tensor_parallel, self.plan.pipeline_parallel or 1
        return self.accelerators, 1

    @property
    def compiles(self) -> bool:
        """Whether the engine needs shared memory and a cache."""
        return self.spec.engine.kind in COMPILING

    @property
    def shm_bytes(self) -> int:
        """Size of /dev/shm; it counts as the engine's memory."""
        return SHM_PER_ACCELERATOR * self.accelerators if self.compiles else 0

    def memory(self) -> str:
        """
        Host memory of the engine: as asked; else, where weights stay in it, the weights and a tenth, the KV cache and buffers of a small context, and
        the runtime; where they go to accelerators, a quarter of them in flight, the workers, and their shared memory.
        """
        if self.compiles:
            planned = self.weight_bytes * 0.25 + HOST_PER_ACCELERATOR * self.accelerators + self.shm_bytes
        else:
            planned = self.weight_bytes * 1.1 + GIB
            if self.on_cpu and self.plan and self.plan.memory:
                planned = max(planned, self.plan.memory.budget_bytes - self.plan.memory.headroom_bytes)
        return self.spec.hardware.memory or f"{int(planned) // MIB}Mi"

    def startup_s(self, base_s: float) -> float:
        """How long the engine may take to answer, from its start. (seconds)"""
        return base_s + STARTUP_S_PER_GIB * self.weight_bytes / GIB
