"""SkyWalking's sw8: what is read, what is refused, and its round trips."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.trace import Context, Leaving, Segment
from meshproxy.wire.trace.sw8 import LONGEST, Sw8, trace_id_of
from tests.examples import examples
from tests.wire.trace.contexts import continued

TRACE, MINE = b"0af7651916cd43dd8448eb211c80319c", b"00f067aa0ba902b7"
PARTS = ("a4ec6fc8.74.16218381104550009", "a4ec6fc8.74.16218381104550008", "shop", "shop-1@10.0.0.1", "/get", "b:80")


def encoded(text: str | bytes) -> bytes:
    return b64encode(text if isinstance(text, bytes) else text.encode())


def value(sample: str = "1", span: str = "2", parts: tuple[str | bytes, ...] = PARTS) -> bytes:
    trace, segment, *others = map(encoded, parts)
    return b"-".join((sample.encode(), trace, segment, span.encode(), *others))


def read(value: bytes | None) -> Context | None:
    return Sw8("me", "me-1").extract({b"sw8": value}.get)


def test_eight_parts() -> None:
    found = read(value())
    assert found is not None
    assert found.segment == Segment(PARTS[0], PARTS[1], 2, *PARTS[2:])
    assert (found.sampled, found.span_id, found.name) == (True, b"", PARTS[0])
    assert found.trace_id == sha256(PARTS[0].encode()).hexdigest()[:32].encode()
    ignored = read(value("0"))
    assert ignored is not None
    assert ignored.sampled is False


@pytest.mark.parametrize(
    "broken",
    [
        None,
        b"",
        b"1",
        b"-" * 7,
        value("2"),
        value(""),
        value("01"),
        value("true"),
        value(span="-1"),
        value(span=""),
        value(span="2147483648"),
        value(span="99999999999999999999"),
        value(span="0x1"),
        value(span="1.0"),
        value(parts=("", *PARTS[1:])),
        value(parts=(*PARTS[:-1], "")),
        value(parts=PARTS[:-1]),
        value(parts=(*PARTS, "more")),
        value(parts=(b"\xff\xfe", *PARTS[1:])),
        value(parts=(b"\xed\xa0\x80", *PARTS[1:])),
        value(parts=("x" * LONGEST, *PARTS[1:])),
        value()[:-1],
        value() + b"=",
        value() + b"\n",
        value().replace(b"=", b""),
        value() + b", " + value(),
        b"1-a-" + value()[2:],
        value().replace(b"-2-", b"-2 -"),
    ],
)
def test_what_breaks_a_rule_is_none(broken: bytes | None) -> None:
    assert read(broken) is None


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("0af7651916cd43dd8448eb211c80319c", TRACE),
        ("0AF76519-16cd-43dd-8448-eb211c80319c", TRACE),
        ("0" * 32, sha256(b"0" * 32).hexdigest()[:32].encode()),
        ("Zürich", sha256("Zürich".encode()).hexdigest()[:32].encode()),
    ],
)
def test_an_id_of_any_form_has_128_bits_for_others(name: str, known: bytes) -> None:
    assert trace_id_of(name) == known


def test_who_is_asked_hears_who_we_are() -> None:
    mine, leaving = Context(TRACE, MINE, True, random=True), Leaving(b"1" * 16, 3, "GET web", "10.0.0.2:80")
    line = Sw8("shop", "shop-1").inject(mine, leaving)
    assert line.startswith(b"sw8: 1-")
    assert line.endswith(b"\r\n")
    found = read(line[5:-2])
    assert found is not None
    assert found.trace_id == TRACE
    assert found.segment == Segment(
        TRACE.decode(), (TRACE[16:] + MINE).decode(), 3, "shop", "shop-1", "GET web", "10.0.0.2:80"
    )


def test_what_begins_here_and_is_not_recorded() -> None:
    [line] = Sw8("shop", "shop-1").unsampled([TRACE, MINE])
    found = read(line.removeprefix(b"sw8: ").removesuffix(b"\r\n"))
    assert found is not None
    assert (found.sampled, found.trace_id) == (False, TRACE)


@examples(200)
@given(st.one_of(st.binary(max_size=80), st.lists(st.binary(max_size=9).map(b64encode), max_size=9).map(b"-".join)))
def test_any_bytes_have_one_outcome(said: bytes) -> None:
    assert read(said) is None


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@examples(200)
@given(st.tuples(texts, texts, texts, texts, texts, texts), st.integers(0, 2**31 - 1), texts, texts)
def test_what_is_written_is_read_as_the_same(parts: tuple[str, ...], span: int, operation: str, peer: str) -> None:
    found = read(value(span=str(span), parts=parts))
    assert found is not None
    assert found.segment == Segment(parts[0], parts[1], span, *parts[2:])
    line = Sw8("me", "me-1").inject(continued(found, MINE), Leaving(b"1" * 16, 7, operation, peer))
    again = read(line[5:-2])
    assert again is not None
    assert (again.trace_id, again.name, again.sampled) == (found.trace_id, parts[0], True)
    assert again.segment is not None
    assert (again.segment.span, again.segment.service) == (7, "me")
    assert (again.segment.endpoint, again.segment.peer) == (operation, peer)
