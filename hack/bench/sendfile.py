"""The least that an S3 client needs of a server, by sendfile: objects of a folder, whole or by range; signatures are not looked at. For benches."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from email.utils import formatdate
from pathlib import Path


def serve(folder: Path, listener: socket.socket) -> None:
    """Serve for ever, a thread for each connection."""
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_talk, args=(folder, connection), daemon=True).start()


def _talk(folder: Path, connection: socket.socket) -> None:
    received = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in received:
                try:
                    arrived = connection.recv(65536)
                except ConnectionError:
                    return
                if not arrived:
                    return
                received += arrived
            head, _, received = received.partition(b"\r\n\r\n")
            try:
                _answer(folder, connection, head.decode("latin-1"))
            except OSError:
                return


def _answer(folder: Path, connection: socket.socket, head: str) -> None:
    method, path = head.split(" ", 2)[:2]
    key = path.partition("?")[0].lstrip("/").partition("/")[2]
    file = folder / key
    size = file.stat().st_size
    asked = re.search(r"(?im)^range: bytes=(\d+)-(\d+)", head)
    first, last = (int(asked[1]), min(int(asked[2]), size - 1)) if asked else (0, size - 1)
    now = formatdate(usegmt=True)
    ranged = f"Content-Range: bytes {first}-{last}/{size}\r\n" if asked else ""
    status = "206 Partial Content" if asked else "200 OK"
    answer = f'HTTP/1.1 {status}\r\nDate: {now}\r\nLast-Modified: {now}\r\nETag: "x"\r\nContent-Length: {last - first + 1}\r\n{ranged}\r\n'
    connection.sendall(answer.encode())
    if method == "HEAD":
        return
    with file.open("rb") as content:
        while first <= last:
            first += os.sendfile(connection.fileno(), content.fileno(), first, last - first + 1)


if __name__ == "__main__":
    ready = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(ready.getsockname()[1], flush=True)
    serve(Path(sys.argv[1]), ready)
