"""Where objects are: an S3 bucket as an installation or a user names it. Credentials are no part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENV = "DEDICATED_S3_"
KEY_ID, SECRET_KEY, SESSION_TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
CREDENTIALS = (KEY_ID, SECRET_KEY, SESSION_TOKEN)
"""Keys of a Secret with credentials, and the variables that boto3 reads them from."""
ENDPOINT_URL, REGION, CA_CERTIFICATE = "AWS_ENDPOINT_URL", "AWS_REGION", "ca.crt"
"""Keys of a user's own Secret besides: the server where it is not AWS, its region, and who signed its certificate."""
SOURCE_KEYS = (*CREDENTIALS, ENDPOINT_URL, REGION, CA_CERTIFICATE)


@dataclass(frozen=True)
class S3Location:
    """A bucket, and a prefix in it. `ca_bundle` is PEM, for a server whose certificate is not signed by a public authority."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    """URL of the server; empty means AWS."""
    region: str = ""
    path_style: bool = False
    ca_bundle: str = ""

    def variables(self) -> dict[str, str]:
        """As environment variables; only those that are set."""
        said = {
            "BUCKET": self.bucket,
            "PREFIX": self.prefix,
            "ENDPOINT": self.endpoint,
            "REGION": self.region,
            "PATH_STYLE": "true" if self.path_style else "",
            "CA_BUNDLE": self.ca_bundle,
        }
        return {ENV + name: value for name, value in said.items() if value}


def location_of(uri: str, said: Mapping[str, str]) -> S3Location:
    """
    The folder that a user names, on the server that the user's Secret names.

    Args:
        uri: s3://bucket/prefix. The prefix is a folder: its slash at the end is added, so that `llama` does not mean `llama-2` too.
        said: What the Secret holds; empty for AWS without credentials.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    folder, endpoint = prefix.strip("/"), said.get(ENDPOINT_URL, "").rstrip("/")
    return S3Location(bucket, f"{folder}/" if folder else "", endpoint, said.get(REGION, ""), bool(endpoint), said.get(CA_CERTIFICATE, ""))


def location_from(env: Mapping[str, str]) -> S3Location | None:
    """The bucket that the environment names; None where it names none."""
    bucket = env.get(f"{ENV}BUCKET")
    if not bucket:
        return None
    return S3Location(
        bucket,
        env.get(f"{ENV}PREFIX", ""),
        env.get(f"{ENV}ENDPOINT", ""),
        env.get(f"{ENV}REGION", ""),
        env.get(f"{ENV}PATH_STYLE", "").lower() == "true",
        env.get(f"{ENV}CA_BUNDLE", ""),
    )
