"""The far end: one process that echoes, pours out bytes, and swallows them, each on a port of its own.

`python -m benchmarks.upstream` prints its ports as one line of JSON and ends when its standard input does.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from subprocess import PIPE

from benchmarks import process

BLOCK = 1 << 20


@contextmanager
def running(core: int) -> Iterator[dict[str, int]]:
    """The upstream as its own process; yields the port of each role."""
    child = process.start(process.module("benchmarks.upstream"), core, output=PIPE)
    try:
        assert child.stdout
        ports: dict[str, int] = json.loads(child.stdout.readline())
        yield ports
    finally:
        process.end(child)


def pour(connection: socket.socket) -> None:
    block = bytes(BLOCK)
    while True:
        connection.sendall(block)


def swallow(connection: socket.socket) -> None:
    room = bytearray(BLOCK)
    while connection.recv_into(room, BLOCK, socket.MSG_TRUNC):
        pass


def accept_each(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    def guarded(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            serve(connection)

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=guarded, args=(connection,), daemon=True).start()


def echo(listener: socket.socket) -> None:
    """All connections on one epoll, so that what it costs the load's core does not grow with their number."""
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
                continue
            data = b""
            with suppress(OSError):
                data = connections[fd].recv(65536)
                connections[fd].sendall(data)
            if not data:
                connections.pop(fd).close()


def main() -> None:
    listeners = {role: socket.create_server(("127.0.0.1", 0), backlog=4096) for role in ("echo", "source", "sink")}
    print(json.dumps({role: listener.getsockname()[1] for role, listener in listeners.items()}), flush=True)
    threading.Thread(target=accept_each, args=(listeners["source"], pour), daemon=True).start()
    threading.Thread(target=accept_each, args=(listeners["sink"], swallow), daemon=True).start()
    threading.Thread(target=echo, args=(listeners["echo"],), daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
