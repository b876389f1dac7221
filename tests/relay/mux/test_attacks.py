"""The other end of a tunnel keeps to no rule, or is not who it was: what is held for it ends."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from meshproxy.observe.metrics.tunnels import TunnelStats
from meshproxy.relay.mux.tunnel import MOST_CARRIERS, Tunnel
from tests.relay.mux.test_tunnel import Ends

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]


def test_nothing_is_kept_of_a_stream_that_is_over(run: Run) -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            peers = [ends.open() for _ in range(20)]
            for peer in peers:
                peer.conn.write(b"hello")
            await ends.until(lambda: all(peer.heard for peer in peers), "an echo")
            for peer in peers[::2]:
                peer.conn.end()
            for peer in peers[1::2]:
                peer.conn.abort()
            await ends.until(lambda: not ends.near.streams and not ends.far.streams, "they are over")
            assert not ends.near._streams
            assert not ends.far._streams

    run(scenario())


def test_what_came_is_read_though_its_stream_is_over(run: Run) -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            peer = ends.open()
            peer.conn.stop()
            peer.conn.write(b"hello")
            peer.conn.end()
            await ends.until(lambda: not ends.near.streams and not ends.far.streams, "it is over")
            peer.conn.start()
            await ends.until(lambda: peer.ended, "it has ended")
            assert peer.heard == b"hello"

    run(scenario())


def test_a_session_that_the_other_end_does_not_know_is_given_up(run: Run) -> None:
    """It was restarted: whoever asks again and again for what is not there would never get in."""

    async def scenario() -> None:
        async with Ends() as ends:
            first = await ends.connected()
            peer = await ends.talking(b"hello")
            first.lost()
            ends.far = ends.gate.tunnel = Tunnel(ends.loop, ends.clock, ends.far.way, ends._serve, TunnelStats())
            refused = ends.connect()
            await ends.until(lambda: refused.over, "it is not let in")
            assert isinstance(peer.lost[0], TimeoutError)
            await ends.connected()
            await ends.talking(b"again")

    run(scenario())


def test_so_many_connections_of_a_tunnel_and_no_more(run: Run) -> None:
    """Those that are silent may be gone already: whoever comes takes the place of one of them."""

    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            peer = await ends.talking(b"hello")
            for _ in range(MOST_CARRIERS + 3):
                last = await ends.connected()
            assert len(ends.far.carriers) == MOST_CARRIERS
            await ends.until(lambda: len(ends.near.carriers) == MOST_CARRIERS, "others are closed")
            assert last in ends.near.carriers
            peer.conn.write(b" world")
            await ends.until(lambda: peer.heard == b"hello world", "an echo")

    run(scenario())


def test_small_pieces_that_nobody_reads_stand_together(run: Run) -> None:
    """What is counted is bytes; each piece for itself would cost twenty times as much."""

    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            peer = ends.open()
            peer.conn.stop()
            said = b"".join(b"%d " % place for place in range(2000))
            for at in range(0, len(said), 2):
                peer.conn.came(said[at : at + 2], False)
            assert len(peer.conn._came) < 20
            peer.conn.start()
            await ends.until(lambda: len(peer.heard) == len(said), "all is read")
            assert peer.heard == said

    run(scenario())
