"""RESP: what is read, however it is cut, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.resp import (
    LARGEST_BULK,
    LONGEST_LINE,
    MOST_ITEMS,
    Malformed,
    Refused,
    Replies,
    Reply,
    Simple,
    command,
)


def written(reply: Reply) -> bytes:
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(written, reply))
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, Refused):
        return b"-%b and what was sent\r\n" % reply.word.encode()
    return b"$%d\r\n%b\r\n" % (len(reply), reply)


simple = (
    st.none()
    | st.integers(-(10**18), 10**18)
    | st.binary(max_size=40)
    | st.builds(Refused, st.from_regex(r"[A-Z]{1,9}", fullmatch=True))
)
replies: st.SearchStrategy[list[Simple | list[Simple]]] = st.lists(simple | st.lists(simple, max_size=5), max_size=5)


@given(replies, st.lists(st.integers(0, 400), max_size=6))
def test_replies_are_read_however_they_are_cut(said: list[Reply], cuts: list[int]) -> None:
    data = b"".join(map(written, said))
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    reader, found = Replies(), list[Reply]()
    for start, end in pairwise(bounds):
        found += reader.feed(data[start:end])
    assert found == said


@given(st.binary(max_size=200))
def test_anything_is_read_or_malformed(data: bytes) -> None:
    reader = Replies()
    try:
        for byte in data:
            reader.feed(bytes([byte]))
    except Malformed:
        return
    assert len(reader._data) <= LARGEST_BULK


def test_a_command_and_a_status() -> None:
    assert command(b"SET", b"a b", b"") == b"*3\r\n$3\r\nSET\r\n$3\r\na b\r\n$0\r\n\r\n"
    assert Replies().feed(b"+PONG\r\n*-1\r\n") == [b"PONG", None]


@pytest.mark.parametrize(
    "data",
    [
        b"PONG\r\n",
        b":1\n:2\r\n",
        b"+a\rb\r\n",
        b":01\r\n",
        b":+1\r\n",
        b": 1\r\n",
        b":\r\n",
        b":" + b"9" * 20 + b"\r\n",
        b"$-2\r\n",
        b"$2\r\nabc\r\n",
        b"$%d\r\n" % (LARGEST_BULK + 1),
        b"*%d\r\n" % (MOST_ITEMS + 1),
        b"*1\r\n*1\r\n:1\r\n",
        b"*-2\r\n",
        b"+" + b"x" * (LONGEST_LINE + 1),
        b"%1\r\n+a\r\n+b\r\n",
    ],
)
def test_what_breaks_the_rules(data: bytes) -> None:
    with pytest.raises(Malformed):
        Replies().feed(data)


def test_of_an_error_only_its_kind_is_kept() -> None:
    assert Replies().feed(b"-ERR unknown command 'AUTH', with args beginning with: 'geheim'\r\n") == [Refused("ERR")]
    assert Replies().feed(b"-geheim\r\n") == [Refused("unknown")]
