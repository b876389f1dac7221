"""Against the `h2` library, in both roles: whatever the two sides do, and in whatever pieces it arrives, each hears
what the other has said.  And whatever bytes come, nothing is raised and little is held."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from meshproxy.wire.h2 import Limits, Role
from meshproxy.wire.h2.frames import PREFACE, PREFIX
from meshproxy.wire.h2.reference import ReferenceEngine
from tests.examples import examples
from tests.wire.h2.heard import GET, HELLO, OK, Owner, frame, head
from tests.wire.h2.talkers import Fields, Ours, Talker, Theirs, Transcript

ASKS: Fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a"), (b"x-a", b"1")]
INTERIM: Fields = [(b":status", b"103"), (b"link", b"/x")]
ANSWERS: Fields = [(b":status", b"200"), (b"content-type", b"text/plain")]
TRAILERS: Fields = [(b"grpc-status", b"0"), (b"grpc-message", b"fine")]

LIMITS = Limits(max_streams=20, window=65535, connection_window=100_000)

Pair = tuple[Talker, Talker]
PAIRS: dict[str, Callable[[], Pair]] = {
    "our client, their server": lambda: (Ours(Role.CLIENT, LIMITS), Theirs(Role.SERVER)),
    "their client, our server": lambda: (Theirs(Role.CLIENT), Ours(Role.SERVER, LIMITS)),
    "ours alone": lambda: (Ours(Role.CLIENT, LIMITS), Ours(Role.SERVER, LIMITS)),
    "our client, the reference": lambda: (Ours(Role.CLIENT, LIMITS), Ours(Role.SERVER, LIMITS, ReferenceEngine)),
    "the reference, our server": lambda: (Ours(Role.CLIENT, LIMITS, ReferenceEngine), Ours(Role.SERVER, LIMITS)),
}


class Conversation:
    """A client, a server, what each has said of each stream, and the bytes that are between them."""

    def __init__(self, pair: Pair) -> None:
        self.sides = pair
        self.said = Transcript(), Transcript()
        self.between = [b"", b""]
        """From the client, from the server."""
        self.streams: list[int] = []
        self.given_up: set[int] = set()
        self.deliver(0, 1 << 30)
        self.deliver(1, 1 << 30)
        self.settle()

    def deliver(self, side: int, size: int) -> bool:
        self.between[side] += self.sides[side].written()
        data, self.between[side] = self.between[side][:size], self.between[side][size:]
        if data:
            self.sides[1 - side].feed(data)
        return bool(data)

    def settle(self) -> None:
        while self.deliver(0, 1 << 30) | self.deliver(1, 1 << 30):
            pass

    def may_speak(self, side: int, stream: int) -> bool:
        heard = self.sides[side].heard[stream]
        return (
            stream not in self.given_up
            and ("reset",) not in heard
            and ("end",) not in self.said[side][stream]
            and (side == 0 or bool(heard))
        )

    def act(self, what: str, side: int, which: int, size: int) -> None:
        talker, said = self.sides[side], self.said[side]
        if what == "deliver":
            self.deliver(side, size)
        elif what == "ping":
            talker.ping()
        elif what == "resize":
            talker.resize(size)
        elif what == "open":
            if len(self.streams) < LIMITS.max_streams:
                last = bool(size & 1)
                stream = self.sides[0].open(ASKS, last)
                self.streams.append(stream)
                self.said[0].add(stream, "head", ASKS)
                if last:
                    self.said[0].add(stream, "end")
        elif self.streams:
            stream = self.streams[which % len(self.streams)]
            if self.may_speak(side, stream):
                self.speak(what, talker, said, side, stream, size)

    def speak(self, what: str, talker: Talker, said: Transcript, side: int, stream: int, size: int) -> None:
        last = bool(size & 1)
        answered = side == 0 or ("head", ANSWERS) in said[stream]
        if what == "reset":
            talker.reset(stream)
            self.given_up.add(stream)
        elif not answered:
            fields = INTERIM if what == "interim" else ANSWERS
            last = last and fields is ANSWERS and what == "head"
            talker.head(stream, fields, last)
            said.add(stream, "head", fields)
            if last:
                said.add(stream, "end")
        elif what == "data":
            data = size.to_bytes(4) * (size >> 2)
            talker.data(stream, data, last)
            said.add(stream, "data", data)
            if last:
                said.add(stream, "end")
        elif what == "trailers":
            talker.trailers(stream, TRAILERS)
            said.add(stream, "trailers", TRAILERS)
            said.add(stream, "end")

    def finish(self) -> None:
        for talker in self.sides:
            talker.resize(65534)
        self.settle()
        for side in (0, 1):
            for stream in self.streams:
                while self.may_speak(side, stream):
                    self.speak("data", self.sides[side], self.said[side], side, stream, 9)
            self.settle()

    def check(self) -> None:
        for side in (0, 1):
            for stream in self.streams:
                said, heard = self.said[side][stream], self.sides[1 - side].heard[stream]
                if stream in self.given_up:
                    said, heard = whole(said), whole([word for word in heard if word != ("reset",)])
                    assert said[: len(heard)] == heard
                else:
                    assert said == heard
        for talker in self.sides:
            if isinstance(talker, Ours):
                assert not talker.engine.streams
                assert talker.said == 0


def whole(words: list[tuple[Any, ...]]) -> list[Any]:
    """Data byte by byte, so that a beginning is found as one."""
    return [part for word, *more in words for part in (more[0] if word == "data" else [(word, *more)])]


SIZES = st.one_of(st.integers(0, 64), st.integers(0, 200_000))
SAYS = st.tuples(
    st.sampled_from(["open", "head", "interim", "data", "data", "trailers", "reset", "deliver", "deliver", "ping"]),
    st.integers(0, 1),
    st.integers(0, 30),
    SIZES,
)
RESIZES = st.tuples(st.just("resize"), st.integers(0, 1), st.just(0), st.integers(0, 100_000))


@pytest.mark.parametrize("pair", PAIRS)
@examples(60, deadline=None, suppress_health_check=list(HealthCheck))
@given(acts=st.lists(st.one_of(SAYS, SAYS, SAYS, RESIZES), min_size=5, max_size=60))
def test_each_hears_what_the_other_has_said(pair: str, acts: list[tuple[str, int, int, int]]) -> None:
    conversation = Conversation(PAIRS[pair]())
    for act in acts:
        conversation.act(*act)
    conversation.finish()
    conversation.check()


# Bytes that nobody would send

FRAMES = st.builds(
    lambda kind, flags, stream, payload: frame(kind, flags, stream, payload),
    st.one_of(st.integers(0, 9), st.integers(0, 255)),
    st.one_of(st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]), st.integers(0, 255)),
    st.one_of(st.integers(0, 9), st.integers(0, 2**32 - 1)),
    st.one_of(st.binary(max_size=12), st.sampled_from([GET, OK, bytes(4), bytes(8), bytes(16384)])),
)


def held(owner: Owner) -> int:
    """How many bytes an engine keeps of what it was fed."""
    engine = owner.engine
    return len(engine._rest) + sum(map(len, engine._fragments))


@pytest.mark.parametrize("role", Role)
@examples(300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    frames=st.lists(st.one_of(FRAMES, FRAMES, st.binary(max_size=30)), max_size=40),
    piece=st.sampled_from([1, 10, 1000, 1 << 20]),
    answers=st.booleans(),
)
def test_nothing_is_raised_and_little_is_held(role: Role, frames: list[bytes], piece: int, answers: bool) -> None:
    owner = Owner(role)
    if answers:
        owner.opening = lambda stream: owner.engine.head(stream, OK, False)
    if role is Role.CLIENT:
        for _ in range(4):
            owner.open()
    owner.engine.feed((PREFACE if role is Role.SERVER else b"") + HELLO)
    data = b"".join(frames)
    for at in range(0, len(data), piece):
        owner.engine.feed(data[at : at + piece])
        assert held(owner) <= 16384 + PREFIX.size + 2 * 61440
    assert len(owner.faults) == owner.engine.over


@examples(100, deadline=None, suppress_health_check=list(HealthCheck))
@given(at=st.integers(0, 400), byte=st.integers(0, 255), more=st.binary(max_size=20))
def test_a_conversation_with_a_byte_changed(at: int, byte: int, more: bytes) -> None:
    theirs = Theirs(Role.CLIENT)
    for _ in range(5):
        stream = theirs.open(ASKS, False)
        theirs.data(stream, b"some data", False)
        theirs.trailers(stream, TRAILERS)
    data = bytearray(theirs.written())
    data[at % len(data) : at % len(data) + 1] = bytes((byte,)) + more
    owner = Owner()
    owner.engine.feed(bytes(data))
    owner.engine.feed(head(101))
    assert len(owner.faults) == owner.engine.over
