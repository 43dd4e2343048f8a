"""What engines tell of their load."""

from __future__ import annotations

import pytest

from dedicated.adapters.load import EngineLoads, requests
from dedicated.api.endpoint import EngineKind
from tests.support.builders import a_pod

VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_waiting_by_reason{reason="x"} 9.0
"""


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        (EngineKind.VLLM, VLLM, 7),
        (EngineKind.SGLANG, 'sglang:num_running_reqs{model_name="m"} 0\nsglang:num_queue_reqs{model_name="m"} 0\n', 0),
        (EngineKind.LLAMACPP, "llamacpp:requests_processing 1\nllamacpp:requests_deferred 0\n", 1),
        (EngineKind.LLAMACPP, "llamacpp:requests_processing 1\n", None),
        (EngineKind.VLLM, "<html>", None),
    ],
    ids=["two engines of one server", "nothing to do", "one", "half a page", "no page"],
)
def test_running_and_queued_requests(kind, text, found):
    assert requests(kind, text) == found


async def test_an_engine_that_does_not_answer_is_not_idle_and_the_time_is_counted_until_it_answers(monkeypatch):
    now, says = [0.0], [None]

    async def one(*_args):
        return says[0]

    loads = EngineLoads(lambda: now[0])
    monkeypatch.setattr(loads, "_one", one)
    assert (await loads.ask(EngineKind.VLLM, "k", [a_pod()])).busy is None
    now[0] = 299.0
    assert (await loads.ask(EngineKind.VLLM, "k", [a_pod()])).mute_s == 299
    says[0] = 0
    found = await loads.ask(EngineKind.VLLM, "k", [a_pod()])
    assert (found.busy, found.mute_s) == (0, 0)
    says[0] = None
    now[0] = 600.0
    assert (await loads.ask(EngineKind.VLLM, "k", [a_pod()])).mute_s == 0


async def test_a_pod_without_an_address_does_not_answer():
    assert (await EngineLoads().ask(EngineKind.VLLM, "k", [a_pod(address=None)])).busy is None
