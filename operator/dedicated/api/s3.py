"""Where objects are: an S3 bucket as an installation or a user names it. Credentials are no part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENV = "DEDICATED_S3_"
KEY_ID, SECRET_KEY, SESSION_TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
CREDENTIALS = (KEY_ID, SECRET_KEY, SESSION_TOKEN)
"""Keys of a Secret with credentials, and the variables that boto3 reads them from."""


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
