"""Datagrams through a tunnel over real connections: conversations that begin, end, and are lost."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from meshproxy.net.mux.flow import Flow
from meshproxy.wire.mux.frames import Reason
from meshproxy.wire.mux.terms import Terms
from tests.relay.mux.test_tunnel import TO, Ends, asks

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]


class Talker:
    """Who uses a flow, and keeps what is heard."""

    def __init__(self, flow: Flow | None) -> None:
        assert flow is not None
        self.flow = flow
        self.heard: list[bytes] = []
        self.over: list[OSError | None] = []
        flow.on_data, flow.on_over = self.take, self.over.append

    def take(self, data: bytes) -> None:
        self.heard.append(data)


class Parrot(Talker):
    def take(self, data: bytes) -> None:
        super().take(data)
        self.flow.send(data + b"!")


class Flows(Ends):
    """The two ends, of which the far one says everything again."""

    def __init__(self, **said: Any) -> None:
        super().__init__(**said)
        self.parrots: list[Parrot] = []
        self.far.serve_flow = lambda flow: self.parrots.append(Parrot(flow))

    def talk(self, port: int = 53) -> Talker:
        return Talker(self.near.talk(asks(port)))


def test_each_flow_hears_its_own_answers(run: Run) -> None:
    async def scenario() -> None:
        async with Flows() as ends:
            await ends.connected()
            talkers = [ends.talk(port) for port in (53, 123)]
            for talker in talkers:
                talker.flow.send(b"%d" % talker.flow.purpose.to[1])
            stream = ends.open()
            stream.conn.write(b"hello")
            await ends.until(lambda: all(talker.heard for talker in talkers) and stream.heard, "all are answered")
            assert [talker.heard for talker in talkers] == [[b"53!"], [b"123!"]]
            assert [parrot.flow.purpose for parrot in ends.parrots] == [asks(), asks(123)]
            assert (stream.heard, ends.purposes) == (b"hello", [TO])
            talkers[0].flow.close()
            ends.parrots[1].flow.close()
            await ends.until(lambda: len(ends.near.streams) == len(ends.far.streams) == 1, "the flows are over")
            assert (talkers[0].over, talkers[1].over) == ([], [None])
            assert [parrot.over for parrot in ends.parrots] == [[None], []]
            assert not talkers[1].flow.send(b"too late")
            ends.far.account()
            stats = ends.far.stats
            assert (stats.datagrams_received_total, stats.datagrams_sent_total) == (2, 2)
            assert stats.opened["there"] == 3

    run(scenario())


def test_a_flow_that_nobody_serves_is_refused(run: Run) -> None:
    async def scenario() -> None:
        async with Ends() as ends:
            await ends.connected()
            talker = Talker(ends.near.talk(asks()))
            talker.flow.send(b"?")
            await ends.until(lambda: talker.over, "it is refused")
            assert isinstance(talker.over[0], ConnectionRefusedError)
            await ends.until(lambda: not ends.near.streams and not ends.far.streams, "nothing is left")
            ends.far.account()
            assert ends.far.stats.datagrams_dropped == {"full": 0, "late": 0, "unknown": 1}

    run(scenario())


def test_a_flow_goes_on_by_the_next_connection_and_ends_with_the_session(run: Run) -> None:
    async def scenario() -> None:
        async with Flows(resume=0.05) as ends:
            carrier = await ends.connected()
            talker = ends.talk()
            talker.flow.send(b"1")
            await ends.until(lambda: talker.heard, "an answer")
            carrier.lost()
            assert not talker.flow.send(b"nobody carries it")
            assert ends.near.talk(asks()) is None
            carrier = await ends.connected()
            talker.flow.send(b"2")
            await ends.until(lambda: len(talker.heard) == 2, "an answer")
            assert (talker.heard, ends.parrots[0].heard) == ([b"1!", b"2!"], [b"1", b"2"])
            carrier.lost()
            await ends.until(lambda: talker.over and ends.parrots[0].over, "both hear of it")
            assert isinstance(talker.over[0], TimeoutError)

    run(scenario())


def test_bytes_in_a_flow_and_datagrams_in_a_stream_are_for_nobody(run: Run) -> None:
    async def scenario() -> None:
        async with Flows() as ends:
            await ends.connected()
            talker, stream = ends.talk(), ends.open()
            talker.flow.send(b"?")
            stream.conn.write(b"hello")
            await ends.until(lambda: talker.heard and stream.heard, "both are there")
            session = ends.near.session
            assert session is not None
            flow, other = session.streams
            assert session.send_datagram(other, b"?")
            session.put(flow, b"bytes")
            await ends.until(lambda: talker.over, "the flow is over")
            stream.conn.write(b" again")
            await ends.until(lambda: stream.heard == b"hello again", "the stream goes on")
            ends.far.account()
            assert ends.far.stats.datagrams_dropped["unknown"] == 1

    run(scenario())


def test_flows_leave_half_of_the_streams_to_connections(run: Run) -> None:
    async def scenario() -> None:
        async with Flows(terms=Terms(streams=6)) as ends:
            await ends.connected()
            talkers = [ends.talk() for _ in range(3)]
            assert ends.near.talk(asks()) is None
            for _ in range(3):
                ends.open()
            assert ends.near.open(TO) is None
            talkers[0].flow.refuse(Reason.CANCELLED)
            # its place is free once the other end has let go of it
            await ends.until(lambda: ends.near.talk(asks()) is not None, "there is room for another")

    run(scenario())
