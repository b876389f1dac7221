"""Flow control, in both directions."""

from __future__ import annotations

from meshproxy.wire.h2 import Code, Limits, Role
from meshproxy.wire.h2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE
from tests.wire.h2.heard import OK, TRAILER, Owner, client, frame, head, number, server, settings

LARGEST = 2**31 - 1


def update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, number(increment))


def sizes(owner: Owner, stream: int) -> list[int]:
    """Of the DATA that has gone out for a stream."""
    return [len(data) for kind, _, of, data in owner.says() if kind == DATA and of == stream]


def answering(window: int, streams: int = 1) -> Owner:
    """A server whose client lets each stream have `window` bytes, and has asked with the first numbers."""
    owner = server(hello=settings(_4=window))
    for stream in range(1, 2 * streams, 2):
        owner.engine.feed(head(stream, END_HEADERS | END_STREAM))
        owner.engine.head(stream, OK, False)
    owner.written()
    return owner


# What we send


def test_a_window_of_one_byte() -> None:
    owner = answering(1)
    assert not owner.engine.data(1, b"abc", True)
    assert owner.users[1].held
    assert owner.says() == [(DATA, 0, 1, b"a")]
    owner.engine.feed(update(1, 1))
    assert owner.says() == [(DATA, 0, 1, b"b")]
    user = owner.users[1]
    owner.engine.feed(update(1, 7))
    assert owner.says() == [(DATA, END_STREAM, 1, b"c")]
    assert not user.held
    assert not owner.engine.streams


def test_an_end_without_data_needs_no_window() -> None:
    owner = answering(0)
    assert owner.engine.data(1, b"", False)
    assert owner.engine.data(1, b"", True)
    assert owner.says() == [(DATA, END_STREAM, 1, b"")]


def test_an_end_without_data_waits_for_the_data_before_it() -> None:
    owner = answering(2)
    assert not owner.engine.data(1, b"abc", False)
    assert not owner.engine.data(1, b"", True)
    assert owner.says() == [(DATA, 0, 1, b"ab")]
    owner.engine.feed(update(1, 1))
    assert owner.says() == [(DATA, END_STREAM, 1, b"c")]


def test_trailers_wait_for_what_is_kept() -> None:
    owner = answering(2)
    owner.engine.data(1, b"abc", False)
    owner.engine.trailers(1, TRAILER)
    assert owner.says() == [(DATA, 0, 1, b"ab")]
    owner.engine.feed(update(1, 1))
    assert owner.says() == [(DATA, 0, 1, b"c"), (HEADERS, END_HEADERS | END_STREAM, 1, TRAILER)]
    assert not owner.engine.streams


def test_settings_move_the_windows_of_all_streams_and_below_zero() -> None:
    owner = answering(10, streams=2)
    owner.engine.data(1, bytes(8), False)
    owner.written()
    owner.engine.feed(settings(_4=3))  # 1: -5; 3: 3
    owner.written()
    assert not owner.engine.data(1, bytes(4), True)
    assert not owner.engine.data(3, bytes(4), True)
    assert owner.says() == [(DATA, 0, 3, bytes(3))]
    owner.engine.feed(update(1, 5))  # 0
    assert owner.written() == b""
    owner.engine.feed(settings(_4=5))
    assert owner.says() == [
        (SETTINGS, 1, 0, b""), (DATA, 0, 1, bytes(2)), (DATA, END_STREAM, 3, bytes(1)),
    ]  # fmt: skip


def test_a_stream_in_its_turn_may_lose_its_window() -> None:
    owner = answering(1 << 20, streams=2)
    owner.engine.data(1, bytes(70_000), True)
    owner.engine.data(3, bytes(70_000), True)
    owner.written()
    owner.engine.feed(settings(_4=100) + update(0, 1_000_000))
    assert [len(data) for kind, *_, data in owner.says() if kind == DATA] == [100]
    owner.engine.feed(update(1, 70_000))
    assert sum(sizes(owner, 1)) == 70_000 - 65_535


def test_a_window_below_zero_keeps_no_end_back() -> None:
    owner = answering(10)
    owner.engine.data(1, bytes(8), False)
    owner.engine.feed(settings(_4=0))
    owner.written()
    assert owner.engine.data(1, b"", True)
    assert owner.says() == [(DATA, END_STREAM, 1, b"")]


def test_one_frame_may_hold_several_initial_windows() -> None:
    owner = answering(10)
    said = b"".join(b"\0\x04" + number(value) for value in (100, 1))
    owner.engine.feed(frame(SETTINGS, 0, 0, said))
    owner.engine.data(1, bytes(5), False)
    assert sizes(owner, 1) == [1]


