"""What a server has said, told again: with the id and the case of who asks now, and what is left of its time."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.dns import Asked, Bounds, Kept, Malformed, Truncated, asking, read_answer, read_question
from tests.wire import dns_messages as dns

BOUNDS = Bounds()


def asked(data: bytes) -> Asked:
    found = read_question(data)
    assert isinstance(found, Asked)
    return found


QUESTION = asked(dns.query("www.shop", id=1))
WIRE = dns.question("www.shop", dns.A)


def kept(*answers: bytes, bounds: Bounds = BOUNDS, **rest: object) -> Kept:
    return read_answer(dns.message(9, WIRE, answers, **rest), 9, QUESTION.key, bounds)  # type: ignore[arg-type]


def test_what_is_asked_of_a_server() -> None:
    found = dns.heard(asking(9, asked(dns.query("WWW.Shop", size=1232, secure=True, flags=0x0110)).key))
    assert (found.id, found.flags) == (9, 0x0110)
    assert found.asked == WIRE
    assert found.extra == [("", dns.OPT, 0x8000, b"")]


def test_an_answer_told_to_another_client_later() -> None:
    found = kept(dns.alias("www.shop", "a.shop", 300), dns.address("a.shop", "10.0.0.1", 60))
    assert (found.rcode, found.life) == (0, 60)
    heard = dns.heard(found.to(asked(dns.query("wWw.shOp", id=77)), age=20))
    assert (heard.id, heard.asked) == (77, dns.question("wWw.shOp", dns.A))
    assert heard.addresses == ["10.0.0.1"]
    assert [ttl for _, _, ttl, _ in heard.answers] == [280, 40]
    assert heard.flags == 0x8180


def test_pointers_into_the_question_hold() -> None:
    found = kept(dns.record(dns.TO_QUESTION, dns.A, 60, b"\x0a\0\0\1"))
    heard = dns.heard(found.to(asked(dns.query("WWW.SHOP"))))
    assert heard.answers == [("WWW.SHOP", dns.A, 60, b"\x0a\0\0\1")]


def test_edns_is_between_two_hosts() -> None:
    glue = dns.address("ns.shop", "10.0.0.9")
    found = kept(dns.address("www.shop", "10.0.0.1"), extra=[glue, dns.edns(), glue])
    assert [kind for _, kind, _, _ in dns.heard(found.to(QUESTION)).extra] == [dns.A]
    with_edns = dns.heard(found.to(asked(dns.query("www.shop", size=1000))))
    assert [kind for _, kind, _, _ in with_edns.extra] == [dns.A, dns.OPT]


def test_for_how_long_it_is_kept() -> None:
    address = dns.address("www.shop", "10.0.0.1", 60)
    assert kept(address, bounds=Bounds(least=100)).life == 100
    assert kept(address, bounds=Bounds(most=10)).life == 10
    assert dns.heard(kept(address, bounds=Bounds(most=10)).to(QUESTION)).answers[0][2] == 10
    assert kept(dns.address("www.shop", "10.0.0.1", 0)).life == 0
    assert kept(dns.address("www.shop", "10.0.0.1", 1 << 31)).life == 0


def test_for_how_long_it_is_kept_that_there_is_nothing() -> None:
    zone = [dns.zone("shop", 120, ttl=200)]
    gone = dns.RESPONSE | dns.NO_SUCH_NAME
    assert kept(authority=zone).life == kept(authority=zone, flags=gone).life == 120
    assert kept(authority=zone, bounds=Bounds(negative=30)).life == 30
    assert kept().life == kept(flags=gone).life == 0
    assert kept(dns.alias("www.shop", "gone.shop", 50), authority=zone, flags=gone).life == 50


def test_whether_it_is_authentic_is_for_who_asks() -> None:
    found = kept(dns.address("www.shop", "10.0.0.1"), flags=dns.RESPONSE | 0x20)
    assert not dns.heard(found.to(QUESTION)).flags & 0x20
    assert dns.heard(found.to(asked(dns.query("www.shop", flags=0x0120)))).flags & 0x20
    assert dns.heard(found.to(asked(dns.query("www.shop", size=1000, secure=True)))).flags & 0x20


def test_what_says_nothing_of_the_name() -> None:
    assert not kept(flags=dns.RESPONSE | 2).is_answer
    assert not kept(extra=[dns.edns(16)]).is_answer
    assert not kept(authority=[dns.record(dns.name("shop"), 2, 60, dns.name("ns"))], flags=0x8000).is_answer
    assert kept(flags=dns.RESPONSE | dns.NO_SUCH_NAME).is_answer


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (dns.message(8, WIRE), "another id"),
        (dns.message(9, WIRE, flags=0x0100), "no response"),
        (dns.message(9, dns.question("www.shop", dns.AAAA)), "another question"),
        (dns.message(9, dns.question("www.evil", dns.A)), "another question"),
        (dns.message(9, WIRE, questions=0), "another question"),
        (dns.message(9, WIRE)[:20], "cut short"),
        (dns.message(9, WIRE, [dns.address("a", "10.0.0.1")])[:-1], "cut short"),
        (dns.message(9, WIRE) + b"\0", "bytes after"),
        (dns.message(9, WIRE, [dns.edns()]), "EDNS0"),
        (dns.message(9, WIRE, extra=[dns.edns()] * 2), "EDNS0"),
        (dns.message(9, WIRE, [dns.record(b"\xc0\xff", dns.A, 1, b"abcd")]), "pointer"),
        (struct.pack("!6H", 9, dns.RESPONSE, 1, 5000, 0, 0) + WIRE, "more than"),
    ],
)
def test_what_is_not_the_answer(data: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read_answer(data, 9, QUESTION.key, BOUNDS)


def test_more_than_a_datagram() -> None:
    with pytest.raises(Truncated):
        kept(flags=dns.RESPONSE | dns.TRUNCATED)


@given(st.binary(max_size=300), st.integers(0, 4000))
def test_whatever_a_server_sends_is_read_or_refused(rest: bytes, age: int) -> None:
    counts = struct.pack("!3H", *(byte % 3 for byte in rest[:3].ljust(3, b"\1")))
    data = struct.pack("!3H", 9, dns.RESPONSE, 1) + counts + WIRE + rest
    try:
        found = read_answer(data, 9, QUESTION.key, BOUNDS)
    except Malformed:
        return
    heard = dns.heard(found.to(QUESTION, age))
    assert (heard.id, heard.asked) == (1, WIRE)
