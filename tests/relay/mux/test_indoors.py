"""Streams of another worker, which go through the tunnel of the first."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from meshproxy.model import Address
from meshproxy.observe.metrics.tunnels import TunnelStats
from meshproxy.relay.mux.dialler import Course, Dialler
from meshproxy.relay.mux.indoors import Indoor, Indoors, indoor
from meshproxy.relay.mux.tunnel import Tunnel
from meshproxy.wire.mux.classes import Class
from meshproxy.wire.mux.frames import Reason
from meshproxy.wire.mux.metadata import Purpose
from meshproxy.wire.mux.terms import Role, Terms
from tests.relay.mux.test_flows import Parrot, Talker
from tests.relay.mux.test_tunnel import TO, Ends, Peer, asks

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]


class House(Ends):
    """The near end has another worker, which is connected as soon as the tunnel is."""

    def __init__(self, resume: float = 5.0) -> None:
        super().__init__(Terms(classes=(Class("fast"), Class("bulk", tier=1))), resume)
        self.first = Indoors(self.loop, self.clock, self._find, lambda sock: None)
        other = Indoors(self.loop, self.clock, lambda key: None, self.first.take)
        self.within = Indoor(self.loop, self.clock, indoor("key", Role.DIALS), self._serve, TunnelStats())
        self.within.lanes = ("fast", "bulk")
        self.dialler = Dialler(self.clock, self.within)
        self.dialler.go_by(Course(other.dial, lambda: (Address("unix"),)))

    async def __aexit__(self, *_: object) -> None:
        self.dialler.halt()
        self.within.close()
        await super().__aexit__()

    def _find(self, key: str) -> Tunnel | None:
        return self.near if key == "key" else None

    async def beginning(self) -> None:
        await self.connected()
        await self.until(lambda: self.within.session, "the other worker is there")

    def open(self, klass: int = 0) -> Peer:
        conn = self.within.open(TO, klass)
        assert conn is not None
        return Peer(conn)


def test_a_stream_goes_on_as_one_of_the_tunnel(run: Run) -> None:
    async def scenario() -> None:
        async with House() as house:
            await house.beginning()
            peer, words = house.open(klass=1), bytes(range(256)) * 4_000
            peer.conn.write(words)
            peer.conn.end()
            await house.until(lambda: house.served, "it is served")
            assert house.near.session is not None
            assert [stream.klass for stream in house.near.session._streams.values()] == [1]
            assert house.first.busy
            await house.until(lambda: peer.ended, "all came back, and the end behind it")
            assert (peer.heard, peer.lost, house.served[0].lost) == (words, [None], [None])
            assert house.purposes == [replace(TO, lane="bulk")]
            await house.until(lambda: not (house.near.streams or house.within.streams), "nothing is left")
            await house.until(lambda: not house.first.busy, "it may go")
            assert (house.near.stats.opened, house.within.stats.opened["here"]) == ({"here": 1, "there": 0}, 1)

    run(scenario())


@pytest.mark.parametrize(
    ("reason", "code"), [(Reason.FORBIDDEN, errno.EACCES), (Reason.CANCELLED, errno.ECONNRESET)]
)
def test_what_fails_at_the_other_end_is_no_good_end_here(run: Run, reason: Reason, code: int) -> None:
    async def scenario() -> None:
        async with House() as house:
            await house.beginning()
            peer, whole = house.open(), house.open()
            whole.conn.write(b"whole")
            peer.conn.write(b"half of it")
            await house.until(lambda: peer.heard == b"half of it" and whole.heard, "an echo")
            served = next(each for each in house.served if each.heard == b"half of it")
            served.conn.refuse(reason)
            await house.until(lambda: peer.lost, "it has failed")
            assert (peer.ended, [error and error.errno for error in peer.lost]) == (False, [code])
            assert not whole.lost
            assert house.first.busy

    run(scenario())


def test_what_fails_here_is_no_good_end_there(run: Run) -> None:
    async def scenario() -> None:
        async with House() as house:
            await house.beginning()
            peer = await house.talking(b"half of it")
            peer.conn.abort()
            (served,) = house.served
            await house.until(lambda: served.lost, "it has failed")
            assert (served.ended, isinstance(served.lost[0], ConnectionResetError)) == (False, True)

    run(scenario())


def test_who_reads_slowly_holds_up_nobody_else(run: Run) -> None:
    async def scenario() -> None:
        async with House() as house:
            await house.beginning()
            slow, other = house.open(), house.open()
            slow.conn.stop()
            slow.conn.write(bytes(6_000_000))
            other.conn.write(b"hello")
            await house.until(lambda: other.heard == b"hello", "the other one goes on")
            assert not slow.heard
            slow.conn.start()
            await house.until(lambda: len(slow.heard) == 6_000_000, "all came back")

    run(scenario())


def test_it_is_there_while_the_tunnel_has_a_session(run: Run) -> None:
    async def scenario() -> None:
        async with House(resume=0.1) as house:
            assert house.within.open(TO) is None
            carrier = await house.connected()
            await house.until(lambda: house.within.session, "the other worker is there")
            peer = await house.talking(b"hello")
            carrier.lost()
            waiting = house.open()
            await house.until(lambda: peer.lost and waiting.lost, "the time is over")
            assert [type(each.lost[0]) for each in (peer, waiting)] == [TimeoutError, TimeoutError]
            assert house.within.open(TO) is None, "another endpoint may be taken instead"
            await house.beginning()
            await house.talking(b"again")

    run(scenario())


def test_where_the_first_worker_is_gone_streams_fail_and_the_next_one_is_found(run: Run) -> None:
    async def scenario() -> None:
        async with House() as house:
            await house.beginning()
            peer = await house.talking(b"hello")
            (there,) = house.near.indoors
            (carrier,) = there.carriers
            carrier.lost()
            await house.until(lambda: peer.lost and house.served[0].lost, "both ends have failed")
            assert isinstance(peer.lost[0], ConnectionResetError)
            assert not house.first.busy
            await house.until(lambda: house.within.session, "the next one is there")
            await house.talking(b"again")

    run(scenario())


def test_who_asks_for_what_is_not_there_is_told_so(run: Run) -> None:
    async def scenario() -> None:
        async with House() as house:
            house.within.way = indoor("another", Role.DIALS)
            await house.connected()
            await house.until(lambda: house.dialler._failed > 1, "it has asked")
            assert house.within.open(Purpose(("10.1.0.5", 80))) is None

    run(scenario())


def test_where_the_other_end_takes_no_more_the_stream_is_refused(run: Run) -> None:
    async def scenario() -> None:
        async with House() as house:
            await house.beginning()
            assert house.near.session is not None
            house.near.session._peer = Terms(streams=0)
            peer = house.open()
            await house.until(lambda: peer.lost, "it is refused")
            assert [error and error.errno for error in peer.lost] == [errno.EHOSTUNREACH]

    run(scenario())


def test_a_flow_goes_on_as_one_of_the_tunnel(run: Run) -> None:
    async def scenario() -> None:
        async with House() as house:
            await house.beginning()
            parrots: list[Parrot] = []
            house.far.serve_flow = lambda flow: parrots.append(Parrot(flow))
            one, other = (Talker(house.within.talk(asks(port), 1)) for port in (53, 54))
            one.flow.send(b"one")
            other.flow.send(b"other")
            await house.until(lambda: one.heard and other.heard, "both are answered")
            assert (one.heard, other.heard) == ([b"one!"], [b"other!"])
            assert house.near.session is not None
            assert {stream.klass for stream in house.near.session._streams.values()} == {1}
            assert {each.flow.purpose for each in parrots} == {replace(asks(port), lane="bulk") for port in (53, 54)}
            one.flow.close()
            next(each for each in parrots if each.heard == [b"other"]).flow.refuse(Reason.FORBIDDEN)
            await house.until(lambda: other.over, "it has ended")
            assert isinstance(other.over[0], PermissionError)
            await house.until(lambda: not (house.near.streams or house.within.streams), "nothing is left")

    run(scenario())
