"""What the status tells of where weights came from."""

from __future__ import annotations

from dataclasses import replace

from dedicated.api.conditions import find
from dedicated.api.reasons import Reason
from dedicated.api.status import EndpointStatus
from dedicated.diagnosis.evidence import ContainerFacts
from dedicated.lifecycle.decide import decide
from dedicated.lifecycle.fetched import newest_fetch
from dedicated.lifecycle.status import report
from dedicated.weights.fetched import Fetched, Tier
from tests.support.builders import COMMIT, NOW, OLD, TARGET, a_model, a_pod, an_observation, ended
from tests.support.status_rules import broken_rules

S3 = Fetched(Tier.S3, 16 * 1024**3, 8.0, {"s3": 16 * 1024**3}, True)


def fetched(told, *, ago_s=0.0, revision=None, exit_code=0):
    message = told if isinstance(told, str) else told.encoded()
    run = replace(ended(exit_code, message=message), finished_at=NOW - ago_s)
    pod = a_pod(containers=(ContainerFacts("fetch", init=True, terminated=run),))
    return replace(pod, revision=revision) if revision else pod


def condition(**seen):
    observed = an_observation(**seen)
    status = report(observed, decide(observed))
    assert broken_rules(status, 1) == []
    return find(status.conditions, "WeightsCached")


def test_the_tier_the_bytes_and_the_rate_are_on_the_status():
    found = condition(pods=(fetched(S3),))
    assert (found.status, found.reason) == ("True", "AllReady")
    assert found.message == f"Commit {COMMIT}: 16.0 GiB came from s3 in 8.0 s, 2.0 GiB/s."


def test_a_cache_that_could_not_be_filled_is_false_and_says_why():
    told = replace(S3, tier=Tier.HUB, cached=False, reason=Reason.OBJECT_STORE_DENIED, message="It refuses the credentials.")
    found = condition(pods=(fetched(told),))
    assert (found.status, found.reason) == ("False", "ObjectStoreDenied") and found.message.endswith("It refuses the credentials.")


def test_without_a_cache_or_before_the_fetch_has_ended_nothing_is_told():
    assert condition(pods=(fetched(replace(S3, cached=None)),)) is None
    assert condition(pods=(fetched('{"reason": "NodeDiskFull"}', exit_code=1),)) is None
    assert condition() is None


def test_it_is_kept_while_the_endpoint_sleeps_and_forgotten_with_its_commit():
    status = EndpointStatus(conditions=[condition(pods=(fetched(S3),))])
    assert condition(status=status).message.startswith(f"Commit {COMMIT}")
    assert condition(status=status, model=a_model(revision="b" * 40)) is None


def test_the_newest_fetch_of_the_target_counts():
    pods = (fetched(S3, ago_s=60), fetched(replace(S3, tier=Tier.HUB), ago_s=10), fetched(S3, revision=OLD))
    assert newest_fetch(an_observation(pods=pods), TARGET).tier == "hub"
