"""WebSocket as a client speaks it: what is read, however it is cut, what is refused, and what others make of ours."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.websocket import (
    BINARY,
    CLOSE,
    LARGEST_MESSAGE,
    PING,
    PONG,
    TEXT,
    Messages,
    Violation,
    agreed,
    offer,
    sent,
)

pytest.importorskip("websockets", reason="websockets is not installed: nobody speaks to ours")

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

Message = tuple[int, bytes]


def framed(kind: int, data: bytes, *, final: bool = True) -> bytes:
    """As a server sends it, in the words of another library."""
    return Frame(Opcode(kind), data, fin=final).serialize(mask=False)


def read(data: bytes) -> list[Message]:
    return [*Messages().feed(data)]


texts = st.tuples(st.just(TEXT), st.text(max_size=300).map(str.encode))
binaries = st.tuples(st.just(BINARY), st.sampled_from((0, 125, 126, 65535, LARGEST_MESSAGE)).map(bytes))
controls = st.tuples(st.sampled_from((PING, PONG)), st.binary(max_size=125))


@given(st.lists(texts | binaries | controls, max_size=5), st.lists(st.integers(0, 400), max_size=6))
def test_messages_are_read_however_they_are_cut(said: list[Message], cuts: list[int]) -> None:
    data = b"".join(framed(*message) for message in said)
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    messages, found = Messages(), list[Message]()
    for start, end in pairwise(bounds):
        found += messages.feed(data[start:end])
    assert found == said


def test_a_message_in_pieces_is_one_and_a_ping_between_them_is_heard_first() -> None:
    data = framed(TEXT, b"rel", final=False) + framed(PING, b"?") + framed(0, b"oa", final=False) + framed(0, b"d")
    assert read(data + framed(TEXT, b"")) == [(PING, b"?"), (TEXT, b"reload"), (TEXT, b"")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "begins with 0x48"),
        (b"\xc1\x00", "begins with 0xc1"),
        (b"\x83\x00", "begins with 0x83"),
        (b"\x81\x81abcdx", "does not mask"),
        (framed(0, b"more"), "has not begun"),
        (framed(TEXT, b"a", final=False) + framed(TEXT, b"b"), "begins within another"),
        (b"\x09\x00", "control frame"),
        (b"\x89\x7e\x00\x80", "control frame"),
        (b"\x81\x7f" + (LARGEST_MESSAGE + 1).to_bytes(8, "big"), "more than 64 KiB"),
        (b"\x81\x7f" + b"\xff" * 8, "more than 64 KiB"),
        (framed(BINARY, bytes(LARGEST_MESSAGE), final=False) + framed(0, b"."), "more than 64 KiB"),
        (framed(TEXT, b"\xff"), "not UTF-8"),
    ],
)
def test_what_is_no_websocket_is_refused_as_soon_as_that_shows(data: bytes, words: str) -> None:
    with pytest.raises(Violation, match=words):
        read(data)


@given(st.binary(max_size=300))
def test_anything_is_read_or_refused(data: bytes) -> None:
    messages = Messages()
    try:
        for byte in data:
            for _ in messages.feed(bytes([byte])):
                """Whatever it is."""
    except Violation:
        """No other fault."""


def test_an_acceptance_is_that_of_the_offer() -> None:
    key = b"the sample nonce"  # of RFC 6455
    assert (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ==") in offer(key)
    assert agreed(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", key)
    assert not agreed(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", os.urandom(16))
    assert not agreed(None, key)


@pytest.mark.parametrize("kind", [CLOSE, PING, PONG])
@pytest.mark.parametrize("data", [b"", b"\x03\xe8", b"\x03\xe8" + b"x" * 123])
def test_another_library_reads_what_is_sent(kind: int, data: bytes) -> None:
    server = ServerProtocol(state=State.OPEN)
    server.receive_data(sent(kind, data, os.urandom(4)))
    [event] = server.events_received()
    assert isinstance(event, Frame)
    assert (event.opcode, event.data) == (kind, data)


def test_what_is_no_control_frame_is_not_sent() -> None:
    with pytest.raises(ValueError, match="126 bytes"):
        sent(PONG, b"x" * 126, b"mask")
