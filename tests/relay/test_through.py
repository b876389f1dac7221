"""Connections that are made through a proxy: what is said to it, and what becomes of what it says."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy import model
from meshproxy.cluster.cluster import Caller, DialTo
from meshproxy.core.table import Table
from meshproxy.model import Address
from meshproxy.model.tls import ClientTls
from meshproxy.model.tunnels import Tunnel
from meshproxy.net.above import Above
from meshproxy.net.conn import Conn
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.dial import Dialling, Outcome
from meshproxy.net.tls import TlsConn
from meshproxy.observe.log import Log
from meshproxy.plan.dialling import Reach, dialling
from meshproxy.plan.through import through
from meshproxy.relay.origin import Origin
from meshproxy.schema.kinds import Secret
from tests.conftest import Client, FakeClock, Upstream, _opened
from tests.pki import Ca, Pair
from tests.relay.tls_peers import TlsPeer, server, showing

ONE_LOOP = True

Run = Callable[[Coroutine[Any, Any, None]], None]
TO = Address("ipv4", "10.1.0.5", 80)
CONNECT = b"CONNECT 10.1.0.5:80 HTTP/1.1\r\nHost: 10.1.0.5:80\r\n\r\n"
AGREED = b"HTTP/1.1 200 OK\r\n\r\n"
SOCKS_REQUEST = b"\x05\x01\x00\x01\x0a\x01\x00\x05\x00\x50"
SOCKS_DONE = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
LARGE = bytes(range(256)) * 8192


class Peer:
    """Who uses a connection, and keeps what it hears."""

    def __init__(self, conn: Conn, *, start: bool = True) -> None:
        self.conn = conn
        self.heard = b""
        self.ended = False
        self.held = False
        self.lost: list[OSError | None] = []
        conn.handler = conn.fed_by = self
        conn.read_to(self.take)
        if start:
            conn.start()

    def take(self, data: bytes) -> None:
        self.heard += data

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    def on_end(self, conn: Conn) -> None:
        self.ended = True

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.lost.append(error)
        conn.close()


class Attempt:
    def __init__(self, dial: DialTo, to: Address = TO, client: Caller | None = None) -> None:
        self.told: list[Outcome] = []
        self.dialling: Dialling = dial(to, self.told.append, client)
        _opened.append(self.end)
        at_once = self.dialling.begin()
        if at_once is not None:
            self.told.append(at_once)

    async def outcome(self) -> Outcome:
        await until(lambda: self.told)
        assert len(self.told) == 1
        return self.told[0]

    async def made(self) -> Conn:
        outcome = await self.outcome()
        assert isinstance(outcome, Conn), outcome
        return outcome

    async def failed(self) -> OSError:
        outcome = await self.outcome()
        assert isinstance(outcome, OSError)
        return outcome


    def end(self) -> None:
        for outcome in self.told:
            if isinstance(outcome, Conn):
                outcome.abort()
        if not self.told:
            self.dialling.cancel()


class Site:
    """What a worker has, as far as it is needed to connect."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.logged: list[str] = []
        self.table = Table()
        self.claims = self.table.begin()
        self.counted: list[str] = []
        log = Log(self.logged.append, clock=clock.now)
        self.reach = Reach(asyncio.get_running_loop(), clock, Deadlines(clock), log, {}, "cluster.local")
        _opened.append(self.end)

    def end(self) -> None:
        """What is shared has no users any more, and closes."""
        self.claims.abort()

    def through(self, up: Upstream | None, kind: Any, **said: Any) -> DialTo:
        where = None if up is None else address(up)
        tunnel = Tunnel("out", through=kind, server=where or TO, **said)
        return through(tunnel, "far", 1.0, self.reach, self.claims, lambda: where, tells=True)

    def secured(self, via: DialTo, tls: ClientTls) -> DialTo:
        cluster = model.Cluster("far", (model.Endpoint(TO),), tls=tls)
        return dialling(cluster, 1.0, self.reach, self.claims, dict, self.counted.append, via=via)


def address(up: Upstream) -> Address:
    return Address("ipv4", *up.sock.getsockname())


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is watched is plain
        await asyncio.sleep(0.001)


def in_pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


async def agrees_by_connect(proxy: Client, behind: bytes = b"") -> None:
    assert await proxy.recv_exactly(len(CONNECT)) == CONNECT
    await proxy.send(AGREED + behind)


