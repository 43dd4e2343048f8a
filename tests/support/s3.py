"""An S3 server in this process (moto), and a proxy before any S3 server that makes terrible things happen."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from dedicated.adapters.object_store import ObjectStore
from dedicated.api.s3 import S3Location

BUCKET = "weights"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "writer", "AWS_SECRET_ACCESS_KEY": "writerwriter"}
HOP = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class Fault:
    """One effect on the next `times` requests that match; `skip` lets so many by first."""

    method: str = "GET"
    path: str = ""
    times: int = 1
    skip: int = 0
    status: int | None = None
    code: str = "SlowDown"
    cut_after: int | None = None
    """Break off after so many bytes of the body."""
    flip: bool = False
    """One bit in the middle of the body is another."""
    lose_answer: bool = False
    """The request takes effect; its answer is never sent."""
    drop_conditions: bool = False
    """If-Match and If-None-Match are not passed on, as by a server that does not know them."""
    stall: threading.Event | None = None
    """Wait for this before anything else."""
    shown: int = 0


@dataclass
class Faults:
    """What a proxy does wrong, and what it was asked."""

    url: str = ""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, method: str, path: str, ranged: str) -> Fault | None:
        """The fault of this request, if it gets one."""
        with self.lock:
            self.requests.append((method, path, ranged))
            for fault in self.faults:
                if fault.shown < fault.times and re.search(fault.method, method) and re.search(fault.path, path):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.shown += 1
                    return fault
        return None

    def forget(self) -> None:
        """Nothing is wrong any more, and nothing was asked."""
        with self.lock:
            self.faults, self.requests, self.connections = [], [], 0

    def count(self, method: str, path: str) -> int:
        """Requests so far that match."""
        with self.lock:
            return sum(bool(re.fullmatch(method, m) and re.search(path, p)) for m, p, _ in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def handle_any(self) -> None:
        """Pass on, with the fault that is due."""
        if self.headers.get("Expect"):
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.server.found.take(self.command, self.path, self.headers.get("Range", "")) or Fault()
        if fault.stall:
            fault.stall.wait(30)
        if fault.status:
            self._answer(fault.status, f"<Error><Code>{fault.code}</Code><Message>made by a test</Message></Error>".encode())
            return
        left_out = HOP | {"expect"} | ({"if-match", "if-none-match"} if fault.drop_conditions else set())
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        upstream = http.client.HTTPConnection(self.server.there.hostname or "", self.server.there.port, timeout=30)
        upstream.request(self.command, self.path, body, headers)
        self._pass_on(upstream.getresponse(), fault)
        upstream.close()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pass_on(self, answer: http.client.HTTPResponse, fault: Fault) -> None:
        content = bytearray(answer.read())
        if fault.lose_answer:
            self._hang_up()
            return
        if fault.flip and content:
            content[len(content) // 2] ^= 0x10
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP | {"content-length"}:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if self.command != "HEAD":
            self._send(content, fault.cut_after)

    def _send(self, content: bytearray, cut_after: int | None) -> None:
        if cut_after is None or len(content) <= cut_after:
            self.wfile.write(content)
            return
        self.wfile.write(content[:cut_after])
        self._hang_up()

    def _hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, found: Faults, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.found, self.there = found, urlsplit(target)

    def process_request(self, *given: Any) -> None:
        """A new connection."""
        self.found.connections += 1
        super().process_request(*given)

    def handle_error(self, *_: object) -> None:
        """A client that went away is part of the tests."""


@contextmanager
def proxied(target: str) -> Iterator[Faults]:
    """A proxy before the server at this URL."""
    found = Faults()
    server = _Server(found, target)
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def moto() -> Iterator[str]:
    """The URL of an S3 server in this process, with the bucket in it."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    make_bucket(url)
    try:
        yield url
    finally:
        server.stop()


def make_bucket(url: str, bucket: str = BUCKET) -> None:
    """A bucket on the server, if it is not there."""
    a_store(url, bucket)._s3.create_bucket(Bucket=bucket)


@lru_cache
def a_store(url: str, bucket: str = BUCKET, prefix: str = "") -> ObjectStore:
    """The bucket on the server at this URL."""
    return ObjectStore(S3Location(bucket, prefix, url, "us-east-1", path_style=True), CREDENTIALS, streams=16)


def forget_everything(url: str) -> None:
    """Empty moto, and make the bucket anew."""
    for method, path in (("POST", "/moto-api/reset"), ("PUT", f"/{BUCKET}")):
        there = urlsplit(url)
        connection = http.client.HTTPConnection(there.hostname or "", there.port)
        connection.request(method, path)
        connection.getresponse().read()
        connection.close()
