"""A peer who keeps to no rule, or to all of them and means no good: nobody else is harmed, and nothing grows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from time import process_time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.mux.frames import LIMIT, SIZE, Fault, Frames, Kind, Reason, frame
from meshproxy.wire.mux.link import Link
from meshproxy.wire.mux.stream import Receiving, Sending
from meshproxy.wire.mux.terms import Role
from tests.examples import examples
from tests.wire.test_mux_session import MOST, OPEN, TERMS, End, Wire, ack, attacked, pair

TIGHT = replace(TERMS, budget=2 * TERMS.widest)
"""Two streams that stand still take all of it."""


def stuck(here: End, there: End, wire: Wire, count: int) -> list[int]:
    """Streams whose reader takes nothing, with as much written as goes."""
    found = []
    for _ in range(count):
        stream = here.open()
        assert stream is not None
        while here.say(stream, b"s" * 100):
            pass
        found.append(stream)
    for _ in range(10):
        wire.turn()
        there.session.tell()
    return found


def test_streams_that_stand_still_starve_no_other() -> None:
    """However many of them: what is left is shared, and each has always a little."""
    here, there = pair(TIGHT)
    wire = Wire((here, there))
    stuck(here, there, wire, TIGHT.streams - 1)
    stream = here.open()
    assert stream is not None
    may = True
    for _ in range(50):
        if may or stream in here.rooms:
            here.rooms.clear()
            may = here.say(stream, b"g" * 100)
        wire.turn()
        there.takes(stream, there.owed[stream])
        there.session.tell()
        wire.turn()
    assert len(there.heard[stream]) == 50 * 100


def test_who_writes_hears_of_room_though_others_have_made_it() -> None:
    here, there = pair(TIGHT)
    wire = Wire((here, there))
    *others, one = stuck(here, there, wire, TIGHT.streams)
    while there.owed[one] or len(there.heard[one]) < len(here.put[one]):
        wire.turn()
        there.takes(one, there.owed[one])
        there.session.tell()
    wire.turn()
    for stream in others:
        here.session.reset(stream, Reason.CANCELLED)
    wire.turn()
    assert here.session.kept == 0
    assert one in here.rooms


def test_what_is_kept_is_bounded_however_many_stand_still() -> None:
    here, there = pair(TIGHT)
    stuck(here, there, Wire((here, there)), TIGHT.streams)
    assert here.session.kept <= TIGHT.budget + TIGHT.streams * (TIGHT.window + 100)


def test_a_link_on_which_nothing_may_go_yet_is_not_woken_for_it() -> None:
    """What opens a stream is on its way by another link, which takes no more."""
    here, there = pair()
    slow, idle = Wire((here, there)), Wire((here, there))
    stream, other = here.open(), None
    assert stream is not None
    slow.pull(0)
    here.say(stream, b"first")
    other = here.open(b"for something else")
    assert other is not None
    woken: list[None] = []
    here.wake = lambda: woken.append(None)  # type: ignore[method-assign]
    idle.pull(0)
    idle.deliver(0)
    assert there.metadata == {other: b"for something else"}
    assert woken == []
    slow.deliver(0)
    there.session.tell()
    idle.pull(1)
    idle.deliver(1)
    slow.pull(1)
    slow.deliver(1)
    assert woken
    idle.turn()
    assert there.heard[stream] == b"first"


def test_the_last_acknowledgement_is_not_lost_with_another_link() -> None:
    here, there = pair()
    first, second = Wire((here, there)), Wire((here, there))
    stream = here.open()
    assert stream is not None
    here.finish(stream)
    second.pull(0)
    second.deliver(0)
    first.cut()
    there.finish(stream)
    for _ in range(5):
        second.turn()
    assert not here.session.streams
    assert not there.session.streams


# Answers

MANY = replace(TERMS, streams=3000, budget=1 << 24)


def opened(victim: End, count: int) -> Link:
    link = victim.session.attach()
    link.feed(b"".join(frame(Kind.OPEN, number, 64) for number in range(1, 2 * count, 2)))
    return link


def test_a_link_that_takes_little_is_told_once_of_each_stream() -> None:
    """How far it is by then: what waits for a slow link is no fault of the peer's."""
    victim = End(Role.ACCEPTS, MANY)
    link = opened(victim, MANY.streams)
    for place in range(5):
        link.feed(b"".join(frame(Kind.DATA, number, place, b"a") for number in range(1, 2 * MANY.streams, 2)))
        victim.session.tell()
    told = b"".join(piece for _ in range(100) for piece in link.pull(MOST))
    assert len(told) == SIZE + MANY.streams * len(ack(1, 5, 64))
    assert told.startswith(ack(1, 5, 64))


