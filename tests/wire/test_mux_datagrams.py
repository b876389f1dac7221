"""Datagrams of a session: they have the turns of streams, do not wait for long, and stay in their flow."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from meshproxy.wire.mux.classes import Class
from meshproxy.wire.mux.frames import HEAD, LARGEST, SIZE, Kind, frame
from meshproxy.wire.mux.held import EACH, MOST, MOST_OF_CLASS, WORTH, Held, Room
from meshproxy.wire.mux.terms import Terms
from tests.wire.test_mux_session import End, Wire, pair

WIDE = Terms(classes=(Class("first"), Class("bulk", tier=1)), window=1 << 20)
BIG = bytes(1000)
TURN = WIDE.frame // len(BIG)
"""Of these in one turn."""


def ends(terms: Terms = WIDE) -> tuple[End, End, Wire]:
    here, there = pair(terms)
    return here, there, Wire((here, there))


def flow(end: End, klass: int = 0) -> int:
    number = end.open(b"datagrams", klass)
    assert number is not None
    return number


def flood(end: End, number: int) -> int:
    """As much as there is room for."""
    sent = 0
    while end.session.send_datagram(number, BIG):
        sent += 1
    return sent


def kinds(data: bytes) -> list[tuple[int, int]]:
    """The kind and the stream of each frame."""
    found, at = [], 0
    while at < len(data):
        kind, _, length, stream, _ = HEAD.unpack_from(data, at)
        found.append((kind, stream))
        at += SIZE + length
    return found


def test_a_question_and_its_answer_come_behind_what_opens_their_flow() -> None:
    here, there, wire = ends()
    one, other = flow(here), flow(here)
    assert here.session.send_datagram(other, b"?")
    assert here.session.send_datagram(one, bytes(LARGEST))
    wire.turn()
    wire.turn()
    assert there.metadata == {one: b"datagrams", other: b"datagrams"}
    assert there.datagrams == [(one, bytes(LARGEST)), (other, b"?")]
    assert there.session.send_datagram(other, b"!")
    wire.turn()
    assert here.datagrams == [(other, b"!")]
    assert (here.session.datagrams, there.session.datagrams) == ({"sent": 2, "received": 1}, {"sent": 1, "received": 2})


def test_what_nobody_would_take_is_lost() -> None:
    here, there = pair(WIDE)
    number = flow(here)
    assert not here.session.send_datagram(number, b"no link is there")
    wire = Wire((here, there))
    assert not here.session.send_datagram(99, b"of no flow")
    assert not here.session.send_datagram(number, bytes(LARGEST + 1))
    assert here.session.send_datagram(number, b"the last one")
    here.finish(number)
    assert not here.session.send_datagram(number, b"behind the end")
    wire.pull(0)
    assert [kind for kind, _ in kinds(wire.flying[0])] == [Kind.SYNCED, Kind.OPEN, Kind.DATAGRAM, Kind.DATA]
    wire.deliver(0)
    assert (there.datagrams, there.ended[number]) == ([(number, b"the last one")], 1)
    assert here.session.datagrams == {"sent": 1, "full": 4}


@pytest.mark.parametrize("number", [1, 2, 7, 8])
def test_a_flow_that_is_not_known_is_passed_over(number: int) -> None:
    _, there, wire = ends()
    wire.links[1].feed(frame(Kind.DATAGRAM, number, 0, b"?"))
    assert (there.datagrams, there.session.datagrams) == ([], {"unknown": 1})
    wire.turn()
    assert not there.session.streams


def test_what_comes_too_late_for_its_flow_comes_to_nobody() -> None:
    here, there, wire = ends()
    number = flow(here)
    here.session.send_datagram(number, b"before")
    wire.turn()
    late = frame(Kind.DATAGRAM, number, 0, b"late")
    there.session.reset(number, 1)  # type: ignore[arg-type]
    another = flow(here)
    wire.links[1].feed(late)
    wire.turn()
    assert there.datagrams == [(number, b"before")]
    assert here.resets == {number: 1}
    assert there.metadata.keys() == {number, another}


def test_what_waits_is_bounded_for_a_flow_and_for_a_class() -> None:
    here, _, _ = ends()
    flows = [flow(here, 1) for _ in range(20)]
    sent = [flood(here, number) for number in flows]
    assert sent[0] == MOST // (len(BIG) + EACH)
    assert sum(sent) == MOST_OF_CLASS // (len(BIG) + EACH)
    assert sent[-1] == 0
    assert flood(here, flow(here, 0)) == sent[0]
    assert here.session.datagrams["full"] == len(flows) + 1
    for number in flows:
        here.session.reset(number, 1)  # type: ignore[arg-type]
    assert flood(here, flow(here, 1)) == sent[0]


def test_small_ones_are_few_as_well() -> None:
    held, count = Held(Room(), lambda: 0.0, Counter()), 0
    while held.put(b""):
        count += 1
    assert count == MOST // EACH


def test_what_is_old_is_not_sent() -> None:
    now, counted = [0.0], Counter[str]()
    held = Held(Room(), lambda: now[0], counted)
    while held.put(BIG):
        now[0] += 0.001
    now[0] = WORTH + 0.0005
    assert held.put(b"there is room again")
    now[0] = 2 * WORTH
    assert held.next(1, LARGEST) == [frame(Kind.DATAGRAM, 1, 0, b"there is room again")]
    assert not held
    assert held.next(1, LARGEST) == []
    assert counted == {"full": 1, "late": MOST // (len(BIG) + EACH), "sent": 1}


def test_a_flood_delays_neither_what_is_said_of_the_link_nor_a_class_before_it() -> None:
    here, there, wire = ends()
    for _ in range(8):
        flood(here, flow(here, 1))
    urgent = flow(here, 0)
    here.say(urgent, b"u" * 50_000)
    wire.pull(0, 50_000)
    # But for the one turn of sixteen that is kept for those behind.
    assert Counter(kind for kind, _ in kinds(wire.flying[0]))[Kind.DATAGRAM] <= TURN
    wire.links[0].ping(1, 0.0)
    before = len(wire.flying[0])
    wire.pull(0, 1000)
    assert kinds(wire.flying[0][before:])[0] == (Kind.PING, 0)
    wire.deliver(0, before)
    assert len(there.heard[urgent]) == 50_000


def test_a_flood_has_the_turns_of_one_stream_among_its_equals() -> None:
    here, there, wire = ends(replace(WIDE, frame=4096))
    bad, good, stream = flow(here), flow(here), flow(here)
    flood(here, bad)
    here.session.send_datagram(good, b"?")
    here.say(stream, bytes(100_000))
    for _ in range(10):
        wire.pull(0, 8 * 1024)
        wire.deliver(0)
        flood(here, bad)
    of_flood = sum(len(data) for number, data in there.datagrams if number == bad)
    assert (good, b"?") in there.datagrams[:5]
    assert 0.5 < len(there.heard[stream]) / of_flood < 2


def test_none_comes_twice_where_a_link_is_lost() -> None:
    here, there, wire = ends()
    number = flow(here)
    here.session.send_datagram(number, b"1")
    wire.turn()
    here.session.send_datagram(number, b"lost with its link")
    wire.pull(0)
    wire.cut()
    wire = Wire((here, there))
    wire.turn()
    here.session.send_datagram(number, b"2")
    for _ in range(3):
        wire.turn()
    assert there.datagrams == [(number, b"1"), (number, b"2")]
