"""Each flood is cut within a thousand frames, and whoever does the same in measure is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from meshproxy.wire.h2 import Code, Limits, Reason, Role, StreamFault
from meshproxy.wire.h2.floods import ALLOWED, Account
from meshproxy.wire.h2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_UPDATE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
)
from meshproxy.wire.hpack import STATUS
from tests.wire.h2.heard import GET, HELLO, OK, TRAILER, Owner, client, frame, frames_of, head, number, server, settings

WHOLE = END_HEADERS | END_STREAM
PRIORITY_OF_NOTHING = number(0) + b"\0"
Flood = Iterator[bytes]


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def streams() -> Iterator[int]:
    return count(1, 2)


def forever(*frames: bytes, first: bytes = b"") -> Callable[[], Flood]:
    def flood() -> Flood:
        yield first
        while True:
            yield b"".join(frames)

    return flood


def for_each_stream(made: Callable[[int], bytes]) -> Callable[[], Flood]:
    return lambda: map(made, streams())


def fragments() -> Flood:
    yield head(1, 0, b"")
    while True:
        yield frame(CONTINUATION, 0, 1, b"\x82")


def empty_fragments() -> Flood:
    yield head(1, 0, b"")
    while True:
        yield frame(CONTINUATION, 0, 1, b"")


def large_fragments() -> Flood:
    yield head(1, 0, b"\x82" * 16384)
    while True:
        yield frame(CONTINUATION, 0, 1, b"\x82" * 16384)


FLOODS: dict[str, tuple[Reason, Callable[[], Flood]]] = {
    "rapid reset": (Reason.RESET_FLOOD, for_each_stream(lambda n: head(n, WHOLE) + frame(RST_STREAM, 0, n, number(8)))),
    "rapid reset of open streams": (
        Reason.RESET_FLOOD, for_each_stream(lambda n: head(n) + frame(RST_STREAM, 0, n, number(8))),
    ),
    "made you reset: an increment of nothing": (
        Reason.FAULT_FLOOD, for_each_stream(lambda n: head(n, WHOLE) + frame(WINDOW_UPDATE, 0, n, number(0))),
    ),
    "made you reset: a window too large": (
        Reason.FAULT_FLOOD, for_each_stream(lambda n: head(n, WHOLE) + frame(WINDOW_UPDATE, 0, n, number(2**31 - 1))),
    ),
    "made you reset: DATA after the end": (
        Reason.FAULT_FLOOD, for_each_stream(lambda n: head(n, WHOLE) + frame(DATA, 0, n, bytes(9))),
    ),
    "made you reset: HEADERS after the end": (
        Reason.FAULT_FLOOD, for_each_stream(lambda n: head(n, WHOLE) + head(n, WHOLE)),
    ),
    "made you reset: PRIORITY of 4": (
        Reason.FAULT_FLOOD, for_each_stream(lambda n: head(n, WHOLE) + frame(PRIORITY, 0, n, bytes(4))),
    ),
    "made you reset: PRIORITY of itself": (
        Reason.FAULT_FLOOD, for_each_stream(lambda n: head(n, WHOLE) + frame(PRIORITY, 0, n, number(n) + b"\0")),
    ),
    "heads that depend on themselves": (
        Reason.FAULT_FLOOD, for_each_stream(lambda n: head(n, WHOLE | WITH_PRIORITY, number(n) + b"\0" + GET)),
    ),
    "heads that are too large": (Reason.FAULT_FLOOD, for_each_stream(lambda n: head(n, WHOLE, GET * 100))),
    "DATA for what was reset": (
        Reason.FAULT_FLOOD,
        forever(frame(DATA, 0, 1, bytes(5)), first=head(1) + frame(RST_STREAM, 0, 1, number(8))),
    ),
    "streams above the limit": (Reason.REFUSED_FLOOD, for_each_stream(head)),
    "CONTINUATION": (Reason.CONTINUATION_FLOOD, fragments),
    "CONTINUATION of nothing": (Reason.CONTINUATION_FLOOD, empty_fragments),
    "CONTINUATION of the largest size": (Reason.CONTINUATION_FLOOD, large_fragments),
    "PING": (Reason.PING_FLOOD, forever(frame(PING, 0, 0, bytes(8)))),
    "answers to no PING": (Reason.PING_FLOOD, forever(frame(PING, ACK, 0, bytes(8)))),
    "SETTINGS": (Reason.SETTINGS_FLOOD, forever(settings())),
    "a table that flaps": (Reason.SETTINGS_FLOOD, forever(settings(_1=0), settings(_1=4096))),
    "windows that flap": (Reason.SETTINGS_FLOOD, forever(settings(_4=0), settings(_4=65535))),
    "acknowledgements": (Reason.SETTINGS_FLOOD, forever(frame(SETTINGS, ACK))),
    "SETTINGS of a thousand": (Reason.SETTINGS_FLOOD, forever(frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff" * 1000))),
    "DATA of nothing": (Reason.EMPTY_FLOOD, forever(frame(DATA, 0, 1), first=head(1))),
    "DATA of padding": (Reason.EMPTY_FLOOD, forever(frame(DATA, PADDED, 1, b"\xff" + bytes(255)), first=head(1))),
    "DATA of a byte": (Reason.DRIBBLE_FLOOD, forever(frame(DATA, 0, 1, b"x"), first=head(1))),
    "DATA of a byte and padding": (
        Reason.DRIBBLE_FLOOD, forever(frame(DATA, PADDED, 1, b"\x03xabc"), first=head(1)),
    ),
    "PRIORITY": (Reason.PRIORITY_FLOOD, forever(frame(PRIORITY, 0, 1, PRIORITY_OF_NOTHING))),
    "PRIORITY of many": (Reason.PRIORITY_FLOOD, for_each_stream(lambda n: frame(PRIORITY, 0, n, PRIORITY_OF_NOTHING))),
    "PRIORITY_UPDATE": (Reason.PRIORITY_FLOOD, forever(frame(PRIORITY_UPDATE, 0, 0, number(1) + b"u=1"))),
    "WINDOW_UPDATE of a byte": (Reason.WINDOW_FLOOD, forever(frame(WINDOW_UPDATE, 0, 0, number(1)))),
    "WINDOW_UPDATE of a byte for a stream": (
        Reason.WINDOW_FLOOD, forever(frame(WINDOW_UPDATE, 0, 1, number(1)), first=head(1)),
    ),
    "WINDOW_UPDATE for what was reset": (
        Reason.WINDOW_FLOOD,
        forever(frame(WINDOW_UPDATE, 0, 1, number(1)), first=head(1) + frame(RST_STREAM, 0, 1, number(8))),
    ),
    "unknown frames": (Reason.UNKNOWN_FLOOD, forever(frame(0x55, 0, 0, b"12345678"))),
    "GOAWAY": (Reason.UNKNOWN_FLOOD, forever(frame(GOAWAY, 0, 0, bytes(8)))),
    "RST_STREAM of what was reset": (
        Reason.LATE_FLOOD, forever(frame(RST_STREAM, 0, 1, number(8)), first=head(1)),
    ),
}  # fmt: skip


def frames_until_cut(owner: Owner, flood: Flood, most: int = 2000) -> int:
    taken = 0
    for data in flood:
        owner.engine.feed(data)
        owner.engine.out.clear()
        taken += len(frames_of(data))
        if owner.engine.over:
            return taken
        assert taken < most, "not cut"
    raise AssertionError


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_cut(name: str) -> None:
    reason, flood = FLOODS[name]
    owner = server()
    assert frames_until_cut(owner, flood()) <= 1000
    assert [(fault.code, fault.reason) for fault in owner.faults] == [(Code.ENHANCE_YOUR_CALM, reason)]
    assert owner.counts[-1] == reason


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_in_one_piece_is_cut(name: str) -> None:
    reason, flood = FLOODS[name]
    owner = server()
    made = flood()
    owner.engine.feed(b"".join(next(made) for _ in range(1000)))
    assert [fault.reason for fault in owner.faults] == [reason]


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_that_takes_a_second_is_cut_too(name: str) -> None:
    """A thousand frames a second, after an hour of rest and of useful work."""
    reason, flood = FLOODS[name]
    clock = Clock()
    owner = server(now=clock)
    clock.time += 3600
    made = flood()
    for _ in range(3000):
        clock.time += 0.001
        owner.engine.feed(next(made))
        if owner.engine.over:
            break
    assert [fault.reason for fault in owner.faults] == [reason]


def test_fragments_are_bounded_by_their_bytes_too() -> None:
    assert frames_until_cut(server(), large_fragments()) <= 8


def test_small_data_that_comes_late_is_counted() -> None:
    owner = server()
    owner.engine.feed(head(1))
    owner.engine.reset(1, Code.CANCEL)
    assert frames_until_cut(owner, forever(frame(DATA, 0, 1, b"sixsix"))()) <= 1000
    assert owner.faults[0].reason == Reason.LATE_FLOOD


def test_interim_answers_are_none() -> None:
    """`Expect: 100-continue` makes us say something to each request before it is reset."""
    owner = server()
    owner.opening = lambda stream: owner.engine.head(stream, STATUS[100], False)
    reason, flood = FLOODS["rapid reset"]
    assert frames_until_cut(owner, flood()) <= 1000
    assert owner.faults[0].reason == reason


def test_users_that_find_fault_are_counted() -> None:
    owner = server()

    def refuse(stream: int) -> None:
        raise StreamFault(Code.PROTOCOL_ERROR, Reason.MALFORMED)

    owner.opening = refuse
    assert frames_until_cut(owner, map(head, streams())) <= 1000
    assert owner.faults[0].reason == Reason.FAULT_FLOOD


def test_a_peer_that_makes_us_send_single_bytes() -> None:
    owner = server(hello=settings(_4=0))
    owner.engine.feed(head(1, WHOLE))
    owner.engine.head(1, OK, False)
    owner.engine.data(1, bytes(100_000), True)
    assert frames_until_cut(owner, forever(frame(WINDOW_UPDATE, 0, 1, number(1)))()) <= 1000
    assert owner.faults[0].reason == Reason.WINDOW_FLOOD


def test_answers_do_not_pile_up_before_a_peer_that_does_not_read() -> None:
    owner = server()
    owner.engine.block()
    made = streams()
    most = 0
    while not owner.engine.over:
        stream = next(made)
        owner.engine.feed(head(stream, WHOLE))
        owner.engine.head(stream, OK, True)
        most = max(most, len(owner.engine.out))
        assert most < 1000
    assert owner.faults[0].reason == Reason.UNREAD_FLOOD


def test_a_server_may_not_flood_its_client_either() -> None:
    for kind, flags, payload, reason in (
        (PING, 0, bytes(8), Reason.PING_FLOOD),
        (SETTINGS, 0, b"", Reason.SETTINGS_FLOOD),
        (WINDOW_UPDATE, 0, number(1), Reason.WINDOW_FLOOD),
    ):
        owner = client()
        assert frames_until_cut(owner, forever(frame(kind, flags, 0, payload))()) <= 1000
        assert owner.faults[0].reason == reason


def test_what_is_remembered_of_streams_that_are_gone_is_bounded() -> None:
    owner = server()
    for stream in range(1, 20_000, 4):
        owner.engine.feed(head(stream))
        owner.engine.head(stream, OK, False)
        owner.engine.reset(stream, Code.CANCEL)
        owner.engine.out.clear()
    assert len(owner.engine._reset_by_us) == 512
    assert len(owner.engine._gaps) == 16
    owner.engine.feed(frame(DATA, 0, 1, bytes(300)))
    assert owner.says() == [(RST_STREAM, 0, 1, number(Code.STREAM_CLOSED))]


# Honest peers


def answers(owner: Owner, size: int = 12) -> None:
    def answer(stream: int) -> None:
        owner.engine.head(stream, OK, False)
        owner.engine.data(stream, bytes(size), True)

    owner.opening = answer


def test_many_requests() -> None:
    """With a WINDOW_UPDATE for each and PRIORITY, as old clients say, in no time at all."""
    owner = server()
    answers(owner)
    for stream in range(1, 40_000, 2):
        owner.engine.feed(
            head(stream, WHOLE | WITH_PRIORITY, number(0) + b"\x10" + GET)
            + frame(WINDOW_UPDATE, 0, 0, number(12))
            + frame(PRIORITY, 0, stream, PRIORITY_OF_NOTHING)
        )
        owner.engine.out.clear()
    assert not owner.faults
    assert not owner.counts


def test_a_stream_of_small_messages_each_acknowledged() -> None:
    """As gRPC has it: each message of ours is answered with windows, a PING for the path, and a small message."""
    owner = server()
    owner.engine.feed(head(1))
    owner.engine.head(1, OK, False)
    for _ in range(20_000):
        owner.engine.data(1, bytes(7), False)
        owner.engine.feed(
            frame(DATA, 0, 1, bytes(5))
            + frame(WINDOW_UPDATE, 0, 0, number(7))
            + frame(WINDOW_UPDATE, 0, 1, number(7))
            + frame(PING, 0, 0, bytes(8))
        )
        owner.engine.out.clear()
    assert not owner.faults


def test_a_long_upload_that_uses_up_its_windows() -> None:
    """What is left of a window when a large frame does not fit may be a byte or two."""
    owner = server()
    owner.engine.feed(head(1))
    record = owner.engine.streams[1]
    for _ in range(2000):
        while record.left > 3:
            owner.engine.stop(1)
            owner.engine.feed(frame(DATA, 0, 1, bytes(min(record.left - 3, 16384))))
        owner.engine.feed(frame(DATA, 0, 1, bytes(record.left)))
        owner.engine.start(1)
        owner.engine.out.clear()
    assert not owner.faults


def test_a_long_download_through_small_windows() -> None:
    owner = server(hello=settings(_4=1024))
    owner.engine.feed(head(1, WHOLE))
    owner.engine.head(1, OK, False)
    owner.engine.data(1, bytes(10 << 20), True)
    while owner.engine.streams:
        owner.engine.feed(frame(WINDOW_UPDATE, 0, 0, number(1024)) + frame(WINDOW_UPDATE, 0, 1, number(1024)))
        owner.engine.out.clear()
    assert not owner.faults


def test_a_browser_that_leaves_a_page_again_and_again() -> None:
    clock = Clock()
    owner = server(now=clock)
    numbers = streams()
    for _ in range(100):
        opened = [next(numbers) for _ in range(50)]
        owner.engine.feed(b"".join(map(head, opened)))
        owner.engine.feed(b"".join(frame(RST_STREAM, 0, stream, number(8)) for stream in opened))
        clock.time += 1
    assert not owner.faults


def test_a_client_that_cancels_all_once_an_answer_has_begun() -> None:
    owner = server()
    owner.opening = lambda stream: owner.engine.head(stream, OK, False)
    for stream in range(1, 20_000, 2):
        owner.engine.feed(head(stream, WHOLE))
        owner.engine.feed(frame(RST_STREAM, 0, stream, number(8)))
    assert not owner.faults


def test_callers_that_lose_patience() -> None:
    """A thousand deadlines a second that all pass, of a server that hangs."""
    clock = Clock()
    owner = server(now=clock)
    numbers = streams()
    for _ in range(100):
        opened = [next(numbers) for _ in range(100)]
        owner.engine.feed(b"".join(map(head, opened)))
        clock.time += 0.1
        owner.engine.feed(b"".join(frame(RST_STREAM, 0, stream, number(8)) for stream in opened))
    assert not owner.faults


def test_old_firefox_and_a_client_that_greases() -> None:
    owner = server()
    answers(owner, 0)
    tree = b"".join(frame(PRIORITY, 0, stream, PRIORITY_OF_NOTHING) for stream in (3, 5, 7, 9, 11, 13))
    owner.engine.feed(tree)
    for stream in range(15, 20_000, 2):
        owner.engine.feed(frame(0xB + 0x1F * 3, 0, 0, b"grease") + head(stream, WHOLE))
        owner.engine.feed(frame(PRIORITY_UPDATE, 0, 0, number(stream) + b"u=1") * 2)
    assert not owner.faults


def test_keep_alive_for_a_day() -> None:
    clock = Clock()
    owner = server(now=clock)
    for _ in range(86_400):
        clock.time += 1
        owner.engine.feed(frame(PING, 0, 0, bytes(8)))
        owner.engine.out.clear()
    assert not owner.faults


def test_whoever_opens_hundreds_before_it_has_read_our_settings() -> None:
    owner = Owner(Role.SERVER, Limits(max_streams=100))
    owner.engine.feed(PREFACE + HELLO + b"".join(map(head, range(1, 1000, 2))))
    assert not owner.faults
    assert owner.counts == [Reason.STREAM_REFUSED] * 400


def test_a_terminal_over_a_tunnel() -> None:
    clock = Clock()
    owner = server(now=clock)
    owner.engine.feed(head(1))
    for _ in range(10_000):
        clock.time += 0.02
        owner.engine.feed(frame(DATA, 0, 1, b"x"))
    assert not owner.faults


def test_what_was_under_way_when_answers_end_early() -> None:
    """Uploads that are refused: each has half a window of DATA on its way, and then its trailers."""
    owner = server()
    for stream in range(1, 2000, 2):
        owner.engine.feed(head(stream))
        owner.engine.head(stream, OK, True)
        owner.engine.reset(stream, Code.NO_ERROR)
        owner.engine.feed(frame(DATA, 0, stream, bytes(1000)) * 30 + head(stream, WHOLE, TRAILER))
        owner.engine.out.clear()
    assert not owner.faults


def test_an_account() -> None:
    clock = Clock()
    account = Account(clock)
    kind = Reason.PING_FLOOD
    burst = ALLOWED[kind].burst
    assert all(account.spend(kind, 0) for _ in range(burst))
    assert not account.spend(kind, 0)
    clock.time += 1
    assert [account.spend(kind, 0) for _ in range(9)] == [True] * 9
    clock.time += 1e6
    assert sum(account.spend(kind, 0) for _ in range(5 * burst)) <= 2 * burst
    assert account.spend(Reason.SETTINGS_FLOOD, 0)