def test_streams_that_all_end_at_once_are_let_go_of() -> None:
    victim = End(Role.ACCEPTS, MANY)
    link = opened(victim, MANY.streams)
    link.feed(b"".join(frame(Kind.RESET, number, 0) for number in range(1, 2 * MANY.streams, 2)))
    assert not victim.session.streams
    told = b"".join(piece for _ in range(100) for piece in link.pull(MOST))
    assert told.count(frame(Kind.GONE, 2 * MANY.streams - 1, 0)) == 1


def test_who_takes_no_answers_is_a_fault_of_its_own_frames_and_of_no_one_elses() -> None:
    """Whoever uses streams meanwhile, and the clock, hear nothing of it."""
    victim = End(Role.ACCEPTS)
    link, other = victim.session.attach(), victim.session.attach()
    link.feed(OPEN)
    stream = victim.open()
    assert stream is not None
    with pytest.raises(Fault):
        while True:
            link.feed(frame(Kind.PING, 0, 1))
    victim.session.reset(stream, Reason.CANCELLED)
    victim.session.tell()
    link.ping(1, 0.0)
    victim.session.detach(other)


def test_nothing_is_asked_again_before_it_is_answered() -> None:
    victim = End(Role.ACCEPTS)
    link = victim.session.attach()
    for number in range(1000):
        link.ping(number, 0.0)
        link.feed(frame(Kind.DATAGRAM, 1, 0, b"here I am"))
    assert b"".join(link.pull(MOST)) == frame(Kind.SYNCED, 0, 0) + frame(Kind.PING, 0, 0)
    link.feed(frame(Kind.PONG, 0, 0))
    link.ping(1000, 0.0)
    assert b"".join(link.pull(MOST)) == frame(Kind.PING, 0, 1000)


def test_that_all_is_acknowledged_is_said_once() -> None:
    """Each time all streams are looked at."""
    with pytest.raises(Fault) as caught:
        attacked(frame(Kind.SYNCED, 0, 0), frame(Kind.SYNCED, 0, 0))
    assert caught.value.reason is Reason.OUT_OF_STATE


# Streams that are reset


class Refusing(End):
    def opened(self, stream: int, metadata: bytes) -> None:
        self.session.reset(stream, Reason.REFUSED)


def test_who_does_not_let_go_of_what_was_reset_opens_no_more() -> None:
    victim = Refusing(Role.ACCEPTS)
    link = victim.session.attach()
    with pytest.raises(Fault) as caught:
        for number in range(1, 200_001, 2):
            link.feed(frame(Kind.OPEN, number, 64))
            link.pull(MOST)
    assert caught.value.reason is Reason.TOO_MANY
    assert number < 20 * TERMS.streams


def test_who_lets_go_of_what_was_reset_opens_as_many_as_it_likes() -> None:
    here, victim = End(Role.DIALS), Refusing(Role.ACCEPTS)
    wire = Wire((here, victim))
    for _ in range(10 * TERMS.streams):
        assert here.open() is not None
        for _ in range(3):
            wire.turn()
    assert set(here.resets.values()) == {Reason.REFUSED}
    assert len(here.resets) == 10 * TERMS.streams


def test_what_is_reset_while_nobody_is_there_is_not_more_than_was_agreed() -> None:
    here, there = pair()
    count = 0
    while (stream := here.open()) is not None:
        here.session.reset(stream, Reason.CANCELLED)
        count += 1
    assert count == TERMS.streams
    wire = Wire((here, there))
    for _ in range(3):
        wire.turn()
    assert here.open() is not None


