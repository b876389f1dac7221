"""What two engines say to each other arrives, whatever pieces the bytes come in."""

from __future__ import annotations

import sys
import weakref

import pytest

from meshproxy.wire.h2 import Code, Limits, Role
from tests.wire.h2.heard import OK, TRAILER, Heard, Owner, client, head, server

METHOD, STATUS = (b":method", b"GET"), (b":status", b"200")
FIELDS = [METHOD, (b":scheme", b"http"), (b":path", b"/")]


class Pair:
    """A client and a server, and the bytes between them in pieces."""

    def __init__(self, piece: int = 1 << 30, limits: Limits | None = None) -> None:
        self.piece = piece
        self.client = Owner(Role.CLIENT, limits)
        self.server = Owner(Role.SERVER, limits)
        self.talk()
        self.client.heard.clear()
        self.server.heard.clear()

    def talk(self) -> None:
        while self.client.engine.out or self.server.engine.out:
            for giver, taker in ((self.client, self.server), (self.server, self.client)):
                data = giver.written()
                for at in range(0, len(data), self.piece):
                    taker.engine.feed(data[at : at + self.piece])
                assert not taker.faults


def joined(heard: list[Heard]) -> list[Heard]:
    """Neighbouring pieces of a body are one."""
    result: list[Heard] = []
    for word, *more in heard:
        if word == "taken" and result and result[-1][0] == "taken" and result[-1][1] == more[0]:
            more[1] = result.pop()[2] + more[1]
        result.append((word, *more))
    return result


@pytest.mark.parametrize("piece", [1, 7, 9, 10, 100, 1 << 30])
def test_a_conversation(piece: int) -> None:
    pair = Pair(piece)
    stream = pair.client.open()
    pair.client.engine.data(stream, b"what is asked", False)
    pair.client.engine.data(stream, b", at length", True)
    pair.talk()
    assert joined(pair.server.heard) == [
        ("opened", 1, FIELDS, False),
        ("taken", 1, b"what is asked, at length", True),
    ]
    pair.server.engine.head(stream, b"\x08\x03103", False)
    pair.server.engine.head(stream, OK, False)
    pair.server.engine.data(stream, b"an answer", False)
    pair.server.engine.trailers(stream, TRAILER)
    pair.talk()
    assert joined(pair.client.heard) == [
        ("headed", 1, [(b":status", b"103")], False),
        ("headed", 1, [STATUS], False),
        ("taken", 1, b"an answer", False),
        ("trailed", 1, [(b"grpc-status", b"0")]),
    ]
    assert not pair.client.engine.streams
    assert not pair.server.engine.streams


@pytest.mark.parametrize("piece", [1000, 16384, 1 << 30])
def test_a_long_body_goes_through_the_windows(piece: int) -> None:
    pair = Pair(piece)
    body = bytes(range(256)) * 16384  # 4 MiB
    stream = pair.client.open()
    assert not pair.client.engine.data(stream, body, True)
    assert pair.client.users[stream].held
    pair.talk()
    assert not pair.client.users[stream].held
    *_, (word, _, data, last) = joined(pair.server.heard)
    assert (word, data == body, last) == ("taken", True, True)


def test_neighbours_are_joined_within_what_is_fed() -> None:
    pair = Pair()
    streams = [pair.client.open(), pair.client.open()]
    for stream in (streams[0], streams[0], streams[1], streams[0]):
        pair.client.engine.data(stream, b"piece ", False)
    pair.talk()
    assert [heard[1:3] for heard in pair.server.heard if heard[0] == "taken"] == [
        (1, b"piece piece "), (3, b"piece "), (1, b"piece "),
    ]


def test_a_stream_that_has_ended_leaves_nothing() -> None:
    owner = server()
    owner.engine.feed(head(1, 5))
    record = owner.engine.streams[1]
    user = weakref.ref(owner.users.pop(1))
    owner.engine.head(1, OK, False)
    owner.engine.data(1, b"", True)
    assert user() is None
    assert sys.getrefcount(record) == 2


def test_nobody_is_told_of_a_connection_that_is_closed() -> None:
    owner = client()
    owner.open()
    record = owner.engine.streams[1]
    owner.engine.close()
    owner.engine.feed(head(1, 5, OK))
    assert owner.engine.over
    assert owner.engine.room == 0
    assert not owner.heard
    assert sys.getrefcount(record) == 2
    assert record.user is None


def test_a_client_may_have_trailers() -> None:
    pair = Pair()
    stream = pair.client.open()
    pair.client.engine.trailers(stream, TRAILER)
    pair.talk()
    pair.server.engine.head(stream, OK, False)
    pair.server.engine.data(stream, b"fine", True)
    pair.talk()
    assert pair.server.heard[1:] == [("trailed", 1, [(b"grpc-status", b"0")])]
    assert pair.client.heard == [("headed", 1, [STATUS], False), ("taken", 1, b"fine", True)]


def test_a_reset_is_heard_and_a_refusal_told_apart() -> None:
    pair = Pair()
    streams = [pair.client.open() for _ in range(2)]
    pair.talk()
    pair.server.engine.reset(streams[0], Code.CANCEL)
    pair.server.engine.reset(streams[1], Code.REFUSED_STREAM)
    pair.talk()
    assert pair.client.heard == [("reset", 1, 8), ("refused", 3)]
