"""What is said first on a link, and what a stream is for: as it is written, and whatever else may come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.mux.frames import Fault, Reason
from meshproxy.wire.mux.hello import LARGEST, Hello, read_hello
from meshproxy.wire.mux.metadata import Purpose, read_purpose

ANEW = Hello("centre", "", "", 1000, 16384)
AGAIN = Hello("centre", "0" * 32, "f" * 64, 1, 1, ("zstd:" + "0" * 32, "zstd"))


@pytest.mark.parametrize("said", [ANEW, AGAIN])
def test_what_was_said_is_read(said: Hello) -> None:
    assert read_hello(bytes(said)) == said
    assert len(bytes(said)) <= LARGEST


def test_who_does_not_say_how_streams_may_be_compressed_reads_what_is_not() -> None:
    assert read_hello(changed(reads=None)).reads == ()


def changed(**keys: Any) -> bytes:
    said = {**json.loads(bytes(AGAIN)), **keys}
    return json.dumps({key: value for key, value in said.items() if value is not None}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"null", b"{" * 2000, b'{"version":1}', b"\xff", b" " * (LARGEST + 1),
        *(changed(**{key: None}) for key in ("tunnel", "session", "secret", "streams", "window", "version")),
        changed(tunnel=""), changed(tunnel="a b"), changed(tunnel="a" * 64), changed(tunnel=7),
        changed(session="0" * 31), changed(session="Z" * 32), changed(secret=""), changed(session=""),
        changed(streams=-1), changed(streams=True), changed(streams=1 << 40),
        changed(window=0), changed(window="1"), changed(version="1"),
        changed(reads=7), changed(reads=[7]), changed(reads=[""]), changed(reads=["a b"]), changed(reads=["a"] * 9),
        changed(reads=["a" * 65]), changed(reads={"zstd": 1}), changed(reads="zstd"),
    ],
)  # fmt: skip
def test_what_is_no_hello(data: bytes) -> None:
    with pytest.raises(Fault) as caught:
        read_hello(data)
    assert caught.value.reason is Reason.MALFORMED


def test_another_version_is_called_so() -> None:
    with pytest.raises(Fault, match="version 2 is spoken, not 1") as caught:
        read_hello(changed(version=2))
    assert caught.value.reason is Reason.VERSION


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
    lambda value: json.dumps(value).encode()
))
def test_anything_else_is_refused(data: bytes) -> None:
    for read in (read_hello, read_purpose):
        with pytest.raises(Fault):
            read(data)


@pytest.mark.parametrize(
    "purpose",
    [
        Purpose(("10.1.0.5", 80)), Purpose(("10.1.0.53", 53), datagrams=True), Purpose(("10.1.0.5", 80), lane="bulk"),
        Purpose(("fd00::7", 5432), ("fd00::1", 1), "shop/books", coding="zstd"),
    ],
)  # fmt: skip
def test_a_purpose_is_read(purpose: Purpose) -> None:
    assert read_purpose(bytes(purpose)) == purpose


def test_a_zone_means_nothing_elsewhere() -> None:
    assert read_purpose(b'{"to":["fe80::7%eth0, 10.0.0.1",80]}') == Purpose(("fe80::7", 80))


@pytest.mark.parametrize(
    "said",
    [
        {}, {"to": "10.1.0.5:80"}, {"to": ["10.1.0.5"]}, {"to": ["", 80]}, {"to": ["::", 0]}, {"to": ["::", 65536]},
        {"to": ["db.shop", 80]}, {"to": ["::\n", 80]}, {"to": ["::", True]}, {"to": [7, 80]}, {"to": [[], 80]},
        {"to": ["::", 80], "from": ["::"]}, {"to": ["::", 80], "from": ["db.shop", 80]},
        {"to": ["::", 80], "identity": 7}, {"to": ["::", 80], "identity": "a\n"},
        {"to": ["::", 80], "datagrams": 1}, {"to": ["::", 80], "coding": ["zstd"]},
        {"to": ["::", 80], "lane": 1}, {"to": ["::", 80], "lane": "b" * 65},
    ],
)  # fmt: skip
def test_what_no_stream_is_for(said: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        read_purpose(json.dumps(said).encode())
