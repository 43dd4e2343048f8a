"""TLS at the gateway itself, with a certificate that is replaced while calls are open."""

from __future__ import annotations

import datetime
import http.client
import json
import os
import ssl
from contextlib import closing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.gateway.conftest import ALICE
from tests.support.cluster import wait_until
from tests.support.engine import streams
from tests.support.gateway import a_gateway


def certificate(name):
    """A certificate and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM), key.private_bytes(serialization.Encoding.PEM, *plain)


def mount(folder, name):
    """Put a certificate there as the kubelet does: a new folder, and one link that is moved to it."""
    (folder / name).mkdir(parents=True)
    for file, data in zip(("tls.crt", "tls.key"), certificate(name), strict=True):
        (folder / name / file).write_bytes(data)
        if not (folder / file).is_symlink():
            (folder / file).symlink_to(f"..data/{file}")
    (folder / "..next").symlink_to(name)
    os.replace(folder / "..next", folder / "..data")


def shown(gateway):
    """The name in the certificate that the gateway shows, and the protocol that it chooses."""
    pem = ssl.get_server_certificate(("127.0.0.1", gateway.port))
    return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()


@pytest.fixture
def secured(world, tmp_path):
    mount(tmp_path, "first")
    with a_gateway(world.api.url, DEDICATED_TLS_DIR=str(tmp_path)) as gateway:
        yield gateway, tmp_path


def test_a_new_certificate_is_shown_within_seconds_and_open_streams_go_on(world, secured):
    gateway, folder = secured
    world.engine.behave = streams(*[b"data: x\n\n"] * 40, gap_s=0.1)
    with closing(gateway._connection(30)) as connection:
        connection.request("POST", "/v1/x", json.dumps({"model": world.ids["up"]}), {"Authorization": f"Bearer {ALICE}"})
        answer = connection.getresponse()
        assert shown(gateway) == "CN=first"
        mount(folder, "second")
        wait_until("the new certificate", lambda: shown(gateway) == "CN=second", 5, every_s=0.05)
        assert answer.read() == b"data: x\n\n" * 40


def test_plain_http_is_not_answered_where_tls_is_on(secured):
    gateway, _ = secured
    with closing(http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)) as connection, pytest.raises((OSError, http.client.HTTPException)):
        connection.request("GET", "/healthz")
        connection.getresponse()
