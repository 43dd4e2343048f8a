"""Recorded logs on a real API server: valid, bounded, gone with their endpoint."""

from __future__ import annotations

import asyncio
import json
import random

from dedicated.adapters.kinds import ENDPOINT, ENDPOINT_LOG
from dedicated.adapters.kube import KubeApi
from dedicated.adapters.records import Records, recorded
from dedicated.api.endpointlog import MAX_OBJECT, Moment, unpacked
from dedicated.lifecycle.records import Run
from tests.support.cluster import endpoint, wait_until

NOISE = "\n".join(random.Random(at).randbytes(50).hex() for at in range(3000))


def test_a_record_is_valid_within_16_kib_written_once_and_gone_with_its_endpoint(plane, kubectl):
    kubectl.apply(endpoint("one"))

    async def keep():
        kube = await KubeApi.connect(str(plane.kubeconfig))
        found = await kube.get(ENDPOINT, kubectl.namespace, "one")
        for _ in range(2):
            records = Records()
            await records.keep(kube, found, [Run(moment, "one-x", "engine", "rev", 2, 1.0, 2.0, 137, NOISE) for moment in Moment])
            await records.sweep(kube)
        told = await recorded(kube, kubectl.namespace, "one", found["metadata"]["uid"])
        await kube.close()
        return told

    first, second = asyncio.run(keep())
    assert (first.moment, first.exit_code, second.moment) == (Moment.FAILED, 137, Moment.READY)
    assert NOISE.endswith(unpacked(first.text)) and len(unpacked(first.text)) > 10_000
    found = kubectl.all(ENDPOINT_LOG.plural)
    assert len(found) == 2
    for one in found:
        assert len(json.dumps(one)) <= MAX_OBJECT and one["metadata"]["generation"] == 1
    kubectl.must("delete", "inferenceendpoint", "one")
    wait_until("the records to go", lambda: not kubectl.all(ENDPOINT_LOG.plural))


def test_a_record_of_another_name_or_size_is_refused(kubectl):
    spec = {"moment": "failed", "container": "engine", "text": "x"}
    wrong = {"apiVersion": "inference.dedicated.dev/v1alpha1", "kind": "EndpointLog", "metadata": {"name": "mine"}, "spec": spec}
    assert "only the operator makes EndpointLogs" in kubectl.refused(wrong)
    assert "Too long" in kubectl.refused({**wrong, "metadata": {"name": "one-log-failed"}, "spec": {**spec, "text": "x" * 20_000}})
