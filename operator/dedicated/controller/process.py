"""The operator process: connect, check, lead, watch, work. Whatever ends, ends it all; the next start begins from what the API server knows."""

from __future__ import annotations

import asyncio
import base64
import gc
import logging
import os
import secrets
import signal
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, cast

from dedicated.adapters.hub import Hub
from dedicated.adapters.informer import Informer
from dedicated.adapters.inventory import InventoryReader
from dedicated.adapters.kinds import ACCELERATOR_CLASS, CHILDREN, CLAIM_TEMPLATE, CRD, DEVICE_CLASS, ENDPOINT, ENDPOINT_LOG, NAMESPACE, NODE, SECRET
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.store import Store
from dedicated.adapters.view import Clients
from dedicated.adapters.witnesses import Witnesses
from dedicated.api import names
from dedicated.api.errors import ApiConflict, ApiNotFound, DedicatedError
from dedicated.api.s3 import CREDENTIALS, KEY_ID, SECRET_KEY
from dedicated.api.schema_hash import SCHEMA_HASH
from dedicated.controller.classes import Classes
from dedicated.controller.feed import Feed
from dedicated.controller.frame import kopf
from dedicated.controller.handlers import register
from dedicated.controller.health import Health, stuck_since
from dedicated.controller.leader import Leader
from dedicated.controller.loop import WORKERS, Loop, takes_long
from dedicated.controller.queue import KeyQueue
from dedicated.controller.resync import Resync
from dedicated.render.devices import claims_are_used
from dedicated.settings import Settings
from dedicated.telemetry import metrics

STUCK_S = 120.0
"""A pass may wait for the hub, but not longer."""
STOP_S = 3.0
CALM_COLLECTOR = (20_000, 20, 20)
"""When Python looks for garbage in cycles: seldom, since next to all here is a store of objects that stay. Its own 700 costs 6 % of all CPU."""
log = logging.getLogger(__name__)


class CannotStart(Exception):
    """One sentence: why the operator does not start, and what to do."""


async def run(settings: Settings) -> int:
    """
    Run the operator until it is told to stop or something breaks.

    Returns:
        The exit code: 0 when told to stop, 1 when something broke.
    Raises:
        CannotStart: The cluster is not prepared for it.
    """
    gc.set_threshold(*CALM_COLLECTOR)
    stop = asyncio.Event()
    _stop_on_signals(stop)
    kube = await KubeApi.connect(settings.kubeconfig)
    try:
        return await _run(settings, kube, stop)
    except (DedicatedError, CannotStart):
        await kube.close()
        raise


async def _run(settings: Settings, kube: KubeApi, stop: asyncio.Event) -> int:
    health = Health()
    try:
        await health.serve(settings.port)
    except OSError as taken:
        raise CannotStart(f"Port {settings.port} cannot be listened on ({taken.strerror}): set DEDICATED_PORT to a free one.") from taken
    platform = replace(
        settings.platform,
        definition_uid=await _check_schema(kube),
        claims=await _uses_claims(kube),
        weights_credentials=await _weights_credentials(kube, settings),
    )
    settings = replace(settings, platform=platform)
    leader = Leader(kube, settings.system_namespace, settings.lease_name, settings.identity, platform.ownership())
    stopping = asyncio.create_task(stop.wait(), name="stop")
    acquiring = asyncio.create_task(leader.acquire(), name="acquire")
    await asyncio.wait({stopping, acquiring}, return_when=asyncio.FIRST_COMPLETED)
    if not acquiring.done():
        return 0
    acquiring.result()
    kube.may_write = leader.holds
    metrics.LEADER.set(1)
    code = await _lead(settings, kube, leader, health, stopping, stop)
    if code == 0:
        await leader.release()
    return code


