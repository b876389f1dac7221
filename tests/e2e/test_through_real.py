"""Connections through proxies that others have written: nghttpx for CONNECT of both versions, microsocks for SOCKS5.

    DialTo --h1, h2--> nghttpx --CONNECT--> a few lines of Python --> an echo
    DialTo --SOCKS5--> microsocks --> an echo

nghttpx does not connect anywhere itself: it hands each CONNECT on to a forward proxy behind it.
"""

from __future__ import annotations

import errno
import socket
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest

from benchmarks.tools import missing
from meshproxy.cluster.cluster import DialTo
from meshproxy.model import Address
from meshproxy.model.tunnels import Tunnel
from meshproxy.plan.through import through
from meshproxy.schema.kinds import Secret
from tests.conftest import FakeClock
from tests.e2e.conftest import LONGEST, poll
from tests.relay.test_through import LARGE, Attempt, Peer, Site, until

ONE_LOOP = True

Run = Callable[[Coroutine[Any, Any, None]], None]
QUIT = b"QUIT"
needs = {name: pytest.mark.skipif(missing(name) is not None, reason=str(missing(name))) for name in
         ("nghttpx", "microsocks")}  # fmt: skip


def passed_on(source: socket.socket, sink: socket.socket) -> None:
    """Until it ends, which is passed on as well."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


class Echo(BaseRequestHandler):
    """It ends when it is told to: nghttpx does not pass an end of HTTP/2 on."""

    def handle(self) -> None:
        self.request.sendall(b"220 hello\r\n")
        while data := self.request.recv(65536):
            self.request.sendall(data)
            if data.endswith(QUIT):
                break


class Forward(BaseRequestHandler):
    """A forward proxy that knows nothing but CONNECT."""

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self.request.recv(1)
            if not piece:
                return
            head += piece
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        try:
            there = socket.create_connection((host, int(port)), LONGEST)
        except OSError:
            self.request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
            return
        with there:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            forth = Thread(target=passed_on, args=(self.request, there))
            forth.start()
            passed_on(there, self.request)
            forth.join()


@contextmanager
def serving(handler: type[BaseRequestHandler]) -> Iterator[Address]:
    with ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Address("ipv4", "127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def process(command: Callable[[int], list[str]]) -> Iterator[Address]:
    """One that listens on a port that was free."""
    port = closed_port().port
    child = subprocess.Popen(command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        poll(lambda: listens(port), "a proxy that listens")
        yield Address("ipv4", "127.0.0.1", port)
    finally:
        child.kill()
        child.wait()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), LONGEST):
        return True
    return False


def reaching(site: Site, proxy: Address, kind: Any, **said: Any) -> DialTo:
    tunnel = Tunnel("out", through=kind, server=proxy, **said)
    return through(tunnel, "far", 5.0, site.reach, site.claims, lambda: proxy)


async def converse(dial: DialTo, to: Address) -> None:
    """Several at once, who all get back what they have said, and who end."""
    peers = [Peer(await attempt.made()) for attempt in [Attempt(dial, to) for _ in range(4)]]
    for number, peer in enumerate(peers):
        peer.conn.write(b"%d" % number)
        peer.conn.write(LARGE)
    for number, peer in enumerate(peers):
        peer.conn.write(QUIT)
        await until_true(peer, "ended")
        assert peer.heard == b"220 hello\r\n%d%b%b" % (number, LARGE, QUIT)
        peer.conn.end()
        await until_true(peer, "lost")
        assert peer.lost == [None]


async def until_true(peer: Peer, what: str) -> None:
    await until(lambda: getattr(peer, what))


def closed_port() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Address("ipv4", *free.getsockname())


@needs["nghttpx"]
@pytest.mark.parametrize("kind", ["connect", "h2"])
def test_by_connect_through_nghttpx(run: Run, clock: FakeClock, kind: str) -> None:
    with serving(Echo) as to, serving(Forward) as behind:

        def command(port: int) -> list[str]:
            return [
                "nghttpx", "--http2-proxy", "--workers=1", f"--frontend=127.0.0.1,{port};no-tls",
                f"--backend=127.0.0.1,{behind.port}", "--conf=/dev/null",
            ]  # fmt: skip

        async def scenario() -> None:
            dial = reaching(Site(clock), proxy, kind)
            await converse(dial, to)
            assert (await Attempt(dial, closed_port()).failed()).errno == errno.ECONNREFUSED

        with process(command) as proxy:
            run(scenario())


@needs["microsocks"]
def test_by_socks_through_microsocks(run: Run, clock: FakeClock) -> None:
    def command(port: int) -> list[str]:
        return ["microsocks", "-i", "127.0.0.1", "-p", str(port), "-u", "edge", "-P", "secret"]

    async def scenario() -> None:
        site = Site(clock)
        dial = reaching(site, proxy, "socks5", user="edge", password=Secret.of("secret"))
        await converse(dial, to)
        assert (await Attempt(dial, closed_port()).failed()).errno == errno.ECONNREFUSED
        wrong = reaching(site, proxy, "socks5", user="edge", password=Secret.of("other"))
        assert (await Attempt(wrong, to).failed()).errno == errno.EACCES
        nobody = reaching(site, proxy, "socks5")
        assert (await Attempt(nobody, to).failed()).errno == errno.EACCES

    with serving(Echo) as to, process(command) as proxy:
        run(scenario())
