"""Two ends of a tunnel and links that are cut wherever they can be: no byte is lost, doubled or in a wrong stream."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meshproxy.wire.mux.classes import Class
from meshproxy.wire.mux.frames import END, HEAD, LIMIT, Fault, Kind, Reason, frame
from meshproxy.wire.mux.link import Link
from meshproxy.wire.mux.session import LARGEST_METADATA, Session
from meshproxy.wire.mux.terms import Role, Terms
from tests.examples import examples

TERMS = Terms(
    streams=8, window=64, widest=1024, budget=16 * 1024, frame=48, classes=(Class("first"), Class("bulk", tier=1))
)
MOST = 1 << 16


class End:
    """Whoever uses a session, and keeps all that he hears."""

    def __init__(self, role: Role, terms: Terms = TERMS) -> None:
        self.session = Session(role, terms, self, lambda: 0.0, terms)
        self.metadata: dict[int, bytes] = {}
        self.heard: dict[int, bytes] = {}
        self.ended: Counter[int] = Counter()
        self.owed: Counter[int] = Counter()
        """Bytes that he has not done with."""
        self.put: dict[int, bytes] = {}
        self.done: set[int] = set()
        self.resets: dict[int, int] = {}
        self.overs: Counter[int] = Counter()
        self.rooms: list[int] = []
        self.datagrams: list[tuple[int, bytes]] = []
        self.left = 0

    def opened(self, stream: int, metadata: bytes) -> None:
        self.metadata[stream] = metadata
        self.heard[stream] = b""
        self.put[stream] = b""

    def came(self, stream: int, data: bytes, last: bool) -> None:
        self.heard[stream] += data
        self.owed[stream] += len(data)
        self.ended[stream] += last

    def reset(self, stream: int, reason: int) -> None:
        self.resets[stream] = reason

    def over(self, stream: int) -> None:
        self.overs[stream] += 1

    def room(self, stream: int) -> None:
        self.rooms.append(stream)

    def datagram(self, flow: int, data: bytes) -> None:
        self.datagrams.append((flow, data))

    def leaving(self) -> None:
        self.left += 1

    def wake(self) -> None:
        """Somebody pulls all the time."""

    def open(self, metadata: bytes = b"what for", klass: int = 0) -> int | None:
        number = self.session.open(metadata, klass)
        if number is not None:
            self.heard[number] = self.put[number] = b""
        return number

    def say(self, stream: int, data: bytes) -> bool:
        self.put[stream] += data
        return self.session.put(stream, data)

    def finish(self, stream: int) -> None:
        self.done.add(stream)
        self.session.end(stream)

    def takes(self, stream: int, size: int) -> None:
        self.owed[stream] -= size
        self.session.taken(stream, size)

    def takes_all(self) -> None:
        for stream, size in tuple(self.owed.items()):
            self.takes(stream, size)
        self.session.tell()


class Wire:
    """A link, and what is on its way on it."""

    def __init__(self, ends: tuple[End, End], carries: frozenset[int] | None = None) -> None:
        self.ends = ends
        self.links: tuple[Link, Link] = (ends[0].session.attach(carries), ends[1].session.attach(carries))
        self.flying = [b"", b""]

    def pull(self, side: int, most: int = MOST) -> None:
        self.flying[side] += b"".join(self.links[side].pull(most))

    def deliver(self, side: int, size: int = MOST) -> None:
        """To the other one."""
        data, self.flying[side] = self.flying[side][:size], self.flying[side][size:]
        self.links[1 - side].feed(data)

    def cut(self) -> None:
        for end, link in zip(self.ends, self.links, strict=True):
            end.session.detach(link)

    def turn(self) -> None:
        for side in (0, 1):
            self.pull(side)
            self.deliver(side)


def pair(terms: Terms = TERMS) -> tuple[End, End]:
    return End(Role.DIALS, terms), End(Role.ACCEPTS, terms)


class Tunnel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ends = pair()
        self.wires: list[Wire] = []
        self.sent = 0

    @precondition(lambda self: len(self.wires) < 2)
    @rule()
    def connect(self) -> None:
        self.wires.append(Wire(self.ends))

    @precondition(lambda self: self.wires)
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        self.wires.pop(data.draw(st.integers(0, len(self.wires) - 1))).cut()

    @rule(side=st.integers(0, 1), klass=st.integers(0, 1), metadata=st.binary(max_size=20))
    def open(self, side: int, klass: int, metadata: bytes) -> None:
        number = self.ends[side].open(metadata, klass)
        if number is not None:
            self.ends[side].metadata[number] = metadata

    @rule(side=st.integers(0, 1), data=st.data(), size=st.integers(1, 300), byte=st.integers(0, 255))
    def say(self, side: int, data: st.DataObject, size: int, byte: int) -> None:
        end = self.ends[side]
        open_ = [each for each in end.session.streams if each not in end.done]
        if open_:
            end.say(data.draw(st.sampled_from(open_)), bytes([byte]) * size)

    @rule(side=st.integers(0, 1), data=st.data())
    def finish(self, side: int, data: st.DataObject) -> None:
        end = self.ends[side]
        open_ = [each for each in end.session.streams if each not in end.done]
        if open_:
            end.finish(data.draw(st.sampled_from(open_)))

    @rule(side=st.integers(0, 1), data=st.data())
    def take(self, side: int, data: st.DataObject) -> None:
        end = self.ends[side]
        for stream, owed in tuple(end.owed.items()):
            end.takes(stream, data.draw(st.integers(0, owed)))

    @rule(side=st.integers(0, 1), data=st.data(), size=st.integers(0, 100))
    def send(self, side: int, data: st.DataObject, size: int) -> None:
        """A datagram, each another one."""
        end = self.ends[side]
        open_ = [each for each in end.session.streams if each not in end.done]
        if open_:
            flow = data.draw(st.sampled_from(open_))
            self.sent += 1
            end.session.send_datagram(flow, b"%d of %d %b" % (self.sent, flow, bytes(size)))

    @rule(side=st.integers(0, 1))
    def tell(self, side: int) -> None:
        self.ends[side].session.tell()

    @precondition(lambda self: self.wires)
    @rule(data=st.data(), side=st.integers(0, 1), most=st.integers(1, 500))
    def pull(self, data: st.DataObject, side: int, most: int) -> None:
        data.draw(st.sampled_from(self.wires)).pull(side, most)

    @precondition(lambda self: self.wires)
    @rule(data=st.data(), side=st.integers(0, 1), size=st.integers(1, 700))
    def deliver(self, data: st.DataObject, side: int, size: int) -> None:
        data.draw(st.sampled_from(self.wires)).deliver(side, size)

    @invariant()
    def what_was_heard_was_said(self) -> None:
        for here, there in (self.ends, self.ends[::-1]):
            for stream, heard in here.heard.items():
                assert there.put.get(stream, b"").startswith(heard)
                assert here.ended[stream] <= 1
                assert not here.ended[stream] or (heard == there.put[stream] and stream in there.done)
            assert not here.resets

    @invariant()
    def datagrams_come_once_and_where_they_belong(self) -> None:
        for end in self.ends:
            assert len(set(end.datagrams)) == len(end.datagrams)
            assert all(b" of %d " % flow in data for flow, data in end.datagrams)

    @invariant()
    def memory_is_bounded(self) -> None:
        for end in self.ends:
            held = sum(owed for stream, owed in end.owed.items())
            assert held <= TERMS.budget

    def teardown(self) -> None:
        """With a link that stays, all of it arrives, and nothing is left over."""
        if not self.wires:
            self.connect()
        for end in self.ends:
            for stream in tuple(end.session.streams):
                if stream not in end.done:
                    end.finish(stream)
        for _ in range(5000):
            for wire in self.wires:
                wire.turn()
            for end in self.ends:
                end.takes_all()
                for stream in tuple(end.session.streams):
                    if stream not in end.done:
                        end.finish(stream)
            if not any(end.session.streams for end in self.ends):
                break
        here, there = self.ends
        for a, b in ((here, there), (there, here)):
            assert not a.session.streams
            assert a.session.kept == 0
            for stream, put in a.put.items():
                assert b.heard[stream] == put
                assert b.ended[stream] == a.overs[stream] == b.overs[stream] == 1
            for stream, metadata in a.metadata.items():
                assert b.metadata.get(stream, metadata) == metadata


TestTunnel = Tunnel.TestCase
TestTunnel.settings = settings(examples(400), stateful_step_count=60, deadline=None)


def exchange(wire: Wire, here: End, there: End, before: Any = None) -> None:
    """A request of three pieces and an answer, both ended."""
    stream = here.open()
    assert stream is not None
    for piece in (b"one " * 8, b"two " * 8, b"three"):
        here.say(stream, piece)
    here.finish(stream)
    wire.turn()
    there.say(stream, b"answer " * 9)
    there.finish(stream)


def recorded(terms: Terms = TERMS) -> int:
    """How many bytes go each way at most, if nothing happens."""
    here, there = pair(terms)
    wire = Wire((here, there))
    exchange(wire, here, there)
    size = 0
    for _ in range(20):
        for side in (0, 1):
            wire.pull(side)
            size += len(wire.flying[side])
            wire.deliver(side)
        for end in (here, there):
            end.takes_all()
    assert not here.session.streams
    return size


def test_an_exchange_survives_a_cut_at_every_byte() -> None:
    for side in (0, 1):
        for cut in range(recorded()):
            ends = here, there = pair()
            wire = Wire(ends)
            exchange(wire, here, there)
            left = cut
            for _ in range(20):
                for each in (0, 1):
                    wire.pull(each)
                    size = len(wire.flying[each])
                    if each == side and size > left:
                        size = left
                    wire.deliver(each, size)
                    if each == side:
                        left -= size
                for end in ends:
                    end.takes_all()
                if left == 0:
                    break
            wire.cut()
            wire = Wire(ends)
            for _ in range(50):
                wire.turn()
                for end in ends:
                    end.takes_all()
            assert there.heard[1] == here.put[1], (side, cut)
            assert here.heard[1] == there.put[1], (side, cut)
            assert (here.ended[1], there.ended[1]) == (1, 1)
            assert not here.session.streams, (side, cut)
            assert not there.session.streams, (side, cut)


# What a peer may not


def attacked(*frames: bytes, terms: Terms = TERMS) -> End:
    victim = End(Role.ACCEPTS, terms)
    link = victim.session.attach()
    for each in frames:
        link.feed(each)
    return victim


def ack(stream: int, offset: int, limit: int, flags: int = 0) -> bytes:
    return frame(Kind.ACK, stream, offset, LIMIT.pack(limit), flags)


OPEN = frame(Kind.OPEN, 1, 64, b"what for")


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([frame(Kind.DATA, 1, 0, b"a")], Reason.OUT_OF_STATE),
        ([frame(Kind.DATA, 2, 0, b"a")], Reason.OUT_OF_STATE),
        ([frame(Kind.OPEN, 2, 64)], Reason.OUT_OF_STATE),
        ([frame(Kind.OPEN, 0, 64)], Reason.OUT_OF_STATE),
        ([frame(Kind.OPEN, 0xFFFFFFFF, 64)], Reason.OUT_OF_STATE),
        ([frame(Kind.OPEN, 999, 64)], Reason.TOO_MANY),
        ([frame(Kind.OPEN, 1, 64, b"a" * (LARGEST_METADATA + 1))], Reason.MALFORMED),
        ([OPEN, frame(Kind.DATA, 1, 0, b"a" * 65)], Reason.WINDOW),
        ([OPEN, frame(Kind.DATA, 1, 1 << 40, b"a")], Reason.WINDOW),
        ([OPEN, frame(Kind.DATA, 1, 0, b"abc", END), frame(Kind.DATA, 1, 3, b"d")], Reason.OUT_OF_STATE),
        ([OPEN, frame(Kind.DATA, 1, 0, b"abc", END), frame(Kind.DATA, 1, 0, b"ab", END)], Reason.OUT_OF_STATE),
        ([OPEN, ack(1, 1, 64)], Reason.OUT_OF_STATE),
        ([OPEN, ack(1, 0, 64, END)], Reason.OUT_OF_STATE),
        ([OPEN, frame(Kind.ACK, 1, 0, b"short")], Reason.MALFORMED),
        ([frame(Kind.HELLO, 0, 0, b"{}")], Reason.OUT_OF_STATE),
        ([frame(Kind.PONG, 0, 7)], Reason.OUT_OF_STATE),
        ([HEAD.pack(99, 0, 0, 0, 0)], Reason.MALFORMED),
        ([HEAD.pack(Kind.DATA, 2, 0, 1, 0)], Reason.MALFORMED),
        ([HEAD.pack(Kind.PING, 0, 4, 0, 0) + b"data"], Reason.MALFORMED),
    ],
)  # fmt: skip
def test_what_is_against_the_rules_closes_the_tunnel_with_a_reason(frames: list[bytes], reason: Reason) -> None:
    with pytest.raises(Fault) as caught:
        attacked(*frames)
    assert caught.value.reason is reason


def test_a_hundred_thousand_streams_are_refused_long_before() -> None:
    victim = End(Role.ACCEPTS)
    link = victim.session.attach()
    with pytest.raises(Fault) as caught:
        for number in range(1, 200_001, 2):
            link.feed(frame(Kind.OPEN, number, 64))
    assert caught.value.reason is Reason.TOO_MANY
    assert len(victim.session.streams) <= 2 * TERMS.streams


@pytest.mark.parametrize("flood", [[Kind.PING], [Kind.OPEN, Kind.RESET], [Kind.RESET]])
def test_who_takes_no_answers_gets_no_more_of_them(flood: list[Kind]) -> None:
    victim = End(Role.ACCEPTS)
    link = victim.session.attach()
    with pytest.raises(Fault) as caught:
        for number in range(1, 200_001, 2):
            link.feed(b"".join(frame(kind, number if kind != Kind.PING else 0, 64) for kind in flood))
    assert caught.value.reason is Reason.OVERFLOW


def test_who_acknowledges_nothing_is_sent_a_window_and_holds_up_who_writes() -> None:
    here = End(Role.DIALS)
    link = here.session.attach()
    stream = here.open()
    assert stream is not None
    while here.say(stream, b"a" * 100):
        pass
    assert here.session.kept <= TERMS.widest + 100
    sent = b"".join(piece for _ in range(100) for piece in link.pull(MOST))
    assert len(sent) < TERMS.window + 10 * HEAD.size
    assert here.rooms == []


def test_a_stream_that_is_reset_is_over_on_both_ends_and_others_go_on() -> None:
    here, there = pair()
    wire = Wire((here, there))
    one, other = here.open(), here.open()
    assert one is not None
    assert other is not None
    here.say(one, b"one")
    here.say(other, b"other")
    wire.turn()
    there.session.reset(one, Reason.CANCELLED)
    wire.cut()
    wire = Wire((here, there))
    wire.turn()
    wire.turn()
    assert here.resets == {one: Reason.CANCELLED}
    assert set(here.session.streams) == set(there.session.streams) == {other}
    here.say(other, b" goes on")
    wire.turn()
    assert there.heard[other] == b"other goes on"


def test_the_way_to_and_fro_is_measured() -> None:
    now = [5.0]
    here, there = pair()
    here.session._now = lambda: now[0]
    wire = Wire((here, there))
    wire.turn()
    wire.links[0].ping(1, now[0])
    wire.pull(0)
    now[0] += 0.2
    wire.deliver(0)
    wire.pull(1)
    wire.deliver(1)
    assert wire.links[0].rtt == pytest.approx(0.2)


def test_that_a_link_is_going_to_be_closed_is_said_once() -> None:
    here, there = pair()
    wire = Wire((here, there))
    for _ in range(2):
        wire.links[0].leave()
        wire.turn()
    assert wire.links[0].leaving
    assert wire.links[1].leaving
    assert (here.left, there.left) == (0, 1)


def test_what_comes_first_goes_first_and_the_others_are_not_forgotten() -> None:
    here, there = pair(Terms(window=MOST, widest=MOST, frame=1000, classes=TERMS.classes))
    wire = Wire((here, there))
    bulk, urgent = here.open(klass=1), here.open(klass=0)
    assert bulk is not None
    assert urgent is not None
    here.say(bulk, b"b" * 60_000)
    here.say(urgent, b"u" * 20_000)
    wire.pull(0, 22_000)
    wire.deliver(0)
    assert len(there.heard[urgent]) >= 19_000
    assert 0 < len(there.heard[bulk]) <= 3000


def test_where_there_is_hardly_any_room_frames_are_not_made_of_single_bytes() -> None:
    here = End(Role.DIALS, Terms(window=MOST, widest=MOST))
    link = here.session.attach()
    stream = here.open()
    assert stream is not None
    link.pull(MOST)
    here.say(stream, b"a" * 10_000)
    (head, data) = link.pull(1)
    assert (len(head), len(data)) == (HEAD.size, 1024)
