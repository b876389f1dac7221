"""Which frames of a link wait for which others."""

from __future__ import annotations

from meshproxy.wire.mux.frames import END, LIMIT, Kind, frame
from meshproxy.wire.mux.lanes import CONTROL, Lanes, is_datagram, stream_of


def opens(stream: int) -> bytes:
    return frame(Kind.OPEN, stream, 100, b"purpose")


def says(stream: int, data: bytes, flags: int = 0) -> bytes:
    return frame(Kind.DATA, stream, 0, data, flags)


def lanes_of(lanes: Lanes, *frames: bytes) -> list[int]:
    found = list(lanes.sort(b"".join(frames)))
    assert [each for _, each in found] == list(frames)
    return [lane for lane, _ in found]


def test_what_no_stream_carries_goes_in_its_order() -> None:
    said = [
        frame(Kind.ACK, 1, 5, LIMIT.pack(9)), frame(Kind.RESET, 3, 1), frame(Kind.GONE, 5, 0), frame(Kind.PING, 0, 1),
        frame(Kind.PONG, 0, 1), frame(Kind.SYNCED, 0, 0),
    ]  # fmt: skip
    assert lanes_of(Lanes(4), *said) == [CONTROL] * len(said)
    assert not any(is_datagram(each) for each in said)


def test_datagrams_come_behind_what_opens_their_flow() -> None:
    lanes, datagram = Lanes(4), frame(Kind.DATAGRAM, 3, 0, b"d")
    assert lanes_of(lanes, opens(1), opens(3), datagram, says(3, b"", END)) == [1, 2, 2, 2]
    assert (is_datagram(datagram), stream_of(datagram)) == (True, 3)


def test_each_stream_has_a_lane_of_its_own_from_its_first_frame_on() -> None:
    lanes = Lanes(4)
    assert lanes_of(lanes, opens(1), says(1, b"a"), opens(3), opens(2)) == [1, 1, 2, 3]
    assert lanes_of(lanes, says(3, b"b"), says(1, b"a"), says(2, b"c")) == [2, 1, 3]


def test_where_there_are_more_streams_than_lanes_the_emptiest_is_shared() -> None:
    lanes = Lanes(2)
    assert lanes_of(lanes, opens(1), opens(3), opens(5), opens(7)) == [1, 2, 1, 2]
    assert lanes_of(lanes, frame(Kind.RESET, 3, 1), frame(Kind.RESET, 7, 1), opens(9), opens(11)) == [0, 0, 2, 2]


def test_what_has_ended_leaves_its_lane() -> None:
    lanes = Lanes(1)
    said = (says(1, b"a", END), says(3, b"b"), frame(Kind.GONE, 3, 0), frame(Kind.GONE, 3, 0), says(5, b""))
    assert lanes_of(lanes, *said) == [1, 1, 0, 0, 1]
    assert lanes._users == [1]
    assert lanes._of == {5: 0}


def test_what_the_other_end_has_ended_is_forgotten_where_there_is_much_of_it() -> None:
    lanes = Lanes(4)
    lanes_of(lanes, *map(opens, range(1, 41, 2)))
    lanes.keep(range(1, 21, 2))
    assert len(lanes._of) == 20, "it is not looked at before there are many"
    lanes.keep({1, 3, 99})
    assert lanes._of.keys() == {1, 3}
    assert sum(lanes._users) == 2
