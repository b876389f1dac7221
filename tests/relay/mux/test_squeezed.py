"""Streams of a tunnel that are compressed: to who uses them they are as any, and to who attacks them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any

import pytest

from meshproxy.net.mux.conn import StreamConn
from meshproxy.net.mux.squeezed import SqueezedConn
from meshproxy.observe.metrics.tunnels import TunnelStats
from meshproxy.relay.mux import squeezing
from meshproxy.relay.mux.tunnel import Tunnel
from meshproxy.wire.mux.classes import Class
from meshproxy.wire.mux.frames import Fault, Reason
from meshproxy.wire.mux.metadata import Purpose
from meshproxy.wire.mux.squeeze import HEAD, LARGEST, SQUEEZED, Coding
from meshproxy.wire.mux.terms import Terms
from tests.relay.mux.test_tunnel import TO, Ends, Gate, Peer
from tests.wire.test_mux_squeeze import Deflate

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
Codings = Mapping[str, Coding]
SAID = b"GET /books HTTP/1.1\r\nHost: shop\r\naccept: text/html\r\n\r\n" * 4000
PLAIN: Codings = {"deflate": Deflate()}
BOMB = zlib.compress(bytes(25 << 20))[:-4]


class Squeezed(Ends):
    def __init__(self, near: Codings = PLAIN, far: Codings = PLAIN, terms: Terms | None = None) -> None:
        super().__init__(terms)
        self.near = Tunnel(self.loop, self.clock, self.near.way, self._serve, TunnelStats(), near)
        self.far = Tunnel(self.loop, self.clock, self.far.way, self._serve, TunnelStats(), far)
        self.gate = Gate(self.far)

    async def served_by(self, peer: Peer) -> Peer:
        """What the far end has of the last stream; it says nothing of its own."""
        peer.conn.write(b"?")
        await self.until(lambda: peer.heard, "it is served")
        return self.served[-1]


def put(peer: Peer, data: bytes) -> None:
    """As it is carried."""
    session = peer.conn._session
    assert session is not None
    session.put(peer.conn._number, data)


def test_less_is_carried_and_all_of_it_arrives(run: Run) -> None:
    async def scenario() -> None:
        async with Squeezed() as ends:
            await ends.connected()
            peer = ends.open()
            for at in range(0, len(SAID), 5000):
                peer.conn.write(SAID[at : at + 5000])
            peer.conn.end()
            await ends.until(lambda: peer.lost and ends.served[0].lost, "both have ended")
            assert (peer.lost, ends.served[0].lost) == ([None], [None])
            assert peer.heard == ends.served[0].heard == SAID
            for conn in (peer.conn, ends.served[0].conn):
                assert conn.sent == conn.received == len(SAID)
            near, far = ends.near.stats, ends.far.stats
            assert near.compressed_sent == far.compressed_received
            assert far.compressed_sent == near.compressed_received
            assert near.compressed_sent["plain"] == near.compressed_received["plain"] == len(SAID)
            assert near.compressed_sent["carried"] < len(SAID) // 20

    run(scenario())


def test_they_go_on_over_connections_that_are_cut(run: Run) -> None:
    async def scenario() -> None:
        async with Squeezed() as ends:
            carrier = await ends.connected()
            peer, said = ends.open(), [Random(place).randbytes(20_000) + bytes(40_000) for place in range(4)]
            for words in said:
                peer.conn.write(words)
                await ends.until(lambda: peer.heard, "something has come back")
                carrier.lost()
                carrier = await ends.connected()
            await ends.until(lambda: peer.heard == b"".join(said), "all came back")

    run(scenario())


@pytest.mark.parametrize(
    ("near", "far", "coding"),
    [
        (PLAIN, {}, ""), ({}, PLAIN, ""),
        ({"deflate:1": Deflate(), **PLAIN}, {"deflate:2": Deflate(), **PLAIN}, "deflate"),
        ({"deflate:1": Deflate(), **PLAIN}, {**PLAIN, "deflate:1": Deflate()}, "deflate:1"),
    ],
)  # fmt: skip
def test_it_is_done_as_both_ends_can_or_not_at_all(run: Run, near: Codings, far: Codings, coding: str) -> None:
    async def scenario() -> None:
        async with Squeezed(near, far) as ends:
            await ends.connected()
            peer = ends.open()
            peer.conn.write(SAID)
            await ends.until(lambda: peer.heard == SAID, "an echo")
            assert isinstance(peer.conn, SqueezedConn) is bool(coding)
            assert ends.purposes == [Purpose(TO.to, TO.source, TO.identity, coding=coding)]

    run(scenario())


def test_a_class_may_go_as_it_is(run: Run) -> None:
    async def scenario() -> None:
        async with Squeezed(terms=Terms(classes=(Class("pages"), Class("videos", compress=False)))) as ends:
            await ends.connected()
            peers = [ends.open(klass) for klass in (0, 1)]
            for peer in peers:
                peer.conn.write(b"hello")
            await ends.until(lambda: all(peer.heard == b"hello" for peer in peers), "echoes")
            assert [purpose.coding for purpose in ends.purposes] == ["deflate", ""]
            assert [isinstance(peer.conn, SqueezedConn) for peer in ends.served] == [True, False]

    run(scenario())


@pytest.mark.parametrize("rubbish", [HEAD.pack(0), HEAD.pack(SQUEEZED | 50) + b"x" * 50, HEAD.pack(7) + b"half"])
def test_what_is_no_block_ends_its_stream_and_no_other(run: Run, rubbish: bytes) -> None:
    async def scenario() -> None:
        async with Squeezed() as ends:
            await ends.connected()
            peer = ends.open()
            there = await ends.served_by(peer)
            other = ends.open()
            put(peer, rubbish)
            peer.conn.end()
            await ends.until(lambda: peer.lost and there.lost, "both have failed")
            assert [type(each.lost[0]) for each in (peer, there)] == [ConnectionResetError] * 2
            assert there.heard == b"?"
            other.conn.write(b"hello")
            await ends.until(lambda: other.heard == b"hello", "an echo")

    run(scenario())


def test_much_that_comes_of_little_waits_as_it_came(run: Run) -> None:
    async def scenario() -> None:
        async with Squeezed() as ends:
            await ends.connected()
            peer = ends.open()
            there = await ends.served_by(peer)
            other = ends.open()
            there.conn.stop()
            before = there.conn.received
            assert len(BOMB) < LARGEST
            put(peer, HEAD.pack(SQUEEZED | len(BOMB)) + BOMB)
            other.conn.write(b"hello")
            await ends.until(lambda: other.heard == b"hello", "the other one goes on")
            assert there.conn.received == before
            turns: list[int] = []
            there.take = lambda data: turns.append(len(data))  # type: ignore[method-assign]
            there.conn.read_to(there.take)
            there.conn.start()
            await ends.until(lambda: sum(turns) == 25 << 20, "all of it is read")
            assert max(turns) <= 120 * 1024

    run(scenario())


def test_of_what_had_come_before_a_failure_as_much_is_read_as_is_taken_at_once(run: Run) -> None:
    async def scenario() -> None:
        async with Squeezed() as ends:
            await ends.connected()
            peer = ends.open()
            there = await ends.served_by(peer)
            there.conn.came(HEAD.pack(SQUEEZED | len(BOMB)) + BOMB, False)
            there.conn.reset(Reason.CANCELLED)
            assert isinstance(there.lost[0], ConnectionResetError)
            assert len(there.heard) == 1 + 120 * 1024

    run(scenario())


def test_who_closes_what_it_has_not_read_holds_up_nobody(run: Run) -> None:
    async def scenario() -> None:
        async with Squeezed() as ends:
            await ends.connected()
            peer = ends.open()
            there = await ends.served_by(peer)
            there.conn.stop()
            noise = Random(7).randbytes(500_000)
            peer.conn.write(noise)
            await ends.until(lambda: ends.far.session and ends.far.session.received > 10_000, "some of it has come")
            there.conn.close()
            peer.conn.end()
            await ends.until(lambda: peer.lost == [None], "all is taken")

    run(scenario())


def test_nobody_compresses_in_a_way_that_was_not_agreed_on(run: Run) -> None:
    async def scenario() -> None:
        async with Squeezed() as ends:
            carrier = await ends.connected()
            assert ends.near.session is not None
            ends.near.session.open(bytes(Purpose(("10.1.0.5", 80), coding="snappy")))
            await ends.until(lambda: carrier.over, "the tunnel is closed")
            assert ends.far.session is None

    run(scenario())


def test_so_many_streams_are_compressed_at_a_time_and_others_are_not(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squeezing, "MOST", 2)

    async def scenario() -> None:
        async with Squeezed() as ends:
            await ends.connected()
            peers = [ends.open() for _ in range(3)]
            assert [isinstance(peer.conn, SqueezedConn) for peer in peers] == [True, True, False]
            peers[0].conn.abort()
            assert isinstance(ends.open().conn, SqueezedConn)
            assert not isinstance(ends.open().conn, SqueezedConn)
            assert ends.near.session is not None
            for _ in range(3):
                ends.near.session.open(bytes(Purpose(("10.1.0.5", 80), coding="deflate")))
            await ends.until(lambda: ends.near.stats.reset_total, "what is too many is refused")
            assert [isinstance(each.conn, StreamConn) for each in ends.served]
            assert not any(isinstance(why, Fault) for why in ends.gate.faults)

    run(scenario())