def test_the_connection_s_window_is_shared_in_turns() -> None:
    owner = answering(1 << 20, streams=3)
    owner.engine.data(1, bytes(100_000), False)
    owner.engine.data(3, bytes(40_000), True)
    owner.engine.data(5, bytes(10), True)
    assert sum(sizes(owner, 1)) == 65535
    owner.engine.feed(update(0, 60_000))
    turns = [(of, len(data)) for kind, _, of, data in owner.says()]
    assert turns == [(1, 16384), (3, 16384), (5, 10), (1, 16384), (3, 60_000 - 3 * 16384 - 10)]
    assert [owner.users[stream].held for stream in (1, 3, 5)] == [True, True, False]
    owner.engine.feed(update(0, LARGEST))
    assert not owner.faults
    assert list(owner.engine.streams) == [1]


def test_the_largest_windows_and_one_more() -> None:
    owner = answering(65535)
    owner.engine.feed(update(1, LARGEST - 65535) + update(0, LARGEST - 65535))
    assert owner.written() == b""
    owner.engine.feed(update(1, 1))
    assert owner.says() == [(RST_STREAM, 0, 1, number(Code.FLOW_CONTROL_ERROR))]
    owner.engine.feed(update(0, 1))
    assert [fault.code for fault in owner.faults] == [Code.FLOW_CONTROL_ERROR]


def test_a_full_socket_keeps_data_and_nothing_else() -> None:
    owner = answering(65535, streams=3)
    owner.engine.block()
    assert not owner.engine.data(1, b"one", True)
    assert not owner.engine.data(3, b"three", True)
    assert owner.engine.data(5, b"", True)
    owner.engine.feed(frame(6, 0, 0, bytes(8)) + update(0, 10) + update(1, 10))
    assert [kind for kind, *_ in owner.says()] == [DATA, 6]
    owner.engine.unblock()
    assert [data for *_, data in owner.says()] == [b"one", b"three"]
    assert not owner.users[1].held


def test_whoever_is_released_may_go_on_at_once() -> None:
    owner = answering(10)
    user = owner.users[1]
    release = user.release

    def more() -> None:
        release()
        owner.engine.data(1, b"more", True)

    user.release = more  # type: ignore[method-assign]
    owner.engine.data(1, bytes(11), False)
    owner.engine.feed(update(1, 100))
    assert sizes(owner, 1) == [10, 1, 4]
    assert not owner.engine.streams


def test_what_waits_is_forgotten_with_its_stream() -> None:
    owner = answering(1)
    owner.engine.data(1, bytes(100), True)
    owner.written()
    owner.engine.feed(frame(RST_STREAM, 0, 1, number(8)) + update(0, 1000) + settings(_4=1000))
    assert [kind for kind, *_ in owner.says()] == [SETTINGS]
    owner.engine.unblock()
    assert owner.written() == b""


def test_frames_are_as_large_as_the_peer_takes() -> None:
    owner = answering(1 << 20)
    owner.engine.feed(update(0, 1 << 20) + settings(_5=20_000))
    owner.engine.data(1, bytes(50_000), False)
    assert sizes(owner, 1) == [20_000, 20_000, 10_000]
    owner.engine.head(1, bytes(45_000), True)
    assert [(kind, flags, len(data)) for kind, flags, _, data in owner.says()] == [
        (1, END_STREAM, 20_000), (9, 0, 20_000), (9, END_HEADERS, 5_000),
    ]  # fmt: skip


# What we take

SMALL = Limits(window=65536, connection_window=131072)


def data(stream: int, size: int, flags: int = 0) -> bytes:
    return b"".join(
        frame(DATA, flags if at + 16384 >= size else 0, stream, bytes(min(16384, size - at)))
        for at in range(0, size, 16384)
    )


def test_half_a_window_is_given_back_at_once() -> None:
    owner = server(SMALL)
    owner.engine.feed(head(1) + data(1, 32767))
    assert owner.written() == b""
    owner.engine.feed(frame(DATA, 0, 1, b"x"))
    assert owner.says() == [(WINDOW_UPDATE, 0, 1, number(32768))]
    owner.engine.feed(data(1, 32768))
    assert owner.says() == [(WINDOW_UPDATE, 0, 0, number(65536)), (WINDOW_UPDATE, 0, 1, number(32768))]


def test_padding_is_given_back_too() -> None:
    owner = server(SMALL)
    owner.engine.feed(head(1))
    for _ in range(1000):
        owner.engine.feed(frame(DATA, 8, 1, b"\xff" + b"x" * 100 + bytes(255)))
    assert not owner.faults
    assert sum(len(heard[2]) for heard in owner.heard[1:]) == 100_000


