"""Two operators, one Lease: exactly one acts, whatever happens to the one that does."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

import pytest

from tests.support.cluster import endpoint, wait_until
from tests.support.pods import children
from tests.support.proxy import proxied

TAKEOVER_S = 20
"""After kill -9 of the active one."""


@pytest.fixture
def second_proxy(plane):
    with proxied(plane) as running:
        yield running


@pytest.fixture
def second(operator, second_proxy, tmp_path):
    """Another operator of the same installation, with a proxy of its own that counts what it writes."""
    from tests.support.process import kubeconfig_for

    found = replace(
        operator, kubeconfig=kubeconfig_for(second_proxy.url, tmp_path / "second"), log=tmp_path / "second.log", identity="operator-b", exits=[]
    )
    yield found
    found.kill()


def test_the_other_takes_over_when_the_first_lets_go(operator, second, proxy, second_proxy, kubectl):
    operator.start()
    second.start(wait=False)
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    wait_until("the second to be alive", lambda: second.probe("livez"))
    assert not second.probe("readyz") and second_proxy.writes == []
    assert operator.stop() == 0
    began = time.monotonic()
    wait_until("the second to act", second.acts, 10)
    print(f"took over {time.monotonic() - began:.1f} s after SIGTERM of the first")
    before = len(proxy.writes)
    kubectl.apply(endpoint("two"))
    kubectl.wait("two", "building EngineStarting")
    assert len(proxy.writes) == before and len(children(kubectl)["deployment"]) == 2


def test_the_other_takes_over_within_20_s_of_kill_9(operator, second, second_proxy, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    second.start(wait=False)
    wait_until("the second to be alive", lambda: second.probe("livez"))
    operator.kill()
    began = time.monotonic()
    kubectl.apply(endpoint("two"))
    kubectl.wait("two", "building EngineStarting", 40)
    took_s = time.monotonic() - began
    print(f"acted {took_s:.1f} s after kill -9 of the first")
    assert took_s < TAKEOVER_S
    assert not [path for _, path in second_proxy.writes if "/deployments/one-" in path], "what had converged was written again"


def test_an_operator_that_slept_past_its_lease_writes_nothing_when_it_comes_to(operator, second, proxy, kubectl):
    operator.start()
    kubectl.apply(endpoint("one"))
    kubectl.wait("one", "building EngineStarting")
    second.start(wait=False)
    wait_until("the second to be alive", lambda: second.probe("livez"))
    operator.process.send_signal(signal.SIGSTOP)
    wait_until("the second to act", second.acts, 40)
    kubectl.apply(endpoint("two"))
    kubectl.wait("two", "building EngineStarting")
    before = len(proxy.writes)
    kubectl.apply(endpoint("three"))
    operator.process.send_signal(signal.SIGCONT)
    assert operator.process.wait(20) == 1
    kubectl.wait("three", "building EngineStarting")
    assert proxy.writes[before:] == []
