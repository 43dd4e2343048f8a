"""Where a user's folder is: what its URI and the user's Secret say."""

from __future__ import annotations

import pytest

from dedicated.api.s3 import S3Location, location_of


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://models", "models", ""),
        ("s3://models/", "models", ""),
        ("s3://models/llama", "models", "llama/"),
        ("s3://models/a/b/", "models", "a/b/"),
    ],
)
def test_a_prefix_is_a_folder_so_that_llama_does_not_mean_llama_2_too(uri, bucket, prefix):
    assert location_of(uri, {}) == S3Location(bucket, prefix)


def test_a_server_of_ones_own_has_the_bucket_in_its_path():
    said = {"AWS_ENDPOINT_URL": "https://s3.example/", "AWS_REGION": "eu-west-1", "ca.crt": "PEM"}
    assert location_of("s3://models/x", said) == S3Location("models", "x/", "https://s3.example", "eu-west-1", True, "PEM")