async def agrees_by_socks(proxy: Client, behind: bytes = b"") -> None:
    assert await proxy.recv_exactly(3) == b"\x05\x01\x00"
    await proxy.send(b"\x05\x00")
    assert await proxy.recv_exactly(len(SOCKS_REQUEST)) == SOCKS_REQUEST
    await proxy.send(SOCKS_DONE + behind)


AGREES = {"connect": agrees_by_connect, "socks5": agrees_by_socks}
BOTH = pytest.mark.parametrize("kind", AGREES)


@BOTH
def test_bytes_go_both_ways_and_each_way_ends_for_itself(run: Run, clock: FakeClock, kind: str) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, kind))
        proxy = await up.accept()
        await AGREES[kind](proxy)
        conn = await attempt.made()
        assert type(conn) is Conn, "nothing is between, where nothing has come early"
        assert (conn.sent, conn.received) == (0, 0)
        peer = Peer(conn)
        conn.write(b"ping")
        assert await proxy.recv_exactly(4) == b"ping"
        await proxy.send(b"pong")
        proxy.end()
        await until(lambda: peer.ended)
        assert peer.heard == b"pong"
        conn.write(b"more")
        conn.end()
        assert await proxy.recv_all() == b"more"
        await until(lambda: peer.lost)
        assert peer.lost == [None]
        assert clock.pending == 0

    run(scenario())


@BOTH
def test_what_comes_with_the_answer_is_read_first(run: Run, clock: FakeClock, kind: str) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, kind))
        proxy = await up.accept()
        await AGREES[kind](proxy, b"220 hello\r\n")
        conn = await attempt.made()
        peer = Peer(conn, start=False)
        await proxy.send(b"250 more\r\n")
        proxy.end()
        await asyncio.sleep(0)
        assert peer.heard == b"", "not before it is asked for"
        conn.start()
        await until(lambda: peer.ended)
        assert peer.heard == b"220 hello\r\n250 more\r\n"
        assert conn.received == len(peer.heard)
        conn.write(b"QUIT\r\n")
        conn.end()
        assert await proxy.recv_all() == b"QUIT\r\n"
        await until(lambda: peer.lost)
        assert peer.lost == [None]

    run(scenario())


def test_who_does_not_read_is_waited_for_above_another_connection_as_well(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, "connect"))
        proxy = await up.accept()
        await agrees_by_connect(proxy, b"early")
        conn = await attempt.made()
        assert isinstance(conn, Above)
        peer = Peer(conn)
        sending = asyncio.ensure_future(proxy.send(LARGE))
        await until(lambda: len(peer.heard) > 5)
        conn.stop()
        got = len(peer.heard)
        conn.write(LARGE * 4)
        await until(lambda: peer.held)
        assert len(peer.heard) == got
        conn.end()
        assert await proxy.recv_exactly(len(LARGE) * 4) == LARGE * 4
        assert await proxy.recv() == b""
        assert not peer.held
        conn.start()
        await sending
        await until(lambda: len(peer.heard) == len(LARGE) + 5)
        assert peer.heard == b"early" + LARGE
        proxy.reset()
        await until(lambda: peer.lost)
        assert isinstance(peer.lost[0], OSError)

    run(scenario())


def test_a_proxy_may_say_it_byte_by_byte(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, "socks5", user="edge", password=Secret.of("secret")))
        proxy = await up.accept()
        assert await proxy.recv_exactly(4) == b"\x05\x02\x00\x02"
        await proxy.send(b"\x05\x02")
        assert await proxy.recv_exactly(13) == b"\x01\x04edge\x06secret"
        for piece in in_pieces(b"\x01\x00" + SOCKS_DONE):
            await proxy.send(piece)
        assert await proxy.recv_exactly(len(SOCKS_REQUEST)) == SOCKS_REQUEST
        (await attempt.made()).close()

    run(scenario())


