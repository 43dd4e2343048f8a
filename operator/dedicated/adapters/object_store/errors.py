"""What an S3 server refuses, and what may pass by itself. No other module looks into botocore's errors."""

from __future__ import annotations

import errno
import http.client
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3.exceptions
from botocore import exceptions as boto

from dedicated.api.errors import DedicatedError, NodeDiskFull, ObjectStoreDenied, ObjectStoreUnavailable

SLOW = {"SlowDown", "503", "429", "TooManyRequests", "RequestLimitExceeded", "ServiceUnavailable", "Throttling", "ThrottlingException"}
DENIED = {"AccessDenied", "403", "401", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AllAccessDisabled"}
NO_BUCKET = {"NoSuchBucket", "InvalidBucketName", "PermanentRedirect", "IllegalLocationConstraintException", "301"}
ABSENT = {"NoSuchKey", "NoSuchUpload", "404", "NotFound", "InvalidRange", "416"}
"""No such object, upload, or range of it: an object that was cut short lacks its end."""
NOT_WON = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "OperationAborted"}
"""Somebody else was first. An If-Match on an object that is gone is told as 404 by AWS and as 412 by others."""
LOST = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.ReadTimeoutError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)
NO_CREDENTIALS = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.TokenRetrievalError)


class Absent(Exception):
    """There is no such object, or it ends before what was asked for."""


class NotWon(Exception):
    """A condition of a write does not hold: somebody else was first."""


class SlowDown(ObjectStoreUnavailable):
    """The store asks for fewer requests."""


def code_of(failure: boto.ClientError) -> str:
    """S3's own code, or the status as text where the answer had no body."""
    said = failure.response.get("Error", {}).get("Code")
    return str(said or failure.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


@contextmanager
def translated(where: str) -> Iterator[None]:
    """
    Errors of the library as ours. (where: bucket and server, for people)

    Raises:
        Absent, NotWon: There is no such object; somebody else was first.
        SlowDown, ObjectStoreUnavailable, ObjectStoreDenied, NodeDiskFull.
    """
    try:
        yield
    except boto.ClientError as failure:
        raise _of_answer(where, failure) from failure
    except LOST as lost:
        raise ObjectStoreUnavailable(f"The object store {where} cannot be reached ({type(lost).__name__}).") from lost
    except NO_CREDENTIALS as missing:
        raise ObjectStoreDenied(f"There are no credentials for the object store {where} ({type(missing).__name__}).") from missing
    except boto.BotoCoreError as odd:
        raise ObjectStoreDenied(f"The object store {where} cannot be asked as it is configured: {odd}.") from odd


def _of_answer(where: str, failure: boto.ClientError) -> Exception:
    code = code_of(failure)
    if code in ABSENT:
        return Absent(code)
    if code in NOT_WON:
        return NotWon(code)
    if code in SLOW:
        return SlowDown(f"The object store {where} asks for fewer requests ({code}).")
    if code in DENIED:
        return ObjectStoreDenied(f"The object store {where} refuses the credentials ({code}).")
    if code in NO_BUCKET:
        return ObjectStoreDenied(f"The object store {where} has no such bucket ({code}).")
    return ObjectStoreUnavailable(f"The object store {where} answered {code}.")


def disk_error(failure: OSError, what: str) -> DedicatedError:
    """A file that cannot be written."""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return NodeDiskFull(f"The disk is full: {what}.")
    return NodeDiskFull(f"The disk cannot be written ({failure.strerror}): {what}.")
