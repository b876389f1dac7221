"""Two ends of a tunnel over real connections, which are cut and made again under its streams."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self

import pytest

from meshproxy.model import Address
from meshproxy.net.clock import LoopClock
from meshproxy.net.conn import Conn
from meshproxy.net.mux.conn import StreamConn
from meshproxy.observe.metrics.tunnels import TunnelStats
from meshproxy.relay.mux.carrier import Carrier
from meshproxy.relay.mux.carries import Carries
from meshproxy.relay.mux.opening import Opening
from meshproxy.relay.mux.tunnel import Tunnel, Way
from meshproxy.relay.origin import Origin, Whence
from meshproxy.wire.mux.classes import Class
from meshproxy.wire.mux.frames import Fault
from meshproxy.wire.mux.hello import Hello
from meshproxy.wire.mux.metadata import Purpose
from meshproxy.wire.mux.terms import Role, Terms

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
TO = Purpose(("10.1.0.5", 80), ("10.2.0.9", 41234), "shop/books")


def asks(port: int = 53) -> Purpose:
    """What a flow is for."""
    return Purpose(("10.1.0.53", port), ("10.2.0.9", 41234), datagrams=True)


class Peer:
    """Who uses a stream, and keeps what it hears."""

    def __init__(self, conn: StreamConn) -> None:
        self.conn = conn
        self.heard = b""
        self.ended = False
        self.lost: list[OSError | None] = []
        conn.handler = self
        conn.read_to(self.take)
        conn.start()

    def take(self, data: bytes) -> None:
        self.heard += data

    def on_end(self, conn: Conn) -> None:
        self.ended = True

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.lost.append(error)
        conn.close()


class Echo(Peer):
    def take(self, data: bytes) -> None:
        super().take(data)
        self.conn.write(data)

    def on_end(self, conn: Conn) -> None:
        super().on_end(conn)
        conn.end()


class Gate:
    """Where connections of a tunnel arrive."""

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.faults: list[Fault | OSError | None] = []

    def greeted(self, carrier: Carries, hello: Hello) -> None:
        self.tunnel.attach(carrier, hello)

    def gone(self, carrier: Carries, why: Fault | OSError | None) -> None:
        self.faults.append(why)

    def heard(self, carrier: Carries) -> None:
        """Nothing before the hello."""


class Ends:
    def __init__(self, terms: Terms | None = None, resume: float = 5.0, mode: Any = "standby") -> None:
        terms = terms or Terms()
        self.loop = asyncio.get_running_loop()
        self.clock = LoopClock(self.loop)
        self.served: list[Echo] = []
        self.purposes: list[Purpose] = []
        near, far = (Way("t", role, terms, resume, 10.0, mode) for role in (Role.DIALS, Role.ACCEPTS))
        self.near = Tunnel(self.loop, self.clock, near, self._serve, TunnelStats())
        self.far = Tunnel(self.loop, self.clock, far, self._serve, TunnelStats())
        self.gate = Gate(self.far)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.near.close()
        self.far.close()

    def _serve(self, conn: StreamConn, purpose: Purpose) -> None:
        self.purposes.append(purpose)
        self.served.append(Echo(conn))

    def connect(self) -> Carrier:
        one, other = socket.socketpair()
        for sock in (one, other):
            sock.setblocking(False)
        Carrier(self.clock, Conn(self.loop, other), self.gate, 5.0).begin(b"")
        carrier = Carrier(self.clock, Conn(self.loop, one), self.near, 5.0)
        carrier.begin(b"")
        carrier.say(self.near.hello())
        return carrier

    async def connected(self) -> Carrier:
        carrier = self.connect()
        await self.until(lambda: carrier.link is not None, "there is a link")
        return carrier

    def open(self, klass: int = 0) -> Peer:
        conn = self.near.open(TO, klass)
        assert conn is not None
        return Peer(conn)

    async def talking(self, said: bytes) -> Peer:
        """Who has said that, and heard it again."""
        peer = self.open()
        peer.conn.write(said)
        await self.until(lambda: peer.heard == said, "an echo")
        return peer

    async def until(self, condition: Callable[[], object], what: str) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - it is a condition of sockets
                await asyncio.sleep(0.001)


def test_a_stream_is_a_connection(run: Run) -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            peer = await ends.talking(b"hello")
            assert ends.purposes == [TO]
            assert ends.served[0].conn.local == ("10.1.0.5", 80)
            peer.conn.end()
            await ends.until(lambda: peer.lost and ends.served[0].lost, "both have ended")
            assert (peer.lost, ends.served[0].lost) == ([None], [None])
            await ends.until(lambda: not ends.near.streams and not ends.far.streams, "nothing is left")

    run(scenario())


def test_streams_go_on_over_connections_that_are_cut(run: Run) -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            carrier = await ends.connected()
            peers = [ends.open() for _ in range(20)]
            said = [bytes([place]) * 200_000 for place in range(20)]
            for round_ in range(4):
                for peer, words in zip(peers, said, strict=True):
                    peer.conn.write(words[round_ * 50_000 : (round_ + 1) * 50_000])
                await asyncio.sleep(0.002)
                carrier.lost()
                carrier = await ends.connected()
            await ends.until(lambda: [peer.heard for peer in peers] == said, "all came back")
            assert not any(peer.lost for peer in peers)

    run(scenario())


def test_when_the_time_is_over_streams_fail_and_new_ones_begin(run: Run) -> None:
    async def scenario() -> None:
        async with Ends(resume=0.05) as ends:
            carrier = await ends.connected()
            peer = await ends.talking(b"hello")
            carrier.lost()
            await ends.until(lambda: peer.lost and ends.served[0].lost, "both have failed")
            assert isinstance(peer.lost[0], TimeoutError)
            assert ends.near.open(TO) is None
            await ends.connected()
            await ends.talking(b"again")

    run(scenario())


def test_nobody_goes_on_with_a_session_of_somebody_else(run: Run) -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            peer = await ends.talking(b"hello")
            thief = Tunnel(ends.loop, ends.clock, ends.near.way, ends._serve, TunnelStats())
            thief._id, thief._secret = ends.near._id, "0" * 64
            near, ends.near = ends.near, thief
            carrier = ends.connect()
            await ends.until(lambda: carrier.conn.closed, "the thief is sent away")
            ends.near = near
            peer.conn.write(b" world")
            await ends.until(lambda: peer.heard == b"hello world", "an echo")

    run(scenario())


@pytest.mark.parametrize("size", [100_000, 3_000_000])
def test_a_reader_that_is_slow_holds_up_its_own_stream(run: Run, size: int) -> None:
    async def scenario() -> None:
        async with Ends(Terms(window=16 * 1024, widest=64 * 1024)) as ends:
            await ends.connected()
            slow, other = ends.open(), ends.open()
            slow.conn.write(b"?")
            await ends.until(lambda: ends.served, "it is served")
            ends.served[0].conn.stop()
            slow.conn.write(bytes(size))
            other.conn.write(b"hello")
            await ends.until(lambda: other.heard == b"hello", "the other one goes on")
            assert len(ends.served[0].heard) <= 1
            ends.served[0].conn.start()
            await ends.until(lambda: len(slow.heard) == size + 1, "all came back")

    run(scenario())


CLASSES = (Class("fast"), Class("bulk", tier=1))


@pytest.mark.parametrize(
    ("mode", "carried"), [("standby", [None, set()]), ("bonded", [None, None]), ("classes", [{0}, {1}])]
)
def test_of_several_connections_each_carries_its_part_and_all_if_it_is_alone(run: Run, mode: str, carried: Any) -> None:
    async def scenario() -> None:
        async with Ends(Terms(classes=CLASSES), mode=mode) as ends:
            first, second = await ends.connected(), await ends.connected()
            assert [carrier.link and carrier.link.carries for carrier in (first, second)] == carried
            peers = [ends.open(klass) for klass in (0, 1)]
            for peer in peers:
                peer.conn.write(bytes(300_000))
            await asyncio.sleep(0.002)
            first.conn.abort()
            first.lost()
            assert second.link is not None
            assert second.link.carries in (None, {0, 1})
            await ends.until(lambda: all(len(peer.heard) == 300_000 for peer in peers), "all came back")

    run(scenario())


def test_the_other_end_hears_for_whom_a_stream_is(run: Run) -> None:
    @dataclass(frozen=True, slots=True)
    class Caller:
        source: tuple[str, int] | None
        client: str | None
        identity: str | None

    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            for caller in (Caller(("10.2.0.9", 41234), "10.2.0.9", "shop/books"), Caller(None, None, None), None):
                opening = Opening(ends.clock, ends.near, Address("ipv4", *TO.to), caller, 0, 1.0, lambda outcome: None)
                conn = opening.begin()
                assert isinstance(conn, StreamConn)
                Peer(conn)
            await ends.until(lambda: len(ends.purposes) == 3, "all are there")
            assert ends.purposes == [Purpose(TO.to, ("10.2.0.9", 41234), "shop/books"), Purpose(TO.to), Purpose(TO.to)]

    run(scenario())


def test_who_is_vouched_for_is_told_and_not_proved() -> None:
    origin = Origin(("10.2.0.9", 41234), 80)
    origin.vouched = "shop/books"
    origin.called()
    assert (origin.who, origin.identity, Whence(origin).who) == ("shop/books", None, "shop/books")


@pytest.mark.parametrize("there", [("fast", "bulk"), ("bulk", "fast"), ("fast", "other")])
def test_a_stream_has_the_same_class_at_both_ends(run: Run, there: tuple[str, str]) -> None:
    async def scenario() -> None:
        async with Ends(Terms(classes=(Class("fast"), Class("bulk", tier=1)))) as ends:
            far = Way("t", Role.ACCEPTS, Terms(classes=tuple(map(Class, there))), 5.0, 10.0)
            ends.far = ends.gate.tunnel = Tunnel(ends.loop, ends.clock, far, ends._serve, TunnelStats())
            ends.far.serve_flow = lambda flow: None
            await ends.connected()
            assert ends.near.talk(asks(), 1) is not None
            for klass in (0, 1):
                ends.open(klass)
            await ends.until(lambda: len(ends.far.streams) == 3, "all are there")
            assert ends.far.session is not None
            classes = [there[each.klass] for _, each in sorted(ends.far.session._streams.items())]
            assert classes == ["bulk" if "bulk" in there else "fast", "fast", "bulk" if "bulk" in there else "fast"]

    run(scenario())
