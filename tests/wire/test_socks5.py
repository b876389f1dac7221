"""SOCKS5 as who asks speaks it, against what the RFCs say byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.asking import Refused, Why
from meshproxy.wire.socks5 import LONGEST_REPLY, Credentials, Malformed, Socks5, address, read_address
from tests.examples import examples

TO = ("10.1.0.5", 80)
REQUEST = b"\x05\x01\x00\x01\x0a\x01\x00\x05\x00\x50"
DONE = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90"
NO_PASSWORD, PASSWORD = b"\x05\x00", b"\x05\x02"
EDGE = Credentials("edge", "secret")
TOLD = b"\x01\x04edge\x06secret"


def test_who_has_no_password_asks_at_once_and_keeps_what_comes_behind() -> None:
    asking = Socks5(TO)
    assert asking.opening() == b"\x05\x01\x00"
    assert asking.feed(NO_PASSWORD) == REQUEST
    assert asking.rest is None
    assert asking.feed(DONE + b"220 hello") == b""
    assert asking.rest == b"220 hello"


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_password_is_told_only_where_it_is_wanted(size: int) -> None:
    for script, said in (
        (PASSWORD + b"\x01\x00" + DONE, TOLD + REQUEST),
        (NO_PASSWORD + DONE, REQUEST),
    ):
        asking = Socks5(TO, EDGE)
        assert asking.opening() == b"\x05\x02\x00\x02"
        assert b"".join(asking.feed(script[at : at + size]) for at in range(0, len(script), size)) == said
        assert asking.rest == b""


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("10.1.0.5", b"\x01\x0a\x01\x00\x05"),
        ("2001:db8::5", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x05"),
        ("fe80::1%eth0", b"\x04\xfe\x80" + bytes(13) + b"\x01"),
        ("books.shop", b"\x03\x0abooks.shop"),
    ],
)
def test_how_destinations_are_written_and_read(host: str, written: bytes) -> None:
    raw = address(host, 8443)
    assert raw == written + b"\x20\xfb"
    assert read_address(b"xx" + raw + b"more", 2) == ((host.partition("%")[0], 8443), 2 + len(raw))
    assert all(read_address(raw[:size], 0) is None for size in range(len(raw)))


@pytest.mark.parametrize(("host", "port"), [("", 80), ("x" * 256, 80), ("büch.er", 80), ("a", 65536), ("a", -1)])
def test_what_cannot_be_said(host: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        address(host, port)


@pytest.mark.parametrize(("user", "password"), [("", "x"), ("x", ""), ("x" * 256, "x"), ("x", "x" * 256)])
def test_credentials_that_cannot_be_said_do_not_show_themselves(user: str, password: str) -> None:
    with pytest.raises(ValueError, match="1 to 255 bytes") as refused:
        Socks5(TO, Credentials(user, password))
    assert "xx" not in str(refused.value)
    assert "secret" not in repr(EDGE)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (b"\x05\xff", Why.UNKNOWN),
        (b"\x05\x01", Why.MALFORMED),
        (b"\x04", Why.MALFORMED),
        (b"HTTP/1.1 400 Bad Request\r\n", Why.MALFORMED),
        (PASSWORD + b"\x01\x01", Why.UNKNOWN),
        (PASSWORD + b"\x05\x00", Why.MALFORMED),
        (NO_PASSWORD + b"\x05\x01", Why.REFUSED),
        (NO_PASSWORD + b"\x05\x02", Why.FORBIDDEN),
        (NO_PASSWORD + b"\x05\x03", Why.NO_NETWORK),
        (NO_PASSWORD + b"\x05\x04", Why.UNREACHABLE),
        (NO_PASSWORD + b"\x05\x05\x00\x01", Why.REFUSED),
        (NO_PASSWORD + b"\x05\x06", Why.EXPIRED),
        (NO_PASSWORD + b"\x05\x07", Why.UNSUPPORTED),
        (NO_PASSWORD + b"\x05\x08", Why.UNSUPPORTED),
        (NO_PASSWORD + b"\x05\x63", Why.REFUSED),
        (NO_PASSWORD + b"\x05\x00\x01", Why.MALFORMED),
        (NO_PASSWORD + b"\x05\x00\x00\x02\x00", Why.MALFORMED),
        (NO_PASSWORD + b"\x05\x00\x00\x03\x00", Why.MALFORMED),
        (NO_PASSWORD + b"\x05\x00\x00\x03\x01\n\x00\x50", Why.MALFORMED),
        (NO_PASSWORD + b"\x01", Why.MALFORMED),
    ],
)
def test_what_is_refused_as_soon_as_it_shows(script: bytes, why: Why) -> None:
    asking = Socks5(TO, EDGE)
    with pytest.raises(Refused) as refused:
        for byte in script:
            asking.feed(bytes((byte,)))
    assert refused.value.why is why
    assert "secret" not in str(refused.value)


def test_a_password_is_not_told_where_there_is_none() -> None:
    with pytest.raises(Refused, match="another way to know"):
        Socks5(TO).feed(PASSWORD)


@examples(300)
@given(st.binary(max_size=600), st.integers(1, 40))
def test_any_bytes_have_one_outcome_in_whatever_pieces(data: bytes, size: int) -> None:
    def outcome(pieces: list[bytes]) -> object:
        asking, said = Socks5(TO, EDGE), b""
        behind = b""
        try:
            for piece in pieces:
                if asking.rest is None:
                    said += asking.feed(piece)
                else:
                    behind += piece
        except Refused as refused:
            return refused.why
        return said, None if asking.rest is None else asking.rest + behind

    for script in (data, NO_PASSWORD + b"\x05\x00\x00" + data):
        whole = outcome([script])
        assert outcome([script[at : at + size] for at in range(0, len(script), size)]) == whole
        if len(script) >= 2 + 2 + LONGEST_REPLY + 2 and isinstance(whole, tuple):
            assert whole[1] is not None, "no answer is so long that it could be awaited still"


@examples(200)
@given(st.binary(max_size=300))
def test_what_is_read_as_an_address_is_written_as_the_same(data: bytes) -> None:
    try:
        found = read_address(data, 0)
    except Malformed:
        return
    if found is not None:
        (host, port), end = found
        assert read_address(address(host, port), 0) == ((host, port), len(address(host, port)))
        assert end <= len(data)
