"""The other end of a tunnel keeps to no rule, or is not who it was: what is held for it ends, and nobody else is harmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from meshproxy.observe.metrics import TunnelStats
from meshproxy.relay.mux.tunnel import Tunnel
from tests.relay.mux.test_tunnel import Ends

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]


def test_nothing_is_kept_of_a_stream_that_is_over(run: Run) -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            for _ in range(20):
                peer = ends.open()
                peer.conn.write(b"hello")
                await ends.until(lambda: peer.heard, "an echo")
                peer.conn.end()
                await ends.until(lambda: not ends.near.streams and not ends.far.streams, "it is over")
            await ends.until(lambda: all(each.lost for each in ends.served), "all have ended")
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
            peer = ends.open()
            peer.conn.write(b"hello")
            await ends.until(lambda: peer.heard, "an echo")
            first.lost()
            ends.far = ends.gate.tunnel = Tunnel(ends.loop, ends.clock, ends.far.way, ends._serve, TunnelStats())
            refused = ends.connect()
            await ends.until(lambda: refused.over, "it is not let in")
            assert isinstance(peer.lost[0], TimeoutError)
            await ends.connected()
            again = ends.open()
            again.conn.write(b"again")
            await ends.until(lambda: again.heard == b"again", "an echo")

    run(scenario())
