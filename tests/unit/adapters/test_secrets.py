"""The hub token in a Secret: read only where it is labelled for it, and never repeated."""

from __future__ import annotations

import base64

import pytest

from dedicated.adapters.secrets import hub_token, s3_keys
from dedicated.api.endpoint import SecretKeyRef
from dedicated.api.errors import ApiNotFound, ObjectStoreDenied, TokenInvalid, TokenMissing
from dedicated.api.names import LABEL_USE

REF = SecretKeyRef(name="hub-token")


class FakeKube:
    """An API server with one Secret, or none. Remembers whether its data left it."""

    def __init__(self, value=None, label="hub-token", key="HF_TOKEN"):
        self.value, self.label, self.key, self.told = value, label, key, []

    async def get(self, kind, namespace, name, *, metadata_only=False):
        self.told.append("metadata" if metadata_only else "data")
        if self.value is None:
            raise ApiNotFound("404")
        meta = {"metadata": {"name": name, "labels": {LABEL_USE: self.label} if self.label else None}}
        return meta if metadata_only else {**meta, "data": {self.key: base64.b64encode(self.value).decode()}}


async def read(kube, *, labelled=True):
    return await hub_token(kube, "team-a", REF, labelled=labelled)


async def test_a_token_is_read_with_one_request_where_the_watch_knows_its_secret():
    kube = FakeKube(b"hf_good\n")
    token = await read(kube)
    assert (token.text, token.origin, kube.told) == ("hf_good", "Secret hub-token (key HF_TOKEN)", ["data"])


@pytest.mark.parametrize("label", [None, "engine-env"])
async def test_of_a_secret_without_the_label_no_data_leaves_the_api_server(label):
    kube = FakeKube(b"hf_good", label=label)
    with pytest.raises(TokenMissing, match="is not labelled"):
        await read(kube, labelled=False)
    assert kube.told == ["metadata"]


async def test_a_secret_that_the_watch_has_not_told_of_yet_is_read_when_it_is_labelled():
    kube = FakeKube(b"hf_good")
    assert (await read(kube, labelled=False)).text == "hf_good"
    assert kube.told == ["metadata", "data"]


async def test_a_label_that_was_just_taken_away_counts():
    with pytest.raises(TokenMissing, match="is not labelled"):
        await read(FakeKube(b"hf_good", label=None))


@pytest.mark.parametrize(
    ("kube", "error", "says"),
    [
        (FakeKube(None), TokenMissing, "Secret hub-token does not exist in namespace team-a"),
        (FakeKube(b"hf_good", key="token"), TokenMissing, "has no key HF_TOKEN"),
        (FakeKube(b" \n"), TokenMissing, "has no key HF_TOKEN, or nothing in it"),
        (FakeKube(b"hf_\xff\xfe"), TokenInvalid, "key HF_TOKEN"),
        (FakeKube(b"hf_one\nhf_two"), TokenInvalid, "key HF_TOKEN"),
    ],
    ids=["no Secret", "another key", "nothing", "bytes", "two lines"],
)
async def test_what_is_wrong_is_named_by_secret_and_key_and_not_by_content(kube, error, says):
    with pytest.raises(error, match=says) as raised:
        await read(kube)
    assert "hf_" not in str(raised.value) and "hf_" not in repr(raised.value.__cause__)


class OneSecret(FakeKube):
    """The same with these keys."""

    def __init__(self, label="s3-source", **data):
        super().__init__(b"", label=label)
        self.data = data

    async def get(self, kind, namespace, name, *, metadata_only=False):
        found = await super().get(kind, namespace, name, metadata_only=metadata_only)
        return {**found, **({} if metadata_only else {"data": {key: base64.b64encode(value).decode() for key, value in self.data.items()}})}


async def test_the_keys_of_a_bucket_are_read_and_nothing_else_of_their_secret():
    kube = OneSecret(AWS_ACCESS_KEY_ID=b"id\n", AWS_SECRET_ACCESS_KEY=b"key", AWS_REGION=b"eu-west-1", other=b"private")
    found = await s3_keys(kube, "team-a", "s3-read", labelled=True)
    assert found == {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_REGION": "eu-west-1"} and kube.told == ["data"]


@pytest.mark.parametrize(
    ("kube", "told", "says"),
    [
        (OneSecret("hub-token", AWS_ACCESS_KEY_ID=b"id"), ["metadata"], "Secret s3-read is not labelled inference.dedicated.dev/use=s3-source"),
        (OneSecret(AWS_ACCESS_KEY_ID=b"id"), ["metadata", "data"], "Secret s3-read has no key AWS_SECRET_ACCESS_KEY"),
        (FakeKube(None), ["metadata"], "Secret s3-read does not exist in namespace team-a"),
    ],
    ids=["for another use", "half", "no Secret"],
)
async def test_keys_that_cannot_be_read_are_named_and_no_data_leaves_without_the_label(kube, told, says):
    with pytest.raises(ObjectStoreDenied, match=says):
        await s3_keys(kube, "team-a", "s3-read", labelled=False)
    assert kube.told == told
