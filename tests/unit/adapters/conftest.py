"""An S3 server for the session, empty for each test, with a proxy before it that can be made to fail."""

from __future__ import annotations

import pytest

from tests.support.s3 import empty, moto, proxied


@pytest.fixture(scope="session")
def s3_server():
    with moto() as url:
        yield url


@pytest.fixture
def s3(s3_server):
    """The proxy before the server: its url, its faults and what it was asked."""
    empty(s3_server)
    with proxied(s3_server) as found:
        yield found
