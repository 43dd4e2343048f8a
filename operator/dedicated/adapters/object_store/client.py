"""One bucket, by boto3's client: small objects whole, large ones by range, writes that take hold only if nobody else was first."""

from __future__ import annotations

import hashlib
import http.client
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from dedicated.adapters.object_store.errors import Absent, NotWon, translated
from dedicated.api.errors import ObjectStoreUnavailable
from dedicated.api.s3 import KEY_ID, SECRET_KEY, SESSION_TOKEN, S3Location

MOST_SMALL = 64 * 1024 * 1024
"""No manifest is larger. (bytes)"""
CONNECT_S, READ_S = 5, 20


@dataclass(frozen=True)
class Stored:
    """An object as a list or a head tells of it. (age_s: on the server's clock)"""

    key: str
    size: int
    etag: str
    age_s: float


@dataclass(frozen=True)
class Found(Stored):
    """An object with its content."""

    body: bytes = b""


class Body(Protocol):
    """Bytes that arrive."""

    def readinto(self, into: memoryview) -> int:
        """Fill the buffer, or a part of it; 0 at the end."""

    def close(self) -> None:
        """Let go of the connection."""


class _Direct:
    """
    A body read from http.client's response, past urllib3's: that one reads into a new buffer and copies, a third of all CPU here (urllib3 2.8).

    Where there is no such response beneath, the library's own way is taken.
    """

    def __init__(self, body: Any) -> None:
        self._body, self._raw = body, getattr(body, "_raw_stream", None)
        beneath = getattr(self._raw, "_fp", None)
        self._response = beneath if isinstance(beneath, http.client.HTTPResponse) else None

    def readinto(self, into: memoryview) -> int:
        """Fill the buffer, or a part of it; 0 at the end."""
        return int(self._response.readinto(into) if self._response else self._body.readinto(into))

    def close(self) -> None:
        """Give the connection back where all was read, else end it."""
        if self._response is not None and self._response.isclosed() and self._raw is not None:
            self._raw.release_conn()
        else:
            self._body.close()


