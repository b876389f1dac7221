"""Questions of clients: what is one, what is said to what is none, and answers of our own."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.dns import (
    AAAA,
    NO_SUCH_NAME,
    A,
    Asked,
    Refusal,
    answer,
    fitted,
    nothing,
    read_question,
    records,
    service,
)
from tests.wire import dns_messages as dns

FORMERR, NOTIMP, REFUSED, BADVERS = 1, 4, 5, 16


def asked(data: bytes) -> Asked:
    found = read_question(data)
    assert isinstance(found, Asked)
    return found


def refusal(data: bytes) -> dns.Heard:
    found = read_question(data)
    assert isinstance(found, Refusal)
    return dns.heard(found.answer)


def test_a_question_and_its_answer() -> None:
    found = asked(dns.query("Books.SHOP", id=513))
    assert (found.id, found.name, found.kind, found.size, found.edns) == (513, (b"books", b"shop"), A, 512, False)
    heard = dns.heard(answer(found, answers=records(A, [b"\x0a\0\0\1", b"\x0a\0\0\2"], 30), authoritative=True))
    assert (heard.id, heard.flags) == (513, 0x8580)
    assert heard.asked == dns.question("Books.SHOP", dns.A)
    assert heard.answers == [("Books.SHOP", A, 30, b"\x0a\0\0\1"), ("Books.SHOP", A, 30, b"\x0a\0\0\2")]
    assert not heard.extra


@pytest.mark.parametrize(("told", "used"), [(0, 512), (511, 512), (1000, 1000), (4096, 1232)])
def test_a_client_says_how_much_it_takes(told: int, used: int) -> None:
    assert asked(dns.query("a", size=told)).size == used


def test_who_speaks_edns_is_answered_with_it() -> None:
    found = asked(dns.query("a", size=4096, secure=True))
    assert found.secure
    (opt,) = dns.heard(answer(found, NO_SUCH_NAME, authority=nothing(9))).extra
    assert opt == ("", dns.OPT, 0x8000, b"")


def test_what_says_for_how_long_there_is_nothing() -> None:
    heard = dns.heard(answer(asked(dns.query("a.b")), authority=nothing(9)))
    ((owner, kind, ttl, data),) = heard.authority
    assert (owner, kind, ttl) == ("a.b", dns.SOA, 9)
    assert data == b"\0\0" + struct.pack("!5I", 1, 9, 9, 9, 9)


def test_a_service() -> None:
    assert service(1, 2, 1883, (b"broker", b"shop")) == b"\0\1\0\2\x07\x5b\6broker\4shop\0"


def test_what_is_too_long_is_for_tcp() -> None:
    found = asked(dns.query("a", size=512))
    long = answer(found, answers=records(AAAA, [bytes(16)] * 40, 1))
    assert fitted(long, found, 65535) is long
    heard = dns.heard(fitted(long, found, found.size))
    assert heard.truncated
    assert (heard.answers, heard.asked, len(heard.extra)) == ([], dns.question("a", A), 1)


def test_questions_that_one_answer_serves() -> None:
    plain = asked(dns.query("a.b"))
    assert plain.key == asked(dns.query("A.B", id=9, size=1000)).key
    others = [dns.query("a.b", AAAA), dns.query("a.b", size=1000, secure=True), dns.query("a.b", flags=0x0110)]
    assert len({plain.key, *(asked(each).key for each in others)}) == 4


def test_the_kind_is_not_put_in_small_letters() -> None:
    assert asked(dns.query("a", dns.HTTPS)).key[-5:-1] == b"\0\x41\0\1"


@pytest.mark.parametrize("data", [b"", bytes(11), dns.query("a", flags=0x8100)])
def test_nothing_is_said_to_what_is_no_question(data: bytes) -> None:
    assert read_question(data) is None


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (dns.query("a", flags=0x2000), NOTIMP),
        (dns.query("a", flags=0x2800), NOTIMP),
        (dns.message(7, b"", flags=0, questions=0), FORMERR),
        (dns.message(7, dns.question("a", A) * 2, flags=0, questions=2), FORMERR),
        (dns.message(7, dns.question("a", A), [dns.address("a", "10.0.0.1")], flags=0), FORMERR),
        (dns.query("a") + b"\0", FORMERR),
        (dns.query("a")[:-1], FORMERR),
        (dns.message(7, b"\xc0\x0c\0\1\0\1", flags=0), FORMERR),
        (dns.message(7, b"\x40a\0\0\1\0\1", flags=0), FORMERR),
        (dns.message(7, dns.question("a", A), extra=[dns.edns()] * 2, flags=0), FORMERR),
        (dns.message(7, dns.question("a", A), extra=[dns.name("a") + dns.edns()[1:]], flags=0), FORMERR),
        (dns.message(7, dns.question("a", A), extra=[dns.address("a", "10.0.0.1")] * 5, flags=0), FORMERR),
        (dns.query("a", dns.OPT), FORMERR),
        (dns.query("a", 0), FORMERR),
        (dns.query("a", dns.AXFR), REFUSED),
        (dns.query("a", 251), REFUSED),
        (dns.message(7, dns.question("version.bind", dns.TXT, 3), flags=0), REFUSED),
        (dns.message(7, dns.question("a", A), extra=[dns.record(b"\0", dns.OPT, 1 << 16, b"")], flags=0), BADVERS),
    ],
)  # fmt: skip
def test_what_is_refused_and_how(data: bytes, rcode: int) -> None:
    heard = refusal(data)
    assert (heard.id, heard.rcode) == (7, rcode)
    assert heard.flags & 0x8000
    found = read_question(data)
    assert isinstance(found, Refusal)
    assert len(found.answer) <= len(data)


def test_of_everything_the_least_is_told() -> None:
    heard = refusal(dns.query("a.b", dns.ANY))
    assert heard.answers == [("a.b", dns.HINFO, 3600, b"\7RFC8482\0")]


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: dns.query("a.b", size=1232)[:-9] + rest))
def test_no_datagram_raises_and_nothing_is_amplified(data: bytes) -> None:
    found = read_question(data)
    if isinstance(found, Refusal):
        heard = dns.heard(found.answer)
        assert heard.id == int.from_bytes(data[:2])
        assert len(found.answer) <= len(data) + 40
    elif found is not None:
        assert dns.heard(answer(found)).asked == data[12 : 12 + len(found.question)]
