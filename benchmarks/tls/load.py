"""Loads over TLS 1.3, in their own process, which read the proxy's CPU while they run as those of `benchmarks.load` do.

    full       a new connection, a full handshake, one request, the end; 20 at a time    work in handshakes
    resumed    the same with the session of an earlier connection                        work in handshakes
    requests   no two with the same head, on 50 connections that stay open               work in requests

A handshake of the other kind is an error and no figure.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import ssl
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict
from itertools import count, cycle
from pathlib import Path

from benchmarks import process
from benchmarks.load import STALLED, Sample, measure, sampled
from benchmarks.pki import Credential

KINDS = ("full", "resumed", "requests")
AT_A_TIME = 20
CONNECTIONS = 50
PREPARED = 2000
GOOD = b"HTTP/1.1 200 "
ONE = b"GET / HTTP/1.1\r\nHost: benchmark\r\nConnection: close\r\n\r\n"

Talk = Generator[None, None, None]
"""What is done on one connection; it pauses whenever there is nothing to read."""


class Client:
    """Shows its certificate to whoever asks, and believes everybody, which is cheaper.  An answer ends in `body`."""

    def __init__(self, port: int, certificate: Path, key: Path, body: bytes) -> None:
        self.port, self.body = port, body
        self.done = 0
        self.session: ssl.SSLSession | None = None
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE
        self._context.load_cert_chain(certificate, key)

    def connect(self) -> ssl.SSLSocket:
        """Without a handshake yet.  The kernel has accepted it when this is over, whatever the proxy does."""
        plain = socket.create_connection(("127.0.0.1", self.port), STALLED)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setblocking(False)
        return self._context.wrap_socket(plain, do_handshake_on_connect=False, session=self.session)

    def once(self, connection: ssl.SSLSocket) -> Talk:
        with connection:
            yield from shake_hands(connection)
            if connection.session_reused is not (self.session is not None):
                raise ConnectionError(f"a handshake was {'resumed' if connection.session_reused else 'full'}")
            connection.send(ONE)
            got = b""
            while data := (yield from receive(connection)):
                got += data
            self.judge(got)

    def again(self, connection: ssl.SSLSocket, requests: Iterator[bytes]) -> Talk:
        with connection:
            introduce(connection)
            connection.setblocking(False)
            for request in requests:
                connection.send(request)
                got = b""
                while not got.endswith(self.body):
                    data = yield from receive(connection)
                    got += data
                    if not data or not got.startswith(GOOD):
                        break
                self.judge(got)

    def judge(self, got: bytes) -> None:
        if not got.startswith(GOOD) or not got.endswith(self.body):
            raise ConnectionError(f"not an answer: {got[:100]!r}")
        self.done += 1

    def remember(self) -> None:
        """Keep the session of a first connection; its tickets come after the handshake."""
        with self.connect() as connection:
            introduce(connection)
            connection.send(ONE)
            while connection.recv(65536):
                pass
            self.session = connection.session
        if not self.session or not self.session.has_ticket:
            raise ConnectionError("no ticket came")


def introduce(connection: ssl.SSLSocket) -> None:
    """A handshake that holds up everything else, so that none is left when the measurement begins."""
    connection.settimeout(STALLED)
    connection.do_handshake()


def shake_hands(connection: ssl.SSLSocket) -> Talk:
    while True:
        try:
            return connection.do_handshake()
        except ssl.SSLWantReadError:
            yield


def receive(connection: ssl.SSLSocket) -> Generator[None, None, bytes]:
    while True:
        try:
            return connection.recv(65536)
        except ssl.SSLWantReadError:
            yield


def heads() -> Iterator[bytes]:
    """Requests as those of `differing.lua`: 9 fields, of prepared pieces, with an identity that is new each time."""
    rolled = random.Random()

    def digits(number: int) -> str:
        return f"{rolled.getrandbits(4 * number):0{number}x}"

    pieces = []
    for _ in range(PREPARED):
        path = f"/api/v1/books/{rolled.randrange(1_000_000)}/reviews?page={rolled.randrange(40)}&shelf={digits(6)}"
        fields = (
            f"GET {path} HTTP/1.1",
            "Host: bookstore.shop.svc.cluster.local:14001",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) bookbuyer/1.4.2",
            "Accept: application/json, text/plain, */*",
            "Accept-Encoding: gzip, deflate, br",
            f"Cookie: theme=dark; session={digits(32)}",
            "X-Forwarded-Proto: http",
            f"X-Forwarded-For: 10.{rolled.randrange(256)}.{rolled.randrange(256)}.{rolled.randrange(1, 255)}",
            "X-Request-Id: " + digits(16),
        )
        trace = f"\r\ntraceparent: 00-{digits(16)}"
        pieces.append(("\r\n".join(fields).encode(), trace.encode(), f"-{digits(16)}-01\r\n\r\n".encode()))
    for number, (head, trace_id, tail) in zip(count(rolled.getrandbits(63)), cycle(pieces)):
        identity = b"%016x" % number
        yield b"".join((head, identity, trace_id, identity, tail))


OVER = object()


def crowd(client: Client, many: int, talk: Callable[[ssl.SSLSocket], Talk]) -> Iterator[int]:
    """So many talks at a time, and a new one for each that is over: what was done since it was last asked."""
    poll = select.epoll()
    talks: dict[int, Talk] = {}

    def another() -> None:
        over = True
        while over:
            connection = client.connect()
            poll.register(connection, select.EPOLLIN)
            talks[connection.fileno()] = talking = talk(connection)
            # A talk may be over before it has waited for anything.
            over = next(talking, OVER) is OVER

    for _ in range(many):
        another()
    while ready := poll.poll(STALLED):
        before = client.done
        for fd, _ in ready:
            if next(talks[fd], OVER) is OVER:
                another()
        yield client.done - before
    raise TimeoutError("no answer came")


def work(kind: str, client: Client) -> Iterator[int]:
    if kind == "requests":
        several = heads()
        return crowd(client, CONNECTIONS, lambda connection: client.again(connection, several))
    if kind == "resumed":
        client.remember()
    return crowd(client, AT_A_TIME, client.once)


def run(kind: str, port: int, own: Credential, body: str, pids: Sequence[int], seconds: float, core: int) -> Sample:
    """The load `kind` as its own process on `core`."""
    shown = ("--certificate", own.certificate, "--key", own.key)
    told = ("--port", port, *shown, "--body", body, "--seconds", seconds, "--pids", *pids)
    return sampled(process.module("benchmarks.tls.load", kind, *told), seconds, core)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls.load", description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--body", required=True, help="the end of each answer")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--pids", type=int, nargs="*", default=[], help="the proxy's processes")
    args = parser.parse_args()
    client = Client(args.port, args.certificate, args.key, args.body.encode())
    print(json.dumps(asdict(measure(work(args.kind, client), args.pids, args.seconds))))


if __name__ == "__main__":
    main()