class ObjectStore:
    """
    A bucket and a prefix. Each call is tried once: who calls has the patience, and sees every request to slow down.

    Args:
        credentials: Variables of a user's own Secret; without them the chain of boto3 (environment, web identity, instance).
        anonymous: Asks as anybody may, whatever credentials this process has.
        streams: Connections at most.
    """

    def __init__(self, location: S3Location, credentials: Mapping[str, str] | None = None, streams: int = 64, anonymous: bool = False) -> None:
        self.location = location
        self.where = f"s3://{location.bucket}" + (f" at {location.endpoint}" if location.endpoint else "")
        config = Config(
            retries={"mode": "standard", "total_max_attempts": 1},
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            max_pool_connections=streams + 4,
            s3={"addressing_style": "path" if location.path_style else "auto"},
            # Servers other than AWS answer the newer checksums with errors; ours are sha256, and stronger.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            **({"signature_version": UNSIGNED} if anonymous else {}),
        )
        given = credentials or {}
        with translated(self.where):
            # A session of our own: the default one is shared by the process, and is not safe across threads.
            session = boto3.session.Session(
                aws_access_key_id=given.get(KEY_ID),
                aws_secret_access_key=given.get(SECRET_KEY),
                aws_session_token=given.get(SESSION_TOKEN),
                region_name=location.region or None,
            )
            region = session.region_name or "us-east-1"
            self._s3: Any = session.client(
                "s3", region_name=region, endpoint_url=location.endpoint or None, verify=_ca_file(location.ca_bundle), config=config
            )

    def close(self) -> None:
        """Close the connections."""
        self._s3.close()

    # reading

    def get(self, key: str) -> Found:
        """A small object. Raises Absent."""
        with translated(self.where):
            answer = self._call("get_object", Key=key)
            body = answer["Body"].read(MOST_SMALL)
        return Found(key, len(body), answer["ETag"], _age_s(answer), body)

    def head(self, key: str) -> Stored:
        """Size and age of an object. Raises Absent."""
        with translated(self.where):
            answer = self._call("head_object", Key=key)
        return Stored(key, answer["ContentLength"], answer["ETag"], _age_s(answer))

    def span(self, key: str, first: int, length: int, *, if_match: str = "") -> Body:
        """
        So many bytes from the first on, as they arrive. What is read of it may raise what `translated` knows.

        Raises:
            Absent: There is no such object, or no such bytes of it.
            NotWon: Its ETag is another than this one; also where the server does not keep the condition.
        """
        condition = {"IfMatch": if_match} if if_match else {}
        with translated(self.where):
            answer = self._call("get_object", Key=key, Range=f"bytes={first}-{first + length - 1}", **condition)
        if if_match and answer.get("ETag", if_match) != if_match:
            answer["Body"].close()
            raise NotWon("ETag")
        return _Direct(answer["Body"])

    def list(self, prefix: str) -> Iterator[Stored]:
        """All objects whose keys begin so, by key."""
        more: dict[str, str] = {}
        while True:
            with translated(self.where):
                answer = self._call("list_objects_v2", Prefix=prefix, **more)
            now = _date(answer)
            for entry in answer.get("Contents", []):
                yield Stored(entry["Key"], entry["Size"], _quoted(entry.get("ETag", "")), max(0.0, now - entry["LastModified"].timestamp()))
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def now(self) -> float:
        """The server's clock. (seconds since the epoch)"""
        with translated(self.where):
            return _date(self._call("list_objects_v2", Prefix=self.location.prefix, MaxKeys=1))

    # writing

    def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str = "") -> str:
        """
        Write a small object; answers its ETag.

        Raises:
            NotWon: It exists already, or is no longer the one that was meant.
        """
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": if_match} if if_match else {}
        with translated(self.where):
            answer = self._call("put_object", Key=key, Body=body, **condition)
        return str(answer["ETag"])

    def delete(self, key: str) -> None:
        """Remove an object; that it is not there is fine."""
        with translated(self.where):
            self._call("delete_object", Key=key)

    # in parts

    def begin_upload(self, key: str) -> str:
        """Begin to write an object in parts; answers the upload's id."""
        with translated(self.where):
            return str(self._call("create_multipart_upload", Key=key)["UploadId"])

    def open_upload(self, key: str) -> str | None:
        """The newest unfinished upload of exactly this key, where the server tells of such."""
        try:
            with translated(self.where):
                answer = self._call("list_multipart_uploads", Prefix=key)
        except Absent:
            return None
        found = [upload for upload in answer.get("Uploads") or [] if upload["Key"] == key]
        return str(max(found, key=lambda upload: upload["Initiated"])["UploadId"]) if found else None

    def uploaded_parts(self, key: str, upload: str) -> dict[int, tuple[int, str]]:
        """Size and ETag of each part that is there, by number. Raises Absent where the upload is over."""
        found: dict[int, tuple[int, str]] = {}
        more: dict[str, Any] = {}
        while True:
            with translated(self.where):
                answer = self._call("list_parts", Key=key, UploadId=upload, **more)
            found |= {part["PartNumber"]: (part["Size"], part["ETag"]) for part in answer.get("Parts", [])}
            if not answer.get("IsTruncated"):
                return found
            more = {"PartNumberMarker": answer["NextPartNumberMarker"]}

    def put_part(self, key: str, upload: str, number: int, body: bytes) -> str:
        """Write one part; answers its ETag. Raises Absent where the upload is over."""
        with translated(self.where):
            return str(self._call("upload_part", Key=key, UploadId=upload, PartNumber=number, Body=body)["ETag"])

    def finish_upload(self, key: str, upload: str, parts: Mapping[int, str]) -> None:
        """Make the object of its parts. Raises Absent where the upload is over, so where another has finished or ended it."""
        listed = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(parts.items())]
        with translated(self.where):
            self._call("complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": listed})

    def abort_upload(self, key: str, upload: str) -> None:
        """Give its parts back; that it is over is fine."""
        try:
            with translated(self.where):
                self._call("abort_multipart_upload", Key=key, UploadId=upload)
        except Absent:
            return

    def abort_stale_uploads(self, prefix: str, older_than_s: float) -> int:
        """End unfinished uploads of keys that begin so; answers how many. A server that does not tell of such has a rule of its own."""
        try:
            with translated(self.where):
                answer = self._call("list_multipart_uploads", Prefix=prefix)
        except (Absent, ObjectStoreUnavailable):
            return 0
        now = _date(answer)
        stale = [upload for upload in answer.get("Uploads") or [] if now - upload["Initiated"].timestamp() > older_than_s]
        for upload in stale:
            self.abort_upload(upload["Key"], upload["UploadId"])
        return len(stale)

    def _call(self, method: str, **arguments: Any) -> Any:
        return getattr(self._s3, method)(Bucket=self.location.bucket, **arguments)

    # conditions

    def keeps_conditions(self, key: str) -> bool:
        """
        Whether conditional writes are conditions here: tried on this key, since servers exist that take them and do not keep them.

        That two racing writers never both win cannot be seen so; whoever relies on it must be right without it as well.
        """
        self.delete(key)
        self.put(key, b"1", if_absent=True)
        kept = self._refuses(key, b"2", if_absent=True) and self._refuses(key, b"3", if_match='"' + hashlib.md5(b"other").hexdigest() + '"')
        self.delete(key)
        return kept

    def _refuses(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str = "") -> bool:
        try:
            self.put(key, body, if_absent=if_absent, if_match=if_match)
        except (NotWon, Absent):
            return True
        return False


def _quoted(etag: str) -> str:
    """An ETag as a header has it; rclone's lists (1.76) leave the quotes out."""
    return etag if not etag or etag.endswith('"') else f'"{etag}"'


def _date(answer: Mapping[str, Any]) -> float:
    """The server's clock, from its answer; the age of anything is told by it, never by ours."""
    text = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(text).timestamp() if text else 0.0


def _age_s(answer: Mapping[str, Any]) -> float:
    now = _date(answer)
    return max(0.0, now - answer["LastModified"].timestamp()) if now and "LastModified" in answer else 0.0


def _ca_file(pem: str) -> str | None:
    """A file with the authority's certificates; the library takes no text. It goes with the container."""
    if not pem:
        return None
    path = Path(tempfile.gettempdir()) / f"dedicated-ca-{hashlib.sha256(pem.encode()).hexdigest()[:12]}.pem"
    if not path.exists():
        path.write_text(pem)
    return str(path)
