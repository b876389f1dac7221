"""Frames of a tunnel are read however they are cut; bytes of a stream do not wait until their frame is whole."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from meshproxy.wire.mux.frames import END, HEAD, LARGEST, SIZE, Fault, Frames, Kind, Reason, frame

Taken = tuple[int, int, int, int, bytes]


def taken(pieces: Iterable[bytes]) -> list[Taken]:
    found: list[Taken] = []
    frames = Frames(lambda *each: found.append(each))
    for piece in pieces:
        frames.feed(piece)
    return found


SENT = (
    frame(Kind.OPEN, 1, 64, b"what for")
    + frame(Kind.DATA, 1, 0, b"first bytes")
    + frame(Kind.PING, 0, 7)
    + frame(Kind.DATA, 1, 11, b", and last", END)
    + frame(Kind.DATAGRAM, 3, 0, b"a datagram")
)
WHOLE = taken([SENT])


def joined(frames: list[Taken]) -> list[Taken]:
    """With DATA that goes on where the one before has ended as one of it."""
    found: list[Taken] = []
    for kind, flags, stream, value, data in frames:
        before = found[-1] if found else None
        if before is not None and kind == before[0] == Kind.DATA and value == before[3] + len(before[4]):
            found[-1] = (kind, flags, stream, before[3], before[4] + data)
            assert not before[1], "something comes behind an end"
        else:
            found.append((kind, flags, stream, value, data))
    return found


@pytest.mark.parametrize("size", range(1, len(SENT)))
def test_frames_are_the_same_however_they_are_cut(size: int) -> None:
    assert joined(taken(SENT[at : at + size] for at in range(0, len(SENT), size))) == WHOLE
    assert joined(taken((SENT[:size], SENT[size:]))) == WHOLE


def test_bytes_of_a_stream_are_taken_as_they_come() -> None:
    sent = frame(Kind.DATA, 1, 100, bytes(1 << 20), END)
    found = taken([sent[: SIZE + 10], sent[SIZE + 10 : SIZE + 30]])
    assert [(value, len(data), flags) for _, flags, _, value, data in found] == [(100, 10, 0), (110, 20, 0)]


def test_an_end_comes_with_the_last_byte() -> None:
    sent = frame(Kind.DATA, 1, 0, b"abc", END)
    assert taken([sent[:-1], sent[-1:]]) == [(Kind.DATA, 0, 1, 0, b"ab"), (Kind.DATA, END, 1, 2, b"c")]
    assert taken([frame(Kind.DATA, 1, 3, b"", END)]) == [(Kind.DATA, END, 1, 3, b"")]


@pytest.mark.parametrize("kind", [Kind.OPEN, Kind.ACK, Kind.DATAGRAM, Kind.CLOSE])
def test_what_has_to_be_whole_is_refused_by_its_head_where_it_is_too_long(kind: Kind) -> None:
    assert taken([HEAD.pack(kind, 0, LARGEST, 1, 0)]) == []
    with pytest.raises(Fault) as caught:
        taken([HEAD.pack(kind, 0, LARGEST + 1, 1, 0)])
    assert caught.value.reason is Reason.MALFORMED
