"""Two ends of a tunnel over QUIC: who they are, what is lost on the way, addresses that change, and strangers."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from meshproxy.model.address import parse
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dial
from meshproxy.net.quic import library
from meshproxy.net.quic.conn import QuicConn
from meshproxy.net.quic.dial import Outcome, QuicDial, Side, Socket, side
from meshproxy.net.quic.listener import Bounds, QuicListener
from meshproxy.net.tls.context import Pair, Terms, Unusable
from meshproxy.net.tls.faults import Broken
from meshproxy.net.udp import DatagramDoor
from meshproxy.relay.mux.carries import Carries
from meshproxy.relay.mux.quic import LANES, MOST_EARLY, QuicCarrier
from meshproxy.relay.mux.race import Race
from meshproxy.wire.mux.frames import SIZE, Closed, Fault, Kind, Reason, frame
from meshproxy.wire.mux.hello import Hello
from meshproxy.wire.mux.session import Session
from meshproxy.wire.mux.terms import Role
from meshproxy.wire.mux.terms import Terms as Takes
from tests.pki import Ca, Pki
from tests.pki import Pair as Files
from tests.relay.mux.test_tunnel import Ends, asks

pytest.importorskip("aioquic", reason="aioquic is not installed")

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]


CENTRE = "spiffe://cluster.local/ns/shop/sa/centre"


class Lossy:
    """A way for datagrams on which some are lost: every so many, by the dice, or all while it is `cut`."""

    def __init__(self, send: Callable[[bytes, Any], object], rate: float, seed: int) -> None:
        self._send = send
        self._rate = rate
        self._dice = random.Random(seed)
        self.cut = False
        self.lost: list[int] = []
        """How long each was."""

    def __call__(self, data: bytes, to: Any) -> object:
        if self.cut or self._dice.random() < self._rate:
            self.lost.append(len(data))
            return False
        return self._send(data, to)


class LossyWay:
    def __init__(self, way: Any, rate: float, seed: int) -> None:
        self.send = Lossy(way.send, rate, seed)
        self.close = way.close


class Waiting:
    """Who gets a link when it is greeted, and keeps the datagrams that come by it."""

    def __init__(self) -> None:
        self.datagrams: list[tuple[int, bytes]] = []

    def greeted(self, carrier: Carries, hello: Hello) -> None:
        session = Session(Role.DIALS, Takes(), self, lambda: 0.0, Takes())
        carrier.belongs_to(self, session.attach())

    def datagram(self, flow: int, data: bytes) -> None:
        self.datagrams.append((flow, data))

    def came(self, stream: int, data: bytes, last: bool) -> None: ...

    def gone(self, carrier: Carries, why: Fault | OSError | None) -> None: ...

    def heard(self, carrier: Carries) -> None: ...

    def opened(self, stream: int, metadata: bytes) -> None: ...

    def reset(self, stream: int, reason: int) -> None: ...

    def over(self, stream: int) -> None: ...

    def room(self, stream: int) -> None: ...

    def leaving(self) -> None: ...

    def wake(self) -> None: ...


def terms(ca: Ca, files: Files, crl: Path | None = None) -> Terms:
    pair = Pair(files.certificate.read_text(), files.key.read_text())
    return Terms(pair, ca.root.read_text(), None if crl is None else crl.read_text())


class QuicEnds(Ends):
    """Those of the other conversations, with QUIC between them."""

    def __init__(
        self, near: Side, far: Side, takes: Takes | None = None, rate: float = 0.0, bounds: Bounds | None = None
    ) -> None:
        super().__init__(takes)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        self.door = DatagramDoor(self.loop, [sock])
        self.address = parse("{}:{}".format(*self.door.local))
        self.listener = QuicListener(self.loop, self.clock, self.door, far, self._accepted, bounds or Bounds())
        self.door.serve(self.listener.received)
        self.side = near
        self.rate = rate
        self.arrived: list[QuicConn] = []
        self.failed: list[OSError] = []
        self.carriers: list[QuicCarrier] = []

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        self.door.close()

    def _accepted(self, conn: QuicConn) -> None:
        self.arrived.append(conn)
        conn.way = LossyWay(conn.way, self.rate, 2)
        QuicCarrier(self.clock, conn, self.gate, 5.0)

    def dial(self, side: Side | None = None, timeout: float = 5.0) -> None:
        def done(outcome: Outcome) -> None:
            if isinstance(outcome, OSError):
                self.failed.append(outcome)
                return
            outcome.way = LossyWay(outcome.way, self.rate, 1)
            carrier = QuicCarrier(self.clock, outcome, self.near, 5.0)
            carrier.say(self.near.hello())
            self.carriers.append(carrier)

        assert QuicDial(self.loop, self.clock, self.address, side or self.side, timeout, done).begin() is None

    async def over_quic(self) -> QuicCarrier:
        self.carriers.clear()
        self.dial()
        await self.until(lambda: self.carriers and self.carriers[0].link is not None, "there is a link")
        return self.carriers[0]


@pytest.fixture
def ca(pki: Pki) -> Ca:
    return pki.ca()


@pytest.fixture
def near(ca: Ca) -> Side:
    return side(terms(ca, ca.issue("shop/edge")), dials=True)


@pytest.fixture
def far(ca: Ca) -> Side:
    return side(terms(ca, ca.issue("shop/centre")), dials=False)


def test_a_stream_is_a_connection_and_both_ends_know_each_other(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            carrier = await ends.over_quic()
            peer = await ends.talking(b"hello")
            theirs, ours = carrier.conn.certificate, ends.arrived[0].certificate
            assert theirs is not None
            assert ours is not None
            assert theirs.identity == CENTRE
            assert ours.identity == "spiffe://cluster.local/ns/shop/sa/edge"
            peer.conn.end()
            await ends.until(lambda: peer.lost and ends.served[0].lost, "both have ended")
            await ends.until(lambda: not ends.near.streams and not ends.far.streams, "nothing is left")

    run(scenario())


def test_much_comes_whole_though_much_is_lost_on_the_way(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far, rate=0.05) as ends:
            carrier = await ends.over_quic()
            peers = [ends.open() for _ in range(5)]
            said = [bytes([place]) * 40_000 for place in range(5)]
            for peer, words in zip(peers, said, strict=True):
                peer.conn.write(words)
            await ends.until(lambda: [peer.heard for peer in peers] == said, "all came back")
            assert carrier.conn.way.send.lost  # type: ignore[attr-defined]
            assert ends.arrived[0].way.send.lost  # type: ignore[attr-defined]

    run(scenario())


def test_what_is_lost_of_one_stream_holds_up_no_other(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            carrier = await ends.over_quic()
            one, other = ends.open(), ends.open()
            for peer in (one, other):
                peer.conn.write(b"?")
            await ends.until(lambda: one.heard and other.heard, "both are served")
            way = carrier.conn.way.send
            assert isinstance(way, Lossy)
            way.cut = True
            one.conn.write(b"1" * 900)
            await ends.until(lambda: any(size > 900 for size in way.lost), "it is lost")
            way.cut = False
            order: list[bytes] = []
            for served in ends.served:
                served.conn.read_to(order.append)
            other.conn.write(b"2" * 900)
            await ends.until(lambda: len(order) == 2, "both have come")
            assert order == [b"2" * 900, b"1" * 900]

    run(scenario())


def test_the_connection_goes_on_where_the_address_changes(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            dialled = (await ends.over_quic()).conn
            peer = await ends.talking(b"before")
            before = ends.arrived[0].peer
            way = dialled.way.close.__self__  # type: ignore[attr-defined]
            assert isinstance(way, Socket)
            way._failed(OSError(errno.ENETUNREACH, "the address is gone"))
            await ends.until(lambda: ends.arrived[0].peer != before, "it is somewhere else")
            peer.conn.write(b", after")
            await ends.until(lambda: peer.heard == b"before, after", "an echo")
            assert len(ends.arrived) == 1
            assert len(ends.near.carriers) == len(ends.far.carriers) == 1

    run(scenario())


def test_streams_outlive_a_connection_that_is_gone(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            carrier = await ends.over_quic()
            peers = [ends.open() for _ in range(5)]
            for peer in peers:
                peer.conn.write(b"x" * 30_000)
            await ends.until(lambda: peers[0].heard, "it has begun")
            carrier.lost()
            await ends.over_quic()
            await ends.until(lambda: all(len(peer.heard) == 30_000 for peer in peers), "all came back")
            assert not any(peer.lost for peer in peers)

    run(scenario())


def test_datagrams_go_by_themselves_once_their_flow_is_known_and_large_ones_by_its_lane(
    run: Run, near: Side, far: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            carrier = await ends.over_quic()
            sent, heard = [], []
            send = QuicConn.send_datagram

            def sends(conn: QuicConn, data: bytes) -> None:
                if conn is carrier.conn:
                    sent.append(len(data) - SIZE)
                send(conn, data)

            monkeypatch.setattr(QuicConn, "send_datagram", sends)
            ends.far.serve_flow = lambda flow: setattr(flow, "on_data", lambda data: heard.append(len(data)))
            flow = ends.near.talk(asks())
            assert flow is not None
            assert flow.send(b"the first one opens it")
            await ends.until(lambda: heard, "it has come")
            assert not sent
            (number,) = ends.near.streams
            assert ends.near.session is not None
            await ends.until(lambda: ends.near.session.knows(number), "it is known")  # type: ignore[union-attr]
            for size in (10, 1082, 1083, 9000, 65_507):
                assert flow.send(b"d" * size)
            await ends.until(lambda: len(heard) == 6, "all have come")
            assert sorted(heard) == [10, 22, 1082, 1083, 9000, 65_507]
            assert sent == [10, 1082]

    run(scenario())


def test_a_tunnel_that_is_closed_says_why(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            await ends.over_quic()
            peer = ends.open()
            why: list[object] = []
            gone = ends.near.gone

            def hears(carrier: Carries, fault: Fault | OSError | None) -> None:
                why.append(fault)
                gone(carrier, fault)

            ends.near.gone = hears  # type: ignore[assignment,method-assign]
            ends.far.close()
            await ends.until(lambda: peer.lost, "its streams have failed")
            assert isinstance(why[0], Closed)
            assert why[0].reason is Reason.LEAVING

    run(scenario())


# Who is believed


async def turned_away(ends: QuicEnds) -> None:
    """A client, who hears of it when it believes to be there."""
    ends.dial()
    await ends.until(lambda: ends.carriers and ends.carriers[0].conn.closed, "it is over")
    assert not ends.arrived
    assert not ends.near.carriers
    assert ends.listener.conns == 0


@pytest.mark.parametrize("whose", ["foreign", "expired", "for servers", "revoked"])
def test_a_client_that_is_not_believed_gets_nowhere(run: Run, pki: Pki, ca: Ca, whose: str) -> None:
    books = {
        "foreign": lambda: pki.ca().issue("shop/edge"),
        "expired": lambda: ca.issue("shop/edge", start=-2, days=1),
        "for servers": lambda: ca.issue("shop/edge", roles=["server"]),
        "revoked": lambda: ca.issue("shop/edge"),
    }[whose]()
    crl = ca.crl([books] if whose == "revoked" else [])
    near = side(terms(ca, books), dials=True)
    far = side(terms(ca, ca.issue("shop/centre"), crl), dials=False)

    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            await turned_away(ends)

    run(scenario())


def test_a_client_without_a_certificate_gets_nowhere(run: Run, near: Side, far: Side) -> None:
    near.configuration.certificate = near.configuration.private_key = None

    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            await turned_away(ends)

    run(scenario())


def test_a_library_that_does_not_ask_for_certificates_lets_nobody_in(
    run: Run, near: Side, far: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aioquic.quic.connection import QuicConnection

    def accepted(configuration: Any, original: bytes, retried: bytes | None) -> Any:
        return QuicConnection(configuration=configuration, original_destination_connection_id=original)

    monkeypatch.setattr(library, "accepted", accepted)

    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            await turned_away(ends)

    run(scenario())


WRONG = [("foreign", "unknown_ca"), ("expired", "expired"), ("client", "invalid"), ("another", "wrong_name")]


@pytest.mark.parametrize(("whose", "word"), WRONG)
def test_a_server_that_is_not_believed_learns_nothing(
    run: Run, pki: Pki, ca: Ca, monkeypatch: pytest.MonkeyPatch, whose: str, word: str
) -> None:
    accept, accepted = library.accepted, list[Any]()

    def watched(*arguments: Any) -> Any:
        accepted.append(accept(*arguments))
        return accepted[-1]

    monkeypatch.setattr(library, "accepted", watched)
    books = {
        "foreign": lambda: pki.ca("other").issue("shop/centre"),
        "expired": lambda: ca.issue("shop/centre", start=-2, days=1),
        "client": lambda: ca.issue("shop/centre", roles=["client"]),
        "another": lambda: ca.issue("shop/till"),
    }[whose]()
    near = side(terms(ca, ca.issue("shop/edge")), dials=True, names=frozenset({CENTRE}))
    far = side(terms(ca, books), dials=False)

    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            ends.dial()
            await ends.until(lambda: ends.failed and ends.listener.conns == 0, "nothing is left of it")
            assert isinstance(ends.failed[0], Broken)
            assert ends.failed[0].word == word
            assert [library.shown(each) for each in accepted] == [[]]

    run(scenario())


def test_the_certificates_between_may_be_the_ones_that_are_believed(run: Run, ca: Ca) -> None:
    below = ca.below()
    far = side(terms(below, below.issue("shop/centre")), dials=False)
    near = side(terms(ca, below.issue("shop/edge")), dials=True)

    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            await ends.over_quic()

    run(scenario())


def test_what_cannot_be_used_is_said_before(pki: Pki, ca: Ca) -> None:
    books = ca.issue("shop/edge")
    good = terms(ca, books)
    assert good.pair is not None
    for bad, part in (
        (Terms(None, good.ca), "certificate"),
        (Terms(good.pair), "ca"),
        (Terms(good.pair, "nothing"), "ca"),
        (Terms(good.pair, good.ca, "nothing"), "crl"),
        (Terms(Pair("nothing", good.pair.key), good.ca), "certificate"),
        (Terms(Pair(good.pair.certificate, "nothing"), good.ca), "key"),
        (Terms(Pair(good.pair.certificate, ca.issue("shop/books").key.read_text()), good.ca), "key"),
    ):
        with pytest.raises(Unusable) as raised:
            side(bad, dials=True)
        assert raised.value.part == part
        assert good.pair.key[40:60] not in str(raised.value)


def test_a_key_with_which_nobody_would_sign_is_refused_before(ca: Ca, monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    monkeypatch.setattr("meshproxy.certs.authority.new_key", lambda kind: ec.generate_private_key(ec.SECP521R1()))
    with pytest.raises(Unusable, match=r"^is of the curve secp521r1, with which QUIC does not sign"):
        side(terms(ca, ca.issue("shop/edge")), dials=True)


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_keys_of_either_kind_sign(run: Run, ca: Ca, key: str) -> None:
    async def scenario() -> None:
        near = side(terms(ca, ca.issue("shop/edge", key=key)), dials=True)
        far = side(terms(ca, ca.issue("shop/centre", key=key)), dials=False)
        async with QuicEnds(near, far) as ends:
            await ends.over_quic()

    run(scenario())


def test_without_the_library_it_is_said_what_to_install(ca: Ca, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioquic.quic.configuration", None)
    with pytest.raises(library.Missing, match=r"^needs the library aioquic: pip install 'meshproxy\[quic\]'$"):
        side(terms(ca, ca.issue("shop/edge")), dials=True)


# Strangers, and who does not keep to what is agreed


@pytest.mark.parametrize("how", ["reset_stream", "stop_stream", "end"])
def test_a_stream_that_ends_is_the_end_of_its_connection_but_not_of_the_session(
    run: Run, near: Side, far: Side, how: str
) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            carrier = await ends.over_quic()
            peer = await ends.talking(b"hello")
            connection = carrier.conn._connection
            if how == "end":
                connection.send_stream_data(0, b"", end_stream=True)
            else:
                getattr(connection, how)(0, 1)
            carrier.flush()
            await ends.until(lambda: carrier.conn.closed and ends.arrived[0].closed, "it is over")
            await ends.over_quic()
            peer.conn.write(b" again")
            await ends.until(lambda: peer.heard == b"hello again", "an echo")

    run(scenario())


def test_a_library_that_fails_ends_one_connection(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            await ends.over_quic()

            def fails(*_: object) -> None:
                raise AssertionError

            ends.arrived[0]._connection.receive_datagram = fails
            ends.near.ping()
            await ends.until(lambda: ends.arrived[0].closed, "it is over")
            await ends.over_quic()

    run(scenario())


def test_frames_that_may_not_be_lost_do_not_come_as_datagrams(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            for data in (frame(Kind.PING, 0, 1), frame(Kind.DATAGRAM, 1, 0, b"d") + frame(Kind.PING, 0, 1), b"\7", b""):
                carrier = await ends.over_quic()
                carrier.conn.send_datagram(data)
                await ends.until(lambda: not ends.near.carriers, "it is over")
                assert carrier.conn.closed
                assert not ends.far.carriers

    run(scenario())


def test_no_more_lanes_are_read_than_are_agreed(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            conn = (await ends.over_quic()).conn
            for _ in range(LANES + 1):
                conn.write(conn.new_stream(), b"\2")
            await ends.until(lambda: conn.closed, "it is over")

    run(scenario())


def test_what_comes_before_a_hello_waits_for_it(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            carrier = await ends.over_quic()
            owner = Waiting()
            early = QuicCarrier(ends.clock, carrier.conn, owner, 5.0)
            hello = frame(Kind.HELLO, 0, 0, bytes(ends.far.hello()))
            opens = [frame(Kind.OPEN, number, 0, b"?") for number in (2, 4)]
            early.came(3, opens[0] + frame(Kind.DATAGRAM, 2, 0, b"by a lane"))
            early.came(0, hello + opens[1] + frame(Kind.DATAGRAM, 4, 0, b"by the control stream"))
            assert owner.datagrams == [(4, b"by the control stream"), (2, b"by a lane")]
            other = QuicCarrier(ends.clock, carrier.conn, owner, 5.0)
            other.came(3, bytes(MOST_EARLY))
            assert not carrier.conn.closed
            other.came(7, b"!")
            assert carrier.conn.closed

    run(scenario())


def test_what_comes_before_a_hello_costs_no_more_than_its_bytes(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            carrier = await ends.over_quic()
            owner = Waiting()
            early = QuicCarrier(ends.clock, carrier.conn, owner, 5.0)
            whole = frame(Kind.OPEN, 2, 0, b"?") + frame(Kind.DATAGRAM, 2, 0, bytes(1000))
            for place in range(len(whole)):
                early.came(3, whole[place : place + 1])
            assert len(early._early) == 1
            for lane in range(1, LANES):
                early.came(4 * lane + 3, b"\2")
            assert not carrier.conn.closed
            early.came(0, frame(Kind.HELLO, 0, 0, bytes(ends.far.hello())))
            assert owner.datagrams == [(2, bytes(1000))]
            other = QuicCarrier(ends.clock, carrier.conn, owner, 5.0)
            for lane in range(LANES + 1):
                other.came(4 * lane + 3, b"\2")
            assert carrier.conn.closed

    run(scenario())


def test_under_load_an_address_has_to_be_proven_first(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far, bounds=Bounds(retry_from=0)) as ends:
            await ends.over_quic()
            assert ends.listener.retries == 1

    run(scenario())


def test_who_comes_when_there_is_no_room_is_not_answered(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far, bounds=Bounds(connections=1)) as ends:
            await ends.over_quic()
            ends.dial(timeout=0.1)
            await ends.until(lambda: ends.failed, "it has given up")
            assert isinstance(ends.failed[0], TimeoutError)
            assert ends.listener.conns == 1

    run(scenario())


def test_a_handshake_that_stops_in_the_middle_is_given_up(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far, bounds=Bounds(within=0.05)) as ends:
            outcome: list[Outcome] = []
            dial = QuicDial(ends.loop, ends.clock, ends.address, near, 5.0, outcome.append)
            dial.begin()
            await asyncio.sleep(0)
            dial._conn.abort()
            await ends.until(lambda: ends.listener.conns == 1, "it has begun")
            await ends.until(lambda: ends.listener.conns == 0, "it was given up")
            assert not ends.listener._handshakes
            assert not ends.listener._by_id

    run(scenario())


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x40" + bytes(40), b"\xff" * 1300, bytes(1300)])
def test_what_is_no_quic_is_not_heard(run: Run, near: Side, far: Side, data: bytes) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            ends.listener.received(data, ("127.0.0.1", 9))
            assert ends.listener.conns == 0
            await ends.over_quic()

    run(scenario())


def test_nobody_there_is_said_at_once(run: Run, near: Side, far: Side) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            ends.door.close()
            ends.dial()
            await ends.until(lambda: ends.failed, "it has failed")
            assert isinstance(ends.failed[0], ConnectionRefusedError)

    run(scenario())


# Beside a connection of TCP


@pytest.mark.parametrize("there", ["both", "quic"])
def test_of_two_ways_the_first_that_is_there_carries_the_tunnel(
    run: Run, near: Side, far: Side, there: str
) -> None:
    async def scenario() -> None:
        async with QuicEnds(near, far) as ends:
            with socket.socket() as tcp:
                tcp.bind(("127.0.0.1", 0))
                if there == "both":
                    tcp.listen()
                plain = parse("{}:{}".format(*tcp.getsockname()))
                told: list[Conn | QuicConn | OSError] = []
                race: Race[Conn | QuicConn] = Race(
                    lambda done: QuicDial(ends.loop, ends.clock, ends.address, near, 5.0, done),
                    lambda done: Dial(ends.loop, ends.clock, plain, 5.0, done),
                    told.append,
                )
                outcome = race.begin()
                if there == "both":
                    assert isinstance(outcome, Conn)
                    outcome.close()
                    await ends.until(lambda: not ends.listener.conns, "nothing is left of the other")
                    assert not told
                    return
                await ends.until(lambda: told, "there is a connection")
                (quic,) = told
                assert isinstance(quic, QuicConn)
                carrier = QuicCarrier(ends.clock, quic, ends.near, 5.0)
                carrier.say(ends.near.hello())
                await ends.until(lambda: carrier.link is not None, "there is a link")

    run(scenario())


def test_who_leaves_a_gap_does_not_fill_the_memory_behind_it(
    near: Side, far: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "WINDOW", 64 * 1024)
    client = library.dialled(near.configuration)
    client.connect(("127.0.0.1", 1), 0.0)
    server = library.accepted(far.configuration, client.original_destination_connection_id, None)
    window = library.bounded(server)
    now = 0.0

    def talk(turns: int) -> None:
        nonlocal now
        for _ in range(turns):
            now += 0.05
            for one, other in ((client, server), (server, client)):
                if (at := one.get_timer()) is not None and at <= now:
                    one.handle_timer(now)
                for data, _ in one.datagrams_to_send(now):
                    other.receive_datagram(data, ("127.0.0.1", 1), now)
            while (event := server.next_event()) is not None:
                window.taken += len(getattr(event, "data", b""))

    talk(5)
    stream = client.get_next_available_stream_id()
    client.send_stream_data(stream, bytes(4 * library.WINDOW))
    sender = client._streams[stream].sender
    sender._pending.subtract(0, 1)
    talk(100)
    assert window.taken == 0
    assert window.used == window.value == library.WINDOW
    sender._pending.add(0, 1)
    talk(400)
    assert window.taken == 4 * library.WINDOW
