"""Keys of sessions from a URL: read again when a token names one that is not known, and kept while the issuer does not answer."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.gateway.conftest import ALICE
from tests.support.cluster import wait_until
from tests.support.gateway import a_gateway
from tests.support.tokens import AUDIENCE, ISSUER, Signer


@pytest.fixture
def issuer(tmp_path):
    """A signer whose key set is at a URL; answers both, and how often it was asked."""
    signer, asked = Signer(tmp_path / "jwks.json"), []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if signer.path.exists() else 503)
            self.end_headers()
            self.wfile.write(signer.path.read_bytes() if signer.path.exists() else b"")

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield signer, f"http://127.0.0.1:{server.server_port}/jwks", asked
    server.shutdown()


@pytest.mark.timeout(90)
def test_a_key_set_at_a_url_is_read_again_when_a_token_names_an_unknown_key(world, issuer):
    signer, url, asked = issuer
    settings = {"DEDICATED_SESSION_JWKS": url, "DEDICATED_SESSION_ISSUER": ISSUER, "DEDICATED_SESSION_AUDIENCE": AUDIENCE}
    with a_gateway(world.api.url, **settings) as gateway:

        def accepted(token):
            return gateway.chat(world.ids["up"], token).status == 200

        first = signer.token("alice")
        wait_until("the session to be accepted", lambda: accepted(first), 5)
        signer.rotate("next", elliptic=True)
        token = signer.token("alice")
        wait_until("the new key to be accepted", lambda: accepted(token), 15)
        assert not accepted(first)
        signer.path.unlink()
        for _ in range(20):
            assert not accepted(signer.token("alice", **{"iss": "x"})) and accepted(token)
        assert len(asked) < 6  # thousands of forged tokens do not become thousands of requests to the issuer
        assert gateway.chat(world.ids["up"], ALICE).status == 200
