"""What a proxy holds for a connection of HTTP/2 that has asked once and is open still: private memory, all processes.

Some have been there and gone before it is looked at, so that what only the first connections need is not counted.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from benchmarks.peers import Peer
from benchmarks.process import DEADLINE
from benchmarks.tls.memory import settled

CONNECTIONS = 500
FIRST = 50
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, GOAWAY = 0, 1, 3, 4, 7
ACK = END_STREAM = 1
END_HEADERS = 4
GET = b"\x82\x86\x84\x41\x09localhost"
"""`GET / http` by their numbers in the static table, and the authority."""


def kib_per_connection(peer: Peer) -> float:
    with introduced(peer.port, FIRST):
        pass
    before = settled(peer)
    with introduced(peer.port, CONNECTIONS) as connections:
        held = settled(peer) - before
        # still the same connections, or it was not they that were looked at
        for connection in connections:
            connection.ask(3)
    return held / CONNECTIONS


@contextmanager
def introduced(port: int, many: int) -> Iterator[list[Connection]]:
    """So many connections that stay open, each after one answer."""
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(Connection(port))) for _ in range(many)]
        for connection in connections:
            connection.ask(1)
        yield connections


class Connection:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self._taken = self._socket.makefile("rb")
        self._socket.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def ask(self, stream: int) -> None:
        """Take all frames until the end of the answer."""
        self._socket.sendall(frame(HEADERS, END_STREAM | END_HEADERS, stream, GET))
        over = False
        while not over:
            head = self._taken.read(9)
            if len(head) < 9 or head[3] in (RESET, GOAWAY):
                raise ConnectionError("a connection or a stream was ended instead of answered")
            size, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
            self._taken.read(size)
            if kind == SETTINGS and not flags & ACK:
                self._socket.sendall(frame(SETTINGS, ACK, 0))
            over = kind in (DATA, HEADERS) and bool(flags & END_STREAM)

    def close(self) -> None:
        self._taken.close()
        self._socket.close()


def frame(kind: int, flags: int, stream: int, content: bytes = b"") -> bytes:
    return len(content).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + content
