"""Steady traffic for as long as it is wanted: does anything break, and what is the longest stall?

Some connections that stay, each with a message now and then; one that sends a ping every millisecond and takes
the time; and new connections all along.  Every answer is compared with what was sent.
`python -m benchmarks.steady PORT CONNECTIONS` ends when its standard input does, and prints an `Account`.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from subprocess import PIPE, Popen

from benchmarks import process

TICK = 0.001
RING = 100
"""Ticks in which each staying connection has its turn once."""
NEWCOMER = 10
"""Ticks between two new connections."""
SIZE = 512


@dataclass(slots=True)
class Account:
    pings: int = 0
    longest_ms: float = 0.0
    answered: int = 0
    opened: int = 0
    failed: int = 0
    """Connections lost or refused, answers wrong or missing at the end."""


class Traffic:
    def __init__(self, port: int, connections: int) -> None:
        self.address = ("127.0.0.1", port)
        self.poll = select.epoll()
        self.sockets: dict[int, socket.socket] = {}
        self.owed: dict[int, bytes] = {}
        self.newcomers: set[int] = set()
        self.account = Account()
        self.probe = self.open()
        self.staying = [self.open() for _ in range(connections)]
        self.pinged = 0.0

    def open(self) -> int:
        connection = socket.create_connection(self.address, process.DEADLINE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
        self.poll.register(connection, select.EPOLLIN)
        self.sockets[connection.fileno()] = connection
        self.account.opened += 1
        return connection.fileno()

    def say(self, fd: int) -> None:
        """Send a message of its own, unless one is under way or the connection was lost."""
        if fd in self.sockets and not self.owed.get(fd):
            self.owed[fd] = message = os.urandom(SIZE)
            try:
                self.sockets[fd].send(message)
            except OSError:
                self.lose(fd)

    def hear(self, fd: int) -> None:
        try:
            data = self.sockets[fd].recv(SIZE)
        except OSError:
            data = b""
        owed = self.owed.get(fd, b"")
        if not data or not owed.startswith(data):
            self.lose(fd)
            return
        self.owed[fd] = owed[len(data) :]
        if not self.owed[fd]:
            self.answered(fd)

    def answered(self, fd: int) -> None:
        self.account.answered += 1
        if fd == self.probe:
            self.account.pings += 1
            self.account.longest_ms = max(self.account.longest_ms, (time.monotonic() - self.pinged) * 1e3)
        elif fd in self.newcomers:
            self.newcomers.discard(fd)
            self.sockets.pop(fd).close()

    def lose(self, fd: int) -> None:
        self.account.failed += 1
        self.owed.pop(fd, None)
        self.newcomers.discard(fd)
        self.sockets.pop(fd).close()

    def ping(self) -> None:
        if not self.owed.get(self.probe):
            self.pinged = time.monotonic()
            self.say(self.probe)

    def tick(self, number: int) -> None:
        self.ping()
        for fd in self.staying[number % RING :: RING]:
            self.say(fd)
        if number % NEWCOMER == 0:
            try:
                newcomer = self.open()
            except OSError:
                self.account.failed += 1
            else:
                self.newcomers.add(newcomer)
                self.say(newcomer)

    def listen(self, seconds: float) -> None:
        for fd, _ in self.poll.poll(max(seconds, 0)):
            if fd in self.sockets:
                self.hear(fd)

    def until_told(self) -> Account:
        told = select.poll()
        told.register(sys.stdin, select.POLLIN | select.POLLHUP)
        number, due = 0, time.monotonic()
        while not told.poll(0):
            self.tick(number)
            number, due = number + 1, max(due + TICK, time.monotonic())
            while (left := due - time.monotonic()) > 0:
                self.listen(left)
        deadline = time.monotonic() + process.DEADLINE
        while any(self.owed.values()) and time.monotonic() < deadline:
            self.listen(TICK)
        self.account.failed += sum(map(bool, self.owed.values()))
        return self.account


@contextmanager
def running(port: int, connections: int, core: int) -> Iterator[Popen[str]]:
    child = process.start(process.module("benchmarks.steady", port, connections), core, output=PIPE)
    try:
        assert child.stdout
        child.stdout.readline()
        yield child
    finally:
        process.end(child)


def account(child: Popen[str]) -> Account:
    """Tell the traffic to end, and hear how it went."""
    answer, _ = child.communicate(timeout=2 * process.DEADLINE)
    return Account(**json.loads(answer))


def main() -> None:
    port, connections = map(int, sys.argv[1:])
    traffic = Traffic(port, connections)
    print("running", flush=True)
    print(json.dumps(asdict(traffic.until_told())))


if __name__ == "__main__":
    main()
