"""What makes a revision, and what makes another attempt worth while."""

from __future__ import annotations

import pytest

from dedicated.lifecycle.revision import inputs_hash, revision, source_hash
from tests.support.builders import COMMIT, a_spec

RETRY = {"inference.dedicated.dev/retry": "1"}
REFRESH = {"inference.dedicated.dev/refresh": "1"}
UPDATE = {"inference.dedicated.dev/update": "1"}
ENGINE = {"kind": "custom", "image": "localhost/engine:2", "port": 8000, "healthPath": "/health"}
BASE = a_spec()


@pytest.mark.parametrize(
    ("spec", "annotations", "commit", "changes"),
    [
        (a_spec(engine=ENGINE), {}, COMMIT, True),
        (a_spec(hardware={"count": 2}), {}, COMMIT, True),
        (BASE, {}, "b" * 40, True),
        (BASE, UPDATE, COMMIT, True),
        (BASE, RETRY, COMMIT, False),
        (a_spec(replicas=3), {}, COMMIT, False),
        (a_spec(suspend=True), {}, COMMIT, False),
        (a_spec(access={"owner": "bob"}), {}, COMMIT, False),
        (a_spec(scaling={"idleAfter": "0s"}), {}, COMMIT, False),
        (a_spec(update={"strategy": "replace"}), {}, COMMIT, False),
    ],
    ids=["image", "hardware", "commit", "update annotation", "retry annotation", "replicas", "suspend", "owner", "idle time", "strategy"],
)
def test_a_revision_covers_what_pods_are_made_of_and_nothing_else(spec, annotations, commit, changes):
    assert (revision(spec, annotations, commit) != revision(BASE, {}, COMMIT)) is changes


@pytest.mark.parametrize(
    ("spec", "annotations", "token"),
    [(a_spec(engine=ENGINE), {}, None), (a_spec(replicas=2), {}, None), (BASE, RETRY, None), (BASE, REFRESH, None), (BASE, {}, "uid/7")],
    ids=["spec", "replicas", "retry", "refresh", "token"],
)
def test_what_can_mend_a_failure_starts_another_attempt(spec, annotations, token):
    assert inputs_hash(spec, annotations, token) != inputs_hash(BASE, {}, None)


def test_the_owner_mends_no_failure():
    assert inputs_hash(a_spec(access={"owner": "bob"}), {}, None) == inputs_hash(BASE, {}, None)


def test_a_model_is_asked_for_anew_only_when_it_or_the_refresh_annotation_changes():
    assert source_hash(a_spec(engine=ENGINE), RETRY) == source_hash(BASE, {})
    assert source_hash(a_spec(engine={"kind": "llamacpp"}), {}) != source_hash(BASE, {})
    assert source_hash(BASE, REFRESH) != source_hash(BASE, {}) != source_hash(a_spec(model={"huggingFace": {"repo": "acme/other"}}), {})
