"""A peer who keeps to no rule, or to all of them and means no good: nobody else is harmed, and nothing grows."""

from __future__ import annotations

from dataclasses import replace

from meshproxy.wire.mux.frames import Reason
from tests.wire.test_mux_session import TERMS, End, Wire, pair

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
