"""A model of the user's own in S3, with a real operator: started with the user's Secret, and refused with a reason that names what to correct."""

from __future__ import annotations

import pytest

from dedicated.api.conditions import find
from dedicated.api.status import ConditionType
from tests.support.cluster import endpoint
from tests.support.own_models import SECRET_NAME, put_model, secret, source
from tests.support.pods import OURS
from tests.support.s3 import BUCKET, moto


@pytest.fixture(scope="module")
def s3():
    with moto() as url:
        put_model(url)
        yield url


def test_a_folder_in_s3_is_started_once_its_secret_is_there_and_the_cache_is_no_source(operator, kubectl, s3):
    operator.settings |= {"DEDICATED_S3_SOURCE_ENDPOINTS": s3, "DEDICATED_S3_BUCKET": BUCKET, "DEDICATED_S3_ENDPOINT": s3}
    operator.start()
    kubectl.apply(endpoint("one", model=source()), endpoint("thief", model=source(bucket=BUCKET)))
    assert f"Secret {SECRET_NAME} does not exist" in kubectl.wait("one", "failed ObjectStoreDenied").diagnosis.message
    assert BUCKET in kubectl.wait("thief", "failed InvalidSpec").diagnosis.message
    assert not kubectl.all("deployment", OURS)

    kubectl.apply(secret(s3, namespace=kubectl.namespace))
    status = kubectl.wait("one", "building EngineStarting")
    assert find(status.conditions, ConditionType.ACCESSIBLE).message.endswith(f"access proven with Secret {SECRET_NAME}.")
    (deployment,) = kubectl.all("deployment", OURS)
    (fetch,) = deployment["spec"]["template"]["spec"]["initContainers"]
    assert fetch["args"][:4] == ["fetch", "--s3", "s3://models/own", "--commit"] and fetch["args"][4] == status.model.revision
    assert "writerwriter" not in operator.log.read_text() + kubectl.must("get", "inferenceendpoints,events,deployments", "-o=yaml")
