"""PROXY headers: what is read is what was written, in whatever pieces it arrives, and nothing else is taken for one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.proxy_protocol import MAX_HEADER, V2_SIGNATURE, Header, Malformed, encode_v1, encode_v2, parse

V4 = ("10.0.0.1", 4711), ("192.168.7.9", 80)
V6 = ("2001:db8::1", 65535), ("::1", 0)

GOOD = [
    (b"PROXY TCP4 10.0.0.1 192.168.7.9 4711 80\r\n", Header(*V4, 41)),
    (b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", Header(*V6, 36)),
    (b"PROXY UNKNOWN\r\n", Header(None, None, 15)),
    (b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", Header(None, None, 36)),
    (encode_v2(*V4), Header(*V4, 28)),
    (encode_v2(*V6), Header(*V6, 52)),
    (encode_v2(None, None), Header(None, None, 16)),
    (V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x31, 216) + bytes(216), Header(None, None, 232)),
    (
        V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 15) + encode_v2(*V4)[16:] + b"\x04\x00\x00",
        Header(*V4, 31),
    ),
]

BAD = [
    b"GET / HTTP/1.1\r\n",
    b"proxy TCP4 10.0.0.1 192.168.7.9 4711 80\r\n",
    b"PROXY TCP4 10.0.0.1 192.168.7.9 4711\r\n",
    b"PROXY TCP4 10.0.0.1  192.168.7.9 4711 80\r\n",
    b"PROXY TCP4 10.0.0.1 192.168.7.9 4711 080\r\n",
    b"PROXY TCP4 10.0.0.1 192.168.7.9 4711 65536\r\n",
    b"PROXY TCP4 10.0.0.1 192.168.7.9 -1 80\r\n",
    b"PROXY TCP4 10.0.0.01 192.168.7.9 1 80\r\n",
    b"PROXY TCP4 ::1 ::1 1 80\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 80\r\n",
    b"PROXY TCP6 ::1 fe80::1%eth0 1 80\r\n",
    b"PROXY TCP6 fe80::1%x\nEVIL ::1 1 2\r\n",
    b"PROXY TCP6 fe80::1\t ::1 1 80\r\n",
    b"PROXY TCP5 10.0.0.1 192.168.7.9 1 80\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4 " + b"1" * 100,
    V2_SIGNATURE + struct.pack("!BBH", 0x31, 0x11, 12) + bytes(12),
    V2_SIGNATURE + struct.pack("!BBH", 0x22, 0x11, 12) + bytes(12),
    V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 11) + bytes(11),
    V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 65535),
]


@pytest.mark.parametrize(("data", "header"), GOOD)
def test_good_headers_whole_and_byte_by_byte(data: bytes, header: Header) -> None:
    assert parse(data + b"GET /") == header
    assert [parse(data[:cut]) for cut in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize("data", BAD)
def test_bad_headers(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse(data)


ADDRESSES = st.one_of(
    st.tuples(st.ip_addresses(v=4).map(str), st.integers(0, 65535)),
    st.tuples(st.ip_addresses(v=6).map(str), st.integers(0, 65535)),
)


@given(ADDRESSES, ADDRESSES)
def test_what_is_written_is_read(source: tuple[str, int], destination: tuple[str, int]) -> None:
    same = (":" in source[0]) == (":" in destination[0])
    for encode in (encode_v1, encode_v2):
        data = encode(source, destination)
        expected = Header(source, destination, len(data)) if same else Header(None, None, len(data))
        assert parse(data) == expected


@pytest.mark.parametrize("scope", ["%eth0", "%x\nEVIL", "%\r\n\x00"])
def test_a_scope_is_never_written(scope: str) -> None:
    scoped, bare = ("fe80::1" + scope, 1), ("fe80::1", 1)
    for encode in (encode_v1, encode_v2):
        assert encode(scoped, V6[1]) == encode(bare, V6[1])
        assert encode(V6[0], scoped) == encode(V6[0], bare)


BEGINNINGS = st.sampled_from(
    [b"", b"PROXY ", b"PROXY TCP4 ", b"PROXY TCP6 ::1%", V2_SIGNATURE, V2_SIGNATURE + b"\x21\x11"]
)


@given(st.builds(bytes.__add__, BEGINNINGS, st.binary(max_size=300)))
def test_anything_else_is_refused_or_waited_for_within_bounds(data: bytes) -> None:
    try:
        header = parse(data)
    except Malformed:
        return
    if header is None:
        assert len(data) < MAX_HEADER
    else:
        assert header.length <= len(data)
        assert encode_v1(header.source, header.destination)[:-2].decode().isprintable()


def test_a_header_that_never_ends_is_refused_in_time() -> None:
    with pytest.raises(Malformed):
        parse(b"PROXY UNKNOWN " + b"x" * 200)
    assert parse(V2_SIGNATURE + struct.pack("!BBH", 0x21, 0x11, 2048)) is None
