"""An S3 server for the session, empty for each test, with a proxy before it that can be made to fail."""

from __future__ import annotations

import pytest

from tests.support.s3 import forget_everything, moto, proxied


@pytest.fixture(scope="session")
def s3_servers():
    with moto() as url, proxied(url) as proxy:
        yield url, proxy


@pytest.fixture
def s3(s3_servers):
    """The proxy before the server: its url, its faults and what it was asked."""
    url, proxy = s3_servers
    forget_everything(url)
    proxy.forget()
    return proxy