def _stop_on_signals(stop: asyncio.Event) -> None:
    """Told to stop: let go of the Lease first. Kopf sets handlers of its own while it starts, so this is called again later."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _lead(settings: Settings, kube: KubeApi, leader: Leader, health: Health, stopping: asyncio.Task[Any], stop: asyncio.Event) -> int:
    """Everything that runs while the Lease is ours; ends with the first of them that ends."""
    store = Store()
    store.watching_since = kube.now()
    queue = KeyQueue(takes_long(store))
    feed = Feed(store, queue.add, kube.now)
    witnesses = Witnesses(store, settings.activity_namespace, settings.system_namespace, feed.called) if settings.activity_namespace else None
    clients = Clients(
        kube=kube,
        hub=Hub(settings.platform.hub_endpoint),
        store=store,
        platform=settings.platform,
        system_key=await _system_key(kube, settings),
        limits=settings.limits,
        inventory=InventoryReader(store, settings.provisionable),
        witnesses=witnesses,
        renewal_s=settings.renewal_s,
    )
    loop = Loop(clients, queue)
    kinds = (*CHILDREN, *((CLAIM_TEMPLATE,) if settings.platform.claims else ()), *((NAMESPACE,) if settings.platform.weights else ()))
    informers = [Informer(kube, kind, store, feed.seen, feed.gone) for kind in kinds]
    if witnesses is not None:
        informers += [Informer(kube, kind, witnesses, witnesses.seen, witnesses.gone) for kind in (witnesses.pods, witnesses.leases)]
    resync = Resync(kube, store, feed, loop.queue, settings.resync_s, clients.records.sweep)
    classes = Classes(kube, store, clients.inventory, settings.resync_s / 10)
    health.alive += [
        stuck_since("the queue", lambda: loop.progress_at, STUCK_S),
        stuck_since("the look at everything", lambda: resync.good_at, 2 * settings.resync_s + STUCK_S),
    ]
    watches = kopf.operator(
        registry=register(feed, kube.credentials, settings.watch_silence_s), clusterwide=True, identity=cast(Any, settings.identity)
    )
    tasks = {
        stopping,
        _task(leader.hold(), "lease"),
        _task(watches, "watch of endpoints"),
        *(_task(informer.run(settings.watch_silence_s), f"watch of {informer.kind.plural}") for informer in informers),
    }
    first = _task(_first_look(resync, informers, classes), "first look")
    done, _ = await asyncio.wait({*tasks, first}, return_when=asyncio.FIRST_COMPLETED)
    if done == {first} and not first.exception():
        _stop_on_signals(stop)
        gc.freeze()
        gc.enable()
        health.ready = True
        tasks |= set(_sweeping(kube, store, witnesses, settings))
        tasks |= {
            _task(resync.run(), "resync"),
            _task(loop.watch_deadlines(), "deadlines"),
            _task(classes.run(), "accelerator classes"),
        }
        tasks |= {_task(loop.work(), f"worker {number}") for number in range(WORKERS)}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, first):
        task.cancel()
    # Nothing of ours may still write when the Lease is let go.
    await asyncio.wait({*tasks, first}, timeout=STOP_S)
    return _ended(done, stopping)


def _sweeping(kube: KubeApi, store: Store, witnesses: Witnesses | None, settings: Settings) -> list[asyncio.Task[Any]]:
    """Activity Leases have no owner, since owners do not reach across namespaces: those of deleted endpoints are swept."""

    async def sweep() -> None:
        while witnesses is not None:
            await asyncio.sleep(settings.resync_s)
            try:
                await witnesses.sweep(kube, {names.endpoint_id(uid) for uid in store.uids(ENDPOINT)})
            except DedicatedError as failure:
                log.warning("activity not swept", extra={"error": str(failure)})

    return [_task(sweep(), "sweep of activity")] if witnesses is not None else []


async def _first_look(resync: Resync, informers: list[Informer], classes: Classes) -> None:
    """What must be known before the first pass: a half-known world must not be decided on."""
    await resync.first([informer.listed for informer in informers])
    try:
        await classes.look()
    except DedicatedError as failure:
        log.warning("accelerator classes not looked at", extra={"error": str(failure)})


def _task(what: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(what, name=name)


def _ended(done: set[asyncio.Task[Any]], stopping: asyncio.Task[Any]) -> int:
    if stopping in done:
        log.info("stopping as told")
        return 0
    for task in done:
        failure = task.exception() if not task.cancelled() else None
        log.error("stopping: a part ended", extra={"part": task.get_name(), "error": repr(failure)})
    return 1


def exit_now(code: int) -> None:
    """Leave without waiting for anybody: no write may follow the loss of the Lease, and the next start repairs what was left half done."""
    logging.shutdown()
    os._exit(code)


async def _check_schema(kube: KubeApi) -> str:
    """The UID of the custom resource. An older schema on the cluster would prune what we write, and we would write it for ever."""
    try:
        crd = await kube.get(CRD, None, names.CRD_NAME)
    except ApiNotFound:
        raise CannotStart(f"The cluster does not know {names.KIND}: install the chart dedicated-crds first.") from None
    found = (crd["metadata"].get("annotations") or {}).get(names.ANNOTATION_SCHEMA_HASH)
    if found != SCHEMA_HASH:
        raise CannotStart(
            f"The cluster's {names.KIND} has schema {found or 'unknown'}, this operator needs {SCHEMA_HASH}: upgrade the chart dedicated-crds first."
        )
    for kind in (ACCELERATOR_CLASS, ENDPOINT_LOG):
        try:
            await kube.get(CRD, None, f"{kind.plural}.{names.GROUP}")
        except ApiNotFound:
            raise CannotStart(f"The cluster does not know {kind.name}: upgrade the chart dedicated-crds first.") from None
    return str(crd["metadata"]["uid"])


async def _weights_credentials(kube: KubeApi, settings: Settings) -> tuple[tuple[str, str], ...]:
    """What the Secret that the installation names holds for the cache's bucket; it is read at the start."""
    name = settings.weights_secret
    if not name or settings.platform.weights is None:
        return ()
    try:
        data = (await kube.get(SECRET, settings.system_namespace, name)).get("data") or {}
    except ApiNotFound:
        data = {}
    if KEY_ID not in data or SECRET_KEY not in data:
        raise CannotStart(
            f"Secret {name} in {settings.system_namespace}, which weights.s3.credentialsSecretRef names, lacks {KEY_ID} or {SECRET_KEY}: create it."
        )
    return tuple((key, base64.b64decode(data[key]).decode()) for key in CREDENTIALS if key in data)


async def _uses_claims(kube: KubeApi) -> bool:
    """Whether the cluster hands out accelerators by claims; a cluster without resource.k8s.io/v1 does not."""
    try:
        device_classes = {found["metadata"]["name"] for found in await kube.list(DEVICE_CLASS, metadata_only=True)}
    except ApiNotFound:
        return False
    if not device_classes:
        return False
    nodes = await kube.list(NODE)
    return claims_are_used(device_classes, {name for node in nodes for name in (node.get("status") or {}).get("allocatable") or {}})


async def _system_key(kube: KubeApi, settings: Settings) -> bytes:
    """The key that all engine keys derive from: made once, and kept for as long as there can be endpoints, so that a reinstalled operator has it."""
    namespace, name = settings.system_namespace, settings.key_secret
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    fresh = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
            **settings.platform.ownership(),
        },
        "data": {"key": key},
    }
    try:
        secret = await kube.get(SECRET, namespace, name)
    except ApiNotFound:
        try:
            secret = await kube.create(fresh)
        except ApiConflict:
            secret = await kube.get(SECRET, namespace, name)
    return base64.b64decode(secret["data"]["key"])