def test_on_whose_behalf_is_told_where_that_is_known(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        dial = site.through(up, "connect", user="edge", password=Secret.of("secret"))
        attempt = Attempt(dial, client=Origin(("10.9.0.1", 4711), None))
        proxy = await up.accept()
        asked = CONNECT[:-2] + b"Proxy-Authorization: Basic ZWRnZTpzZWNyZXQ=\r\nForwarded: for=10.9.0.1\r\n\r\n"
        assert await proxy.recv_exactly(len(asked)) == asked
        attempt.dialling.cancel()
        with pytest.raises(ConnectionResetError):
            await proxy.recv()
        assert attempt.told == []
        assert clock.pending == 0

    run(scenario())


@pytest.mark.parametrize(
    ("kind", "script", "number", "words"),
    [
        ("connect", b"HTTP/1.1 403 secret\r\n\r\n", errno.EACCES, "the proxy: 403 Forbidden"),
        ("connect", b"HTTP/1.1 503 x\r\n\r\n", errno.ECONNREFUSED, "the proxy: 503 Service Unavailable"),
        ("connect", b"garbage\r\n\r\n", errno.EPROTO, "no answer of HTTP: bad_status_line"),
        ("connect", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000, errno.EPROTO, "head_too_large"),
        ("connect", b"", errno.EPROTO, "it went away in the middle"),
        ("socks5", b"\x05\x00\x05\x05", errno.ECONNREFUSED, "connection refused"),
        ("socks5", b"\x05\x00\x05\x04", errno.EHOSTUNREACH, "host unreachable"),
        ("socks5", b"\x05\x00\x05\x02", errno.EACCES, "not allowed by its rules"),
        ("socks5", b"\x05\xff", errno.EACCES, "another way to know who asks"),
        ("socks5", b"\x05", errno.EPROTO, "it went away in the middle"),
    ],
)
def test_what_a_proxy_has_against_it(
    run: Run, clock: FakeClock, kind: str, script: bytes, number: int, words: str
) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, kind))
        proxy = await up.accept()
        await proxy.recv_exactly(3)
        await proxy.send(script)
        proxy.end()
        error = await attempt.failed()
        assert error.errno == number
        assert words in str(error)
        assert len(site.logged) == 1
        assert "proxy-refused" in site.logged[0]
        assert "10.1.0.5:80" in site.logged[0]
        assert "secret" not in site.logged[0]
        assert clock.pending == 0

    run(scenario())


def test_a_proxy_that_is_silent_or_not_there(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, "connect"))
        proxy = await up.accept()
        await proxy.recv_exactly(len(CONNECT))
        clock.advance(1.0)
        assert isinstance(await attempt.failed(), TimeoutError)
        assert (await Attempt(site.through(None, "socks5")).failed()).errno == errno.EHOSTUNREACH
        local = Address("unix", path="/run/x")
        assert (await Attempt(site.through(up, "connect"), local).failed()).errno == errno.EAFNOSUPPORT
        dial = site.through(up, "connect")
        up.close()
        assert (await Attempt(dial).failed()).errno == errno.ECONNREFUSED

    run(scenario())


# TLS inside of it, and around it ------------------------------------------------------------------------


async def talk(site: Site, conn: Conn, end: TlsPeer) -> None:
    assert isinstance(conn, TlsConn)
    peer = Peer(conn)
    conn.write(b"ping")
    assert await end.recv() == b"ping"
    conn.write(LARGE)
    got = b""
    while len(got) < len(LARGE):
        got += await end.recv()
    assert got == LARGE
    await end.send(LARGE)
    await until(lambda: len(peer.heard) == len(LARGE))
    await end.peer.send(end.goodbye())
    await until(lambda: peer.ended)
    conn.end()
    assert await end.recv() == b""
    await until(lambda: peer.lost)
    assert peer.lost == [None]
    assert peer.heard == LARGE
    assert site.counted == ["full"]


def tls(ca: Ca) -> ClientTls:
    return ClientTls(ca=ca.root.read_text(), sni="books.shop")


@BOTH
def test_tls_is_spoken_to_the_endpoint(run: Run, clock: FakeClock, ca: Ca, books: Pair, kind: str) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.secured(site.through(up, kind), tls(ca)))
        proxy = await up.accept()
        await AGREES[kind](proxy)
        end = server(proxy, showing(books))
        await end.shake()
        await talk(site, await attempt.made(), end)

    run(scenario())


def test_tls_is_spoken_to_the_proxy_and_within_it_to_the_endpoint(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.secured(site.through(up, "connect", tls=tls(ca)), tls(ca)))
        outer = server(await up.accept(), showing(books, alpn=["http/1.1"]))
        await outer.shake()
        assert outer.ssl.selected_alpn_protocol() == "http/1.1"
        assert await outer.recv() == CONNECT
        await outer.send(AGREED)
        end = server(outer, showing(books))
        await end.shake()
        await talk(site, await attempt.made(), end)

    run(scenario())


def test_an_endpoint_that_speaks_before_its_turn_speaks_no_tls(run: Run, clock: FakeClock, ca: Ca) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.secured(site.through(up, "connect"), tls(ca)))
        proxy = await up.accept()
        await agrees_by_connect(proxy, b"220 hello\r\n")
        error = await attempt.failed()
        assert "TLS" in str(error)
        assert "handshake-failed" in site.logged[0]

    run(scenario())