def test_nothing_is_given_for_the_stream_after_its_end() -> None:
    owner = server(SMALL)
    owner.engine.feed(head(1) + data(1, 65536, END_STREAM))
    assert owner.says() == [(WINDOW_UPDATE, 0, 0, number(65536))]


def test_a_stream_takes_no_more_than_its_window() -> None:
    owner = server(SMALL)
    owner.engine.feed(head(1))
    owner.engine.stop(1)
    owner.engine.feed(data(1, 65536))
    assert owner.written() == b""
    owner.engine.feed(frame(DATA, 0, 1, b"x"))
    assert owner.says() == [(RST_STREAM, 0, 1, number(Code.FLOW_CONTROL_ERROR)), (WINDOW_UPDATE, 0, 0, number(65536))]
    assert owner.heard[-1] == ("reset", 1, 3)


def test_all_streams_take_no_more_than_the_connection_s_window() -> None:
    owner = server(SMALL)
    owner.engine.feed(head(1) + head(3) + head(5))
    for stream in (1, 3, 5):
        owner.engine.stop(stream)
    owner.engine.feed(data(1, 65536) + data(3, 65536))
    assert not owner.faults
    owner.engine.feed(frame(DATA, 0, 5, b"x"))
    assert [fault.code for fault in owner.faults] == [Code.FLOW_CONTROL_ERROR]


def test_whoever_is_stopped_is_given_nothing_until_it_starts() -> None:
    owner = server(SMALL)
    owner.engine.feed(head(1))
    owner.engine.stop(1)
    owner.engine.feed(data(1, 65536))
    assert owner.written() == b""
    owner.engine.start(1)
    assert owner.says() == [(WINDOW_UPDATE, 0, 0, number(65536)), (WINDOW_UPDATE, 0, 1, number(65536))]
    owner.engine.start(1)
    assert owner.written() == b""


def test_whoever_stops_while_it_takes_is_not_given_that_either() -> None:
    owner = server(SMALL)
    owner.engine.feed(head(1))
    owner.users[1].taken = lambda data, last: owner.engine.stop(1)  # type: ignore[method-assign]
    owner.engine.feed(data(1, 65536))
    assert owner.written() == b""


def test_a_stopped_stream_that_is_reset_gives_the_connection_back() -> None:
    for by_us in (True, False):
        owner = server(SMALL)
        owner.engine.feed(head(1))
        owner.engine.stop(1)
        owner.engine.feed(data(1, 65536))
        if by_us:
            owner.engine.reset(1, Code.CANCEL)
        else:
            owner.engine.feed(frame(RST_STREAM, 0, 1, number(8)))
        assert (WINDOW_UPDATE, 0, 0, number(65536)) in owner.says()


def test_a_window_smaller_than_the_default_holds_once_the_peer_knows_it() -> None:
    owner = Owner(Role.CLIENT, Limits(window=1000))
    owner.engine.feed(settings())
    owner.open()
    owner.engine.stop(1)
    owner.engine.feed(head(1, END_HEADERS, OK) + data(1, 2000))
    assert not owner.faults
    owner.engine.feed(frame(SETTINGS, 1))
    owner.open()
    owner.engine.stop(3)
    owner.engine.feed(data(1, 6))  # for which there was room before
    assert owner.heard[-1] == ("reset", 1, Code.FLOW_CONTROL_ERROR)
    owner.engine.feed(head(3, END_HEADERS, OK) + data(3, 1001))
    assert owner.heard[-1] == ("reset", 3, Code.FLOW_CONTROL_ERROR)


def test_data_goes_on_as_it_arrives() -> None:
    owner = client()
    owner.open()
    owner.engine.feed(head(1, END_HEADERS, OK) + frame(DATA, END_STREAM, 1, b"x" * 1000)[:500])
    assert owner.heard[-1] == ("taken", 1, b"x" * 491, False)
    owner.engine.feed(b"x" * 508)
    owner.engine.feed(b"x")
    assert owner.heard[-2:] == [("taken", 1, b"x" * 508, False), ("taken", 1, b"x", True)]


def test_the_rest_of_a_frame_is_passed_over_if_its_stream_is_reset() -> None:
    owner = server(Limits(window=65535, connection_window=65535))
    for stream in range(1, 99, 2):
        whole = frame(DATA, 0, stream, bytes(16384))
        owner.engine.feed(head(stream) + whole[:100])
        owner.engine.reset(stream, Code.CANCEL)
        owner.engine.feed(whole[100:])
    assert not owner.faults
    assert sum(len(heard[2]) for heard in owner.heard if heard[0] == "taken") == 49 * 91