@pytest.mark.parametrize("kind", [Kind.DATA, Kind.ACK, Kind.RESET, Kind.GONE])
def test_nothing_is_said_of_a_stream_of_ours_that_was_never_opened(kind: Kind) -> None:
    data = LIMIT.pack(64) if kind is Kind.ACK else b""
    with pytest.raises(Fault) as caught:
        attacked(frame(kind, 2, 0, data))
    assert caught.value.reason is Reason.OUT_OF_STATE


# Pieces that come before their turn


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(1, 64)), max_size=40))
def test_pieces_in_any_order_and_overlapping_come_once(pieces: list[tuple[int, int]]) -> None:
    whole = bytes(range(64))
    receiving, came = Receiving(64), b""
    for at, size in [*pieces, (0, 64)]:
        came += receiving.take(at, whole[at : at + size], False)
        assert sum(map(len, receiving._early.values())) <= 64 - len(came)
        assert whole.startswith(came)
    assert came == whole
    assert receiving.pieces == 0


def test_what_fills_many_gaps_looks_at_each_piece_once() -> None:
    """Before, all of them were sorted for each."""
    size = 40_000
    receiving = Receiving(size)
    for at in range(1, size, 2):
        assert receiving.take(at, b"b", False) == b""
    began = process_time()
    came = b"".join(receiving.take(at, b"a", False) for at in range(0, size, 2))
    assert came == b"ab" * (size // 2)
    assert process_time() - began < 1.0


def test_small_pieces_are_not_kept_without_end() -> None:
    """Each costs more than the bytes that are in it."""
    wide = replace(TERMS, streams=1000, window=MOST, budget=1 << 30)
    victim = End(Role.ACCEPTS, wide)
    link = victim.session.attach()
    with pytest.raises(Fault) as caught:
        for number in range(1, 20, 2):
            link.feed(frame(Kind.OPEN, number, 64))
            link.feed(b"".join(frame(Kind.DATA, number, at, b"x") for at in range(1, MOST, 2)))
    assert caught.value.reason is Reason.OVERFLOW
    link = (other := End(Role.ACCEPTS, wide)).session.attach()
    for number in range(1, 20, 2):
        link.feed(frame(Kind.OPEN, number, 64))
        link.feed(b"".join(frame(Kind.DATA, number, at, b"x") for at in range(1, MOST // 2, 2)))
        link.feed(frame(Kind.DATA, number, 0, b"x" * (MOST // 2)) if number % 4 == 1 else frame(Kind.RESET, number, 0))
    assert sum(map(len, other.heard.values())) == 5 * MOST // 2


def test_what_is_written_in_small_pieces_is_kept_and_sent_in_larger_ones() -> None:
    sending = Sending(1 << 20)
    said = sent = b""
    for place in range(3000):
        sending.put(piece := b"%d " % place)
        said += piece
        if place % 1000 == 10:
            offset, data, _ = sending.next(5)
            assert data == said[offset : offset + len(data)]
            sent += data
    assert len(sending._chunks) < 20
    while sending.ready:
        sent += sending.next(1 << 14)[1]
    assert sent == said
    sending.again()
    sending.acknowledged(5000, 1 << 20, False)
    assert said.startswith(sending.next(100)[1], 5000)


# Anything


def mostly(what: st.SearchStrategy[Any], seldom: Iterable[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 30).flatmap(lambda dice: what if dice else st.sampled_from(tuple(seldom)))


NUMBERS = mostly(st.integers(1, 5), (0, 6, 7, 8, 17, 18, 0x7FFFFFFF, 0xFFFFFFFF))
OFFSETS = mostly(st.integers(0, 40), (100, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 64, (1 << 64) - 1))
DOES = ("attach", "cut", "open", "say", "finish", "abort", "take", "tell")
SAYS = (Kind.OPEN, Kind.DATA, Kind.DATA, Kind.DATA, Kind.ACK, Kind.RESET, Kind.GONE)
DONE = st.tuples(st.sampled_from(DOES), NUMBERS, OFFSETS)
SAID = st.tuples(
    mostly(st.sampled_from(SAYS), Kind), NUMBERS, OFFSETS, st.integers(0, 30), mostly(st.just(False), (True,)), OFFSETS
)
EMPTY = (Kind.RESET, Kind.GONE, Kind.PING, Kind.PONG, Kind.SYNCED)


def accounted(end: End) -> None:
    """What a session has counted is what there is."""
    session = end.session
    streams = session._streams.values()
    assert session._kept == sum(each.sending.kept for each in streams)
    assert session._granted == sum(each.receiving.window for each in streams) <= TERMS.budget
    assert session._pieces == sum(each.receiving.pieces for each in streams)
    numbers = [*session._streams, *session._resets]
    assert len(numbers) == len(set(numbers))
    assert session._theirs == sum(number % 2 for number in numbers)
    assert len(session._numbers._skipped) <= TERMS.streams
    for each in streams:
        assert len(each.receiving._early) == each.receiving.pieces
        assert sum(map(len, each.receiving._early.values())) <= each.receiving.limit - each.receiving.received


def does(end: End, links: list[Link], what: str, number: int, size: int) -> None:
    streams = end.session.streams
    link = links[number % len(links)] if links else None
    if what == "attach" and len(links) < 3:
        links.append(end.session.attach())
    elif what == "cut" and link is not None:
        links.remove(link)
        end.session.detach(link)
    elif what == "open":
        end.open()
    elif what == "take":
        end.takes(number, min(size, end.owed[number]))
    elif what == "tell":
        end.session.tell()
    elif what == "abort":
        end.session.reset(number, Reason.CANCELLED)
    elif what == "say" and number in streams and number not in end.done:
        end.say(number, bytes([number]) * (size % 300))
    elif what == "finish" and number in streams:
        end.finish(number)


def begun() -> tuple[End, list[Link]]:
    end = End(Role.ACCEPTS)
    link = end.session.attach()
    link.feed(b"".join(frame(Kind.OPEN, number, 64) for number in (1, 3, 5)))
    for _ in range(3):
        end.open()
    return end, [link]


def nearly(end: End, kind: Kind, number: int, value: int) -> tuple[int, int]:
    """What a peer might say that means no harm, where a step means none: else every second one would be the last."""
    if number < 7 and value <= 40:
        stream = end.session._streams.get(number)
        if kind is Kind.OPEN:
            number |= 1
        elif stream is not None and kind is Kind.ACK:
            value = min(value, stream.sending._furthest)
        elif stream is not None and kind is Kind.DATA:
            value = max(stream.receiving.received + value - 20, 0)
    return number, value


@examples(500)
@given(st.lists(DONE | SAID, min_size=20, max_size=80))
def test_whatever_is_said_nothing_crosses_from_one_stream_to_another(steps: list[Any]) -> None:
    """Each stream has bytes of its own in either direction; frames come in any order by any of several links."""
    end, links = begun()

    def pulled(kind: int, flags: int, stream: int, value: int, data: bytes) -> None:
        if kind == Kind.DATA:
            assert end.put[stream].startswith(data, value)
            assert not flags or (stream in end.done and value + len(data) == len(end.put[stream]))

    for step in steps:
        if not isinstance(step[0], Kind):
            does(end, links, *step)
        elif links:
            kind, number, value, size, ends, limit = step
            number, value = nearly(end, kind, number, value)
            data = LIMIT.pack(min(value + limit, (1 << 64) - 1)) if kind is Kind.ACK else bytes([number % 256]) * size
            try:
                links[limit % len(links)].feed(frame(kind, number, value, b"" if kind in EMPTY else data, ends))
            except Fault:
                end, links = begun()  # the tunnel ends, and another one begins
        for link in links:
            Frames(pulled).feed(b"".join(link.pull(200)))
        accounted(end)
        for stream, came in end.heard.items():
            assert came.strip(bytes([stream % 256])) == b""
            assert end.owed[stream] <= TERMS.widest
