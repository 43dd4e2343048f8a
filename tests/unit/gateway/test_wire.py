"""HTTP as Envoy speaks it in its checks."""

from __future__ import annotations

import asyncio

import pytest

from dedicated.gateway.checks import Answer, Check, refusal
from dedicated.gateway.wire import MAX_HEAD, Connection, parsed, written

HEAD = b"POST /check/v1/x?a=b HTTP/1.1\r\nhost: a\r\nAuthorization: Bearer k\r\ncontent-length: %d\r\n\r\n"


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.sent, self.closed = [], False

    def write(self, data):
        self.sent.append(data)

    def close(self):
        self.closed = True


def connected(answers):
    connection, transport = Connection(answers), Transport()
    connection.connection_made(transport)
    return connection, transport


@pytest.mark.parametrize("size", [1, 7, 60, 10_000], ids=lambda size: f"in pieces of {size}")
def test_a_check_is_whole_however_its_bytes_come(size):
    asked = []
    connection, transport = connected(lambda check: asked.append(check) or Answer(200, {"x-a": "b"}))
    for body in (b"{}", b"", b"x" * 300):
        sent = HEAD % len(body) + body
        for at in range(0, len(sent), size):
            connection.data_received(sent[at : at + size])
        assert asked.pop() == Check("POST", "/check/v1/x?a=b", {"host": "a", "authorization": "Bearer k", "content-length": str(len(body))}, body)
    assert transport.sent == [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-a: b\r\n\r\n"] * 3 and not transport.closed


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"G" * (MAX_HEAD + 1),
    ],
    ids=["no HTTP", "an old one", "no length", "a strange length", "two at a time", "a head without an end"],
)
def test_what_envoy_does_not_say_closes_the_connection_and_is_no_check(sent):
    asked = []
    connection, transport = connected(asked.append)
    connection.data_received(sent)
    assert transport.closed and not transport.sent and not asked


async def test_a_check_that_is_held_is_answered_later_and_cancelled_where_its_caller_leaves():
    coming, cancelled = asyncio.get_running_loop().create_future(), []

    async def later():
        try:
            return await coming
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    connection, transport = connected(lambda _check: later())
    connection.data_received(HEAD % 0)
    await asyncio.sleep(0)
    assert not transport.sent
    coming.set_result(Answer(200))
    await asyncio.sleep(0.01)
    assert len(transport.sent) == 1
    coming = asyncio.get_running_loop().create_future()
    connection.data_received(HEAD % 0)
    await asyncio.sleep(0)
    connection.connection_lost(None)
    await asyncio.sleep(0.01)
    assert cancelled and len(transport.sent) == 1


def test_two_headers_of_one_name_are_neither():
    check, _ = parsed(b"GET / HTTP/1.1\r\nAuthorization: Bearer a\r\nauthorization: Bearer b")
    assert check.headers["authorization"] == "Bearer a, Bearer b"


def test_a_path_with_spaces_stays_one_path():
    assert parsed(b"GET /check/v1/a b HTTP/1.1")[0].target == "/check/v1/a b"


def test_no_value_breaks_out_of_its_line():
    sent = written(refusal(425, "no", {"X-Endpoint-Reason": "a\r\nx-dedicated-address: evil"}))
    assert sent.startswith(b"HTTP/1.1 425 Too Early\r\n") and b"\r\nx-dedicated" not in sent
    assert sent.endswith(b'\r\n\r\n{"error": "no"}')
