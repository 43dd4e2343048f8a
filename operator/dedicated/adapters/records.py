"""
Recorded logs as EndpointLogs: written once for each run, bounded for each endpoint and for the cluster.

What exists is listed (metadata only) before the first write and at each look at everything; what was written since is remembered. So a restarted
operator writes nothing twice, and a pass that has nothing to record makes no call. A log that cannot be recorded hinders no pass.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import orjson
from pydantic import ValidationError

from dedicated.adapters.kinds import ENDPOINT_LOG
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.logs import beside
from dedicated.api import endpointlog, names
from dedicated.api.endpointlog import EndpointLogSpec, Moment
from dedicated.api.errors import ApiNotFound, DedicatedError
from dedicated.core.clock import from_rfc3339, rfc3339
from dedicated.diagnosis.tails import readable
from dedicated.lifecycle.records import Kept, Run, too_many

Manifest = dict[str, Any]
log = logging.getLogger(__name__)


class Records:
    """What is recorded of all endpoints."""

    def __init__(self, limit: int = endpointlog.MAX_TOTAL) -> None:
        self._limit = limit
        self._kept: dict[tuple[str, str], Kept] | None = None
        self._one = asyncio.Lock()

    async def keep(self, kube: KubeApi, endpoint: Manifest, runs: Iterable[Run]) -> None:
        """Record these runs of an endpoint, as far as they are not yet."""
        for run in runs:
            try:
                await self._keep(kube, endpoint, run)
            except DedicatedError as failure:
                log.warning("log not recorded", extra={"endpoint": endpoint["metadata"]["name"], "error": str(failure)})

    async def _keep(self, kube: KubeApi, endpoint: Manifest, run: Run) -> None:
        meta = endpoint["metadata"]
        key = (meta["namespace"], endpointlog.object_name(meta["name"], meta["uid"], run.moment))
        known = (await self._known(kube)).get(key)
        if known and known.mark == run.mark:
            return
        text = run.log if run.log is not None else await kube.logs(meta["namespace"], run.pod, run.container, previous=False)
        if not text:
            return
        kept, manifest = await beside(_manifest, endpoint, replace(run, log=text), key[1], kube.now())
        stored = await kube.apply(manifest)
        (await self._known(kube))[key] = replace(kept, uid=stored["metadata"]["uid"])
        await self._trim(kube)

    async def sweep(self, kube: KubeApi) -> None:
        """Look at what there is, and delete what is too much. Raises DedicatedError."""
        async with self._one:
            self._kept = await _listed(kube)
        await self._trim(kube)

    async def _known(self, kube: KubeApi) -> dict[tuple[str, str], Kept]:
        async with self._one:
            if self._kept is None:
                self._kept = await _listed(kube)
            return self._kept

    async def _trim(self, kube: KubeApi) -> None:
        kept = await self._known(kube)
        for one in too_many(kept.values(), self._limit) if self._is_full(kept) else ():
            kept.pop((one.namespace, one.name), None)
            await kube.delete(ENDPOINT_LOG, one.namespace, one.name, one.uid)

    def _is_full(self, kept: dict[tuple[str, str], Kept]) -> bool:
        return sum(one.size for one in kept.values()) > self._limit


async def _listed(kube: KubeApi) -> dict[tuple[str, str], Kept]:
    found = [_kept(obj["metadata"]) for obj in await kube.list(ENDPOINT_LOG, metadata_only=True)]
    return {(one.namespace, one.name): one for one in found}


def _kept(meta: Manifest) -> Kept:
    """What a record's metadata says of it; one that says nothing counts in full, and goes first."""
    try:
        told = json.loads((meta.get("annotations") or {})[names.ANNOTATION_RECORD])
        size, at, mark = int(told["bytes"]), from_rfc3339(told["at"]), str(told["run"])
    except (KeyError, ValueError, TypeError, AttributeError):
        size, at, mark = endpointlog.MAX_OBJECT, 0.0, ""
    owner = str((meta.get("labels") or {}).get(names.LABEL_ENDPOINT_ID, meta["uid"]))
    return Kept(meta["namespace"], meta["name"], meta["uid"], owner, size, at, mark)


def _manifest(endpoint: Manifest, run: Run, name: str, now: float) -> tuple[Kept, Manifest]:
    meta = endpoint["metadata"]
    owner = names.endpoint_id(meta["uid"])
    spec = EndpointLogSpec(
        moment=run.moment,
        container=run.container,
        pod=run.pod,
        revision=run.revision,
        attempt=run.attempt,
        started_at=rfc3339(run.started_at) if run.started_at else None,
        ended_at=rfc3339(run.ended_at) if run.ended_at else None,
        exit_code=run.exit_code,
        text=endpointlog.packed(readable(run.log or "")),
    )
    ref = {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": meta["name"], "uid": meta["uid"], "controller": True}
    manifest: Manifest = {
        "apiVersion": ENDPOINT_LOG.api_version,
        "kind": ENDPOINT_LOG.name,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
                names.LABEL_ENDPOINT_ID: owner,
                names.LABEL_ENDPOINT: meta["name"],
            },
            "ownerReferences": [{**ref, "blockOwnerDeletion": False}],
        },
        "spec": spec.to_dict(),
    }
    size, at = len(orjson.dumps(manifest)), rfc3339(now)
    manifest["metadata"]["annotations"] = {names.ANNOTATION_RECORD: json.dumps({"run": run.mark, "bytes": size, "at": at})}
    return Kept(meta["namespace"], name, "", owner, size, from_rfc3339(at), run.mark), manifest


async def recorded(kube: KubeApi, namespace: str, endpoint: str, uid: str) -> list[EndpointLogSpec]:
    """The recorded logs of an endpoint, the last failure first. Raises DedicatedError."""
    found = []
    for moment in Moment:
        try:
            obj = await kube.get(ENDPOINT_LOG, namespace, endpointlog.object_name(endpoint, uid, moment))
            if any(ref.get("uid") == uid for ref in obj["metadata"].get("ownerReferences") or []):
                found.append(EndpointLogSpec.model_validate(obj["spec"]))
        except ApiNotFound:
            continue
        except ValidationError as newer:
            log.warning("recorded log not understood", extra={"endpoint": endpoint, "error": str(newer)})
    return found
