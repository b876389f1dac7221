"""Connections through a proxy that is asked by HTTP/2: streams of a connection that many share."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

pytest.importorskip("h2")

from h2.events import ConnectionTerminated, DataReceived, PingReceived, StreamEnded, StreamReset

from meshproxy.model import Address
from meshproxy.net.conn import Conn
from meshproxy.net.through.carrier import IDLE
from meshproxy.net.through.stream import Stream
from meshproxy.relay.origin import Origin
from meshproxy.schema.kinds import Secret
from tests.conftest import FakeClock, Upstream
from tests.pki import Ca, Pair
from tests.relay.h2_peer import H2Peer, reached
from tests.relay.test_through import LARGE, Attempt, Peer, Site, talk, tls, until
from tests.relay.tls_peers import server, showing

ONE_LOOP = True

Run = Callable[[Coroutine[Any, Any, None]], None]


async def at(up: Upstream, **settings: int) -> H2Peer:
    proxy = await reached(up, **settings)
    # The library would have a scheme and a path of every request, but not of CONNECT.
    proxy.h2.config.validate_inbound_headers = False
    return proxy


async def agreed(proxy: H2Peer, attempt: Attempt) -> tuple[int, Conn]:
    stream, _ = await proxy.asked()
    await proxy.answer(stream, body=None, last=False)
    return stream, await attempt.made()


async def taken(proxy: H2Peer, stream: int, size: int) -> bytes:
    got = b""
    while len(got) < size:
        event = await proxy.event(DataReceived, stream)
        got += event.data
        proxy.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        await proxy.flush()
    return got


class Plain:
    """A stream at the proxy, as a socket of a test."""

    def __init__(self, proxy: H2Peer, stream: int) -> None:
        self._proxy = proxy
        self._stream = stream

    async def send(self, data: bytes) -> None:
        h2 = self._proxy.h2
        while data:
            room = min(h2.local_flow_control_window(self._stream), h2.max_outbound_frame_size)
            if not room:
                await self._proxy.hear()
                continue
            await self._proxy.data(self._stream, data[:room])
            data = data[room:]

    async def recv(self) -> bytes:
        return await taken(self._proxy, self._stream, 1)


def test_what_is_asked_and_both_ways(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        dial = site.through(up, "h2", user="edge", password=Secret.of("secret"))
        attempt = Attempt(dial, client=Origin(("10.9.0.1", 4711), None))
        proxy = await at(up)
        stream, head = await proxy.asked()
        assert head == {
            b":method": b"CONNECT",
            b":authority": b"10.1.0.5:80",
            b"proxy-authorization": b"Basic ZWRnZTpzZWNyZXQ=",
            b"forwarded": b"for=10.9.0.1",
        }
        await proxy.answer(stream, status=103, body=None, last=False)
        await proxy.answer(stream, body=b"220 hello\r\n", length=False, last=False)
        conn = await attempt.made()
        assert isinstance(conn, Stream)
        assert conn.local == ("10.1.0.5", 80)
        peer = Peer(conn)
        conn.write(b"ping")
        assert await taken(proxy, stream, 4) == b"ping"
        await proxy.data(stream, b"bye", last=True)
        await until(lambda: peer.ended)
        assert peer.heard == b"220 hello\r\nbye"
        conn.write(b"last")
        conn.end()
        assert await taken(proxy, stream, 4) == b"last"
        await proxy.event(StreamEnded, stream)
        await until(lambda: peer.lost)
        assert peer.lost == [None]
        assert (conn.sent, conn.received) == (8, 14)

    run(scenario())


def test_many_share_a_connection_and_one_that_stands_still_holds_up_nobody(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        dial = site.through(up, "h2")
        first, second = Attempt(dial), Attempt(dial, Address("ipv6", "2001:db8::5", 443))
        proxy = await at(up)
        slow, slow_conn = await agreed(proxy, first)
        stream, head = await proxy.asked()
        assert head[b":authority"] == b"[2001:db8::5]:443"
        await proxy.answer(stream, body=None, last=False)
        quick_conn = await second.made()
        still, quick = Peer(slow_conn), Peer(quick_conn)
        slow_conn.stop()
        filling = Plain(proxy, slow)
        window = proxy.h2.local_flow_control_window(slow)
        await filling.send(bytes(window))
        await Plain(proxy, stream).send(LARGE)
        await until(lambda: len(quick.heard) == len(LARGE))
        assert quick.heard == LARGE
        assert still.heard == b""
        assert proxy.h2.local_flow_control_window(slow) == 0
        slow_conn.start()
        await until(lambda: len(still.heard) == window)
        await filling.send(LARGE)
        await until(lambda: len(still.heard) == window + len(LARGE))

    run(scenario())


def test_who_writes_is_held_by_the_window_of_the_proxy(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, "h2"))
        proxy = await at(up)
        stream, conn = await agreed(proxy, attempt)
        peer = Peer(conn)
        conn.write(LARGE)
        assert peer.held
        assert conn.full
        conn.end()
        assert await taken(proxy, stream, len(LARGE)) == LARGE
        await proxy.event(StreamEnded, stream)
        assert not peer.held

    run(scenario())


@pytest.mark.parametrize(
    ("status", "number", "words"),
    [(403, errno.EACCES, "403 Forbidden"), (503, errno.ECONNREFUSED, "503 Service"), (302, errno.ECONNREFUSED, "302")],
)
def test_what_the_proxy_does_not_do(run: Run, clock: FakeClock, status: int, number: int, words: str) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, "h2"))
        proxy = await at(up)
        stream, _ = await proxy.asked()
        await proxy.answer(stream, status=status, body=b"secret")
        error = await attempt.failed()
        assert error.errno == number
        assert words in str(error)
        assert "proxy-refused" in site.logged[0]
        assert "secret" not in site.logged[0]

    run(scenario())


def test_resets_and_ends_of_either_side(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        dial = site.through(up, "h2")
        attempt = Attempt(dial)
        proxy = await at(up)
        stream, conn = await agreed(proxy, attempt)
        peer = Peer(conn)
        await proxy.reset(stream, 10)
        await until(lambda: peer.lost)
        assert isinstance(peer.lost[0], ConnectionResetError)
        # RST_STREAM before any answer
        attempt = Attempt(dial)
        stream, _ = await proxy.asked()
        await proxy.reset(stream, 10)
        assert isinstance(await attempt.failed(), ConnectionResetError)
        # ours
        attempt = Attempt(dial)
        stream, conn = await agreed(proxy, attempt)
        conn.abort()
        assert (await proxy.event(StreamReset, stream)).error_code == 8
        attempt = Attempt(dial)
        stream, _ = await proxy.asked()
        attempt.dialling.cancel()
        assert (await proxy.event(StreamReset, stream)).error_code == 8
        assert attempt.told == []
        # of the connection
        attempt, other = Attempt(dial), Attempt(dial)
        stream, conn = await agreed(proxy, attempt)
        peer = Peer(conn)
        await proxy.asked()
        proxy.peer.reset()
        await until(lambda: peer.lost)
        assert isinstance(peer.lost[0], ConnectionResetError)
        assert isinstance(await other.failed(), ConnectionResetError)

    run(scenario())


def test_a_stream_that_was_not_looked_at_is_asked_for_again(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, "h2"))
        proxy = await at(up)
        stream, _ = await proxy.asked()
        await proxy.goaway(0)
        other = await at(up)
        await agreed(other, attempt)
        attempt = Attempt(site.through(up, "h2"))
        for _ in range(4):
            stream, _ = await other.asked()
            await other.reset(stream, 7)
        error = await attempt.failed()
        assert error.errno == errno.ECONNREFUSED
        assert "no more streams" in str(error)

    run(scenario())


def test_another_connection_is_made_where_one_is_full_and_then_one_waits(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        dial = site.through(up, "h2", links=2)
        attempts = [Attempt(dial) for _ in range(3)]
        one = await at(up, max_concurrent_streams=1)
        first, conn = await agreed(one, attempts[0])
        two = await at(up, max_concurrent_streams=1)
        await agreed(two, attempts[1])
        Peer(conn)
        await one.data(first, b"", last=True)
        conn.end()
        await agreed(one, attempts[2])
        late = Attempt(dial)
        clock.advance(1.0)
        assert isinstance(await late.failed(), TimeoutError)

    run(scenario())


def test_a_connection_is_closed_when_nobody_uses_it_or_nobody_is_there(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        dial = site.through(up, "h2", dead=8.0)
        attempt = Attempt(dial)
        proxy = await at(up)
        _, conn = await agreed(proxy, attempt)
        conn.abort()
        assert isinstance(conn, Stream)
        carrier = conn._carrier
        for _ in range(int(IDLE / 4) - 1):
            clock.advance(4.0)
            await proxy.event(PingReceived)
            await until(lambda: not carrier._asked)
        clock.advance(4.0)
        await proxy.event(ConnectionTerminated)
        assert await proxy.ended()
        attempt = Attempt(dial)
        proxy = await at(up)
        _, conn = await agreed(proxy, attempt)
        peer = Peer(conn)
        clock.advance(4.0)
        clock.advance(4.0)
        await until(lambda: peer.lost)
        assert isinstance(peer.lost[0], ConnectionResetError)

    run(scenario())


def test_a_proxy_that_is_not_there_or_speaks_something_else(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        dial = site.through(up, "h2")
        attempt = Attempt(dial)
        proxy = await up.accept()
        await proxy.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        error = await attempt.failed()
        assert error.errno == errno.EPROTO
        assert "does not speak HTTP/2" in str(error)
        assert "proxy-refused" in site.logged[0]
        assert clock.pending == 0
        attempt = Attempt(dial)
        silent = await up.accept()
        await until(lambda: clock.pending == 2)
        clock.advance(1.0)
        assert isinstance(await attempt.failed(), TimeoutError), "it may be slow"
        clock.advance(6.5)
        assert clock.pending == 0, "but not for ever"
        silent.close()
        up.close()
        assert (await Attempt(dial).failed()).errno == errno.ECONNREFUSED

    run(scenario())


def test_what_is_retired_carries_on_with_what_it_has(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, "h2"))
        proxy = await at(up)
        stream, conn = await agreed(proxy, attempt)
        peer = Peer(conn)
        site.claims.abort()
        await proxy.data(stream, b"still", last=True)
        await until(lambda: peer.ended)
        conn.end()
        assert await proxy.ended()
        assert peer.heard == b"still"

    run(scenario())


def test_tls_with_the_proxy_and_within_a_stream_with_the_endpoint(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.secured(site.through(up, "h2", tls=tls(ca)), tls(ca)))
        outer = server(await up.accept(), showing(books, alpn=["h2"]))
        await outer.shake()
        proxy = await H2Peer(outer).begin()
        proxy.h2.config.validate_inbound_headers = False
        stream, _ = await proxy.asked()
        await proxy.answer(stream, body=None, last=False)
        end = server(Plain(proxy, stream), showing(books))
        await end.shake()
        await talk(site, await attempt.made(), end)

    run(scenario())


def test_a_proxy_that_does_not_choose_http2_is_not_asked(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        site, up = Site(clock), Upstream()
        attempt = Attempt(site.through(up, "h2", tls=tls(ca)))
        outer = server(await up.accept(), showing(books))
        with suppress(ConnectionError):
            await outer.shake()
        assert "not chosen" in str(await attempt.failed())

    run(scenario())
