"""The near end: loads that run in their own process and read the proxy's CPU while they do.

    download   one connection, received as fast as it comes            work in bytes
    upload     one connection, sent as fast as it goes                 work in bytes
    echo       64 bytes to and fro on each of 50 connections           work in messages
    connect    a new connection for each 64 bytes, 20 at a time        work in connections

Each is a generator of the work done since it was last asked, for ever; `measure` is the one clock.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from subprocess import PIPE

from benchmarks import process

BLOCK = 1 << 20
MESSAGE = bytes(range(64))
WARM_UP = 0.2
STALLED = 30.0
"""Seconds without any progress: over a bad link the kernel wants much room before it says that there is some."""

Dial = Callable[[], socket.socket]


@dataclass(frozen=True, slots=True)
class Sample:
    work: int
    cpu_ns: int
    seconds: float


def dialler(port: int, *, tls: bool = False) -> Dial:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def dial() -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", port), STALLED)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(plain) if tls else plain

    return dial


def download(dial: Dial) -> Iterator[int]:
    with dial() as connection:
        room = bytearray(BLOCK)
        discard = 0 if isinstance(connection, ssl.SSLSocket) else socket.MSG_TRUNC
        while got := connection.recv_into(room, BLOCK, discard):
            yield got
    raise ConnectionError("the download ended before its time")


def upload(dial: Dial) -> Iterator[int]:
    with dial() as connection:
        block = bytes(BLOCK)
        while True:
            # As much as is taken at once: who takes a megabyte slowly has not stalled.
            yield connection.send(block)


def echo(dial: Dial, connections: int = 50) -> Iterator[int]:
    poll = select.epoll()
    talking: dict[int, socket.socket] = {}
    for _ in range(connections):
        connection = dial()
        connection.send(MESSAGE)
        connection.setblocking(False)
        poll.register(connection, select.EPOLLIN)
        talking[connection.fileno()] = connection
    owed = dict.fromkeys(talking, len(MESSAGE))
    while ready := poll.poll(STALLED):
        answered = 0
        for fd, _ in ready:
            try:
                data = talking[fd].recv(len(MESSAGE))
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            if not data:
                raise ConnectionError("an echo connection was closed")
            owed[fd] -= len(data)
            if not owed[fd]:
                owed[fd] = len(MESSAGE)
                talking[fd].send(MESSAGE)
                answered += 1
        yield answered
    raise TimeoutError("no echo came back")


def connect(port: int, at_a_time: int = 20) -> Iterator[int]:
    poll = select.epoll()
    open_: dict[int, socket.socket] = {}

    def another() -> None:
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
        open_[connection.fileno()] = connection
        poll.register(connection, select.EPOLLOUT)

    for _ in range(at_a_time):
        another()
    while ready := poll.poll(STALLED):
        done = 0
        for fd, events in ready:
            if events & select.EPOLLIN:
                connection = open_.pop(fd)
                if connection.recv(len(MESSAGE)) != MESSAGE:
                    raise ConnectionError("a connection was closed before it answered")
                connection.close()
                another()
                done += 1
            else:
                open_[fd].send(MESSAGE)
                poll.modify(fd, select.EPOLLIN)
        yield done
    raise TimeoutError("no connection was answered")


def measure(work: Iterator[int], pids: Sequence[int], seconds: float) -> Sample:
    """How much work was done in `seconds`, after a warm-up, and how much CPU `pids` used for it."""
    warm = time.monotonic() + WARM_UP
    while time.monotonic() < warm:
        next(work)
    done, cpu, began = 0, process.cpu_ns(pids), time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        done += next(work)
    sample = Sample(done, process.cpu_ns(pids) - cpu, elapsed)
    if pids and not (sample.work and sample.cpu_ns):
        raise RuntimeError(f"nothing was measured: {sample}")
    return sample


def run(kind: str, port: int, pids: Sequence[int], seconds: float, core: int, *, tls: bool = False) -> Sample:
    """The load `kind` as its own process on `core`."""
    command = process.module("benchmarks.load", kind, "--port", port, "--seconds", seconds, "--pids", *pids)
    return sampled([*command, *["--tls"] * tls], seconds, core)


def sampled(command: Sequence[str], seconds: float, core: int) -> Sample:
    """The sample that a load prints."""
    child = process.start(command, core, output=PIPE, log=PIPE)
    try:
        answer, complaint = child.communicate(timeout=seconds + 2 * STALLED)
    finally:
        process.end(child)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command[1:4])} failed: {complaint.strip().splitlines()[-1]}")
    return Sample(**json.loads(answer))


def main() -> None:
    kinds: dict[str, Callable[[Dial], Iterator[int]]] = {"download": download, "upload": upload, "echo": echo}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("kind", choices=[*kinds, "connect"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--pids", type=int, nargs="*", default=[], help="the proxy's processes")
    parser.add_argument("--tls", action="store_true")
    args = parser.parse_args()
    work = connect(args.port) if args.kind == "connect" else kinds[args.kind](dialler(args.port, tls=args.tls))
    print(json.dumps(asdict(measure(work, args.pids, args.seconds))))


if __name__ == "__main__":
    main()
