"""(Decision, platform) -> what must exist for this endpoint, and how a live object is told to differ from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dedicated.api import names
from dedicated.core.quantities import quantity, stable_hash
from dedicated.lifecycle.decide import Decision
from dedicated.render.cache import credentials
from dedicated.render.devices import devices
from dedicated.render.disruption import budget
from dedicated.render.endpoint import Wanted
from dedicated.render.isolation import key_secret, network_policy, service_account
from dedicated.render.platform import Platform
from dedicated.render.service import services
from dedicated.render.workload import deployment

Manifest = dict[str, Any]


def manifests(wanted: Wanted, decision: Decision, platform: Platform, system_key: bytes) -> Iterator[Manifest]:
    """What must exist for the target, in the order in which it is applied: first what pods refer to, pods last."""
    if not decision.replicas:
        return
    yield service_account(wanted.namespace, platform)
    yield network_policy(wanted.namespace, platform)
    yield key_secret(wanted, system_key)
    if secret := credentials(wanted, platform):
        yield secret
    yield from services(wanted, decision.serving or wanted.revision)
    if wanted.spec.replicas > 1:
        yield budget(wanted)
    if wanted.revision in decision.replicas:
        yield from devices(wanted, platform).manifests
        yield deployment(wanted, decision.replicas[wanted.revision], platform)


def with_hash(manifest: Manifest) -> Manifest:
    """The manifest with the hash of itself, replicas left out, as an annotation: the gate that keeps a converged pass from writing."""
    spec = {key: value for key, value in manifest.get("spec", {}).items() if key != "replicas"}
    digest = stable_hash({**manifest, "spec": spec}, 16)
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), names.ANNOTATION_MANIFEST_HASH: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def manifest_hash(obj: Manifest) -> str | None:
    """The hash that an object carries."""
    found: str | None = (obj["metadata"].get("annotations") or {}).get(names.ANNOTATION_MANIFEST_HASH)
    return found


def covers(live: Any, wanted: Any) -> bool:
    """
    Whether everything in the manifest is in the live object; what the API server or others added does not count.

    Lists are compared in order and length; what is empty equals what is absent; 1024Mi equals 1Gi, since the API server rewrites quantities.
    """
    if isinstance(wanted, dict):
        if not wanted:
            return not live
        return isinstance(live, dict) and all(covers(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        if not wanted:
            return not live
        return isinstance(live, list) and len(live) == len(wanted) and all(map(covers, live, wanted))
    return bool(live == wanted) or (wanted == "" and live is None) or _same_quantity(live, wanted)


def _same_quantity(live: Any, wanted: Any) -> bool:
    if not isinstance(live, str) or not isinstance(wanted, str):
        return False
    try:
        return quantity(live) == quantity(wanted)
    except ValueError:
        return False
