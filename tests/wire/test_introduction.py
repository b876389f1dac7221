"""What a meshproxy says of itself in one line, and what of such lines is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.introduction import KEYS, LONGEST, line, read
from tests.examples import examples

BEGIN = b"X-Meshproxy-Peer: "
PRINTABLE = st.text().filter(lambda text: bool(text) and text.isprintable())


def value(said: dict[str, str]) -> bytes:
    return line(said).removeprefix(BEGIN).removesuffix(b"\r\n")


def test_what_is_said_is_read_as_it_was_meant() -> None:
    said = {"service": "books", "namespace": "shop", "version": "v1", "zone": "a"}
    assert line(said) == b"X-Meshproxy-Peer: service=books;namespace=shop;version=v1;zone=a\r\n"
    assert read([value(said)]) == said


@given(st.fixed_dictionaries({"service": PRINTABLE}, optional=dict.fromkeys(KEYS[1:], PRINTABLE)))
@examples(200)
def test_whatever_is_said_can_be_read_or_is_left_out(said: dict[str, str]) -> None:
    written = value(said)
    assert len(written) <= LONGEST
    found = read([written])
    assert found is None if not written else found is not None and found.items() <= said.items()


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ({}, b""),
        ({"service": ""}, b""),
        ({"zone": "a"}, b""),
        ({"service": "a;b=c d\u00e9", "zone": ""}, b"service=a%3Bb%3Dc%20d%C3%A9"),
        ({"service": "a", "version": "v\r\nX: y", "zone": "\ud800"}, b"service=a"),
        ({"service": "s" * 300, "zone": "a"}, b""),
        ({"service": "a", "namespace": "n" * 300, "zone": "b"}, b"service=a;zone=b"),
    ],
)
def test_what_has_no_service_no_shape_or_no_room_is_not_said(said: dict[str, str], written: bytes) -> None:
    assert line(said) == (BEGIN + written + b"\r\n" if written else b"")


def test_what_a_later_version_says_does_not_keep_this_one_from_reading() -> None:
    assert read([b"region=north;service=books"]) == {"service": "books"}


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"service=a", b"service=b"],
        [b"service=a, service=b"],
        [b"service=a;service=b"],
        [b"service=a;"],
        [b"service"],
        [b"service="],
        [b"service=a=b"],
        [b"service=a b"],
        [b'service="a"'],
        [b"service=a; zone=b"],
        [b"Service=a"],
        [b"zone=a"],
        [b"service=%"],
        [b"service=%0"],
        [b"service=%zz"],
        [b"service=%ff"],
        [b"service=%1b%5b2J"],
        [b"service=%e2%80%ae"],
        [b"service=" + b"a" * (LONGEST - 7)],
    ],
)
def test_what_is_no_introduction_says_nothing(values: list[bytes]) -> None:
    assert read(values) is None
