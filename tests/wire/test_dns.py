"""DNS: what is asked is what the RFCs say, and only the answer to that is believed, however it is written."""

from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.wire.dns import (
    AAAA,
    MOST_ALIASES,
    MOST_LABELS,
    MOST_POINTERS,
    MOST_RECORDS,
    A,
    Found,
    Malformed,
    Query,
    Reply,
    encode,
    fits,
    found,
    name,
    parse,
)
from tests.wire import dns_messages as dns

ID = 0x1267
QUERY = Query(ID, name("www.shop.local"), A)
ASKED = dns.question("www.shop.local", A)


def read(*answers: bytes, query: Query = QUERY, **rest: object) -> Found:
    asked = dns.question(".".join(label.decode() for label in query.name), query.kind)
    return found(query, parse(dns.message(query.id, asked, answers, **rest), query))  # type: ignore[arg-type]


def refusal(data: bytes, query: Query = QUERY) -> str:
    with pytest.raises(Malformed) as refused:
        found(query, parse(data, query))
    return str(refused.value)


# What is asked


def test_a_query_byte_by_byte() -> None:
    assert encode(Query(0x1267, name("Www.shop.local."), AAAA)) == (
        b"\x12\x67" b"\x01\x00" b"\x00\x01" b"\x00\x00" b"\x00\x00" b"\x00\x01"
        b"\x03www\x04shop\x05local\x00" b"\x00\x1c" b"\x00\x01"
        b"\x00" b"\x00\x29" b"\x04\xd0" b"\x00\x00\x00\x00" b"\x00\x00"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("localhost", (b"localhost",)),
        ("Books.Shop.SVC.cluster.local.", (b"books", b"shop", b"svc", b"cluster", b"local")),
        ("_http._tcp.a-b--c.1x", (b"_http", b"_tcp", b"a-b--c", b"1x")),
        ("1.0.0.127.in-addr.arpa", (b"1", b"0", b"0", b"127", b"in-addr", b"arpa")),
        ("a" * 63 + ".x", (b"a" * 63, b"x")),
        (".".join(["a"] * 127), (b"a",) * 127),
    ],
)
def test_host_names(text: str, labels: tuple[bytes, ...]) -> None:
    assert name(text) == labels
    assert fits(labels)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "what stands between dots has 1 to 63 characters"),
        (".", "what stands between dots has 1 to 63 characters"),
        ("a..b", "what stands between dots has 1 to 63 characters"),
        (".a", "what stands between dots has 1 to 63 characters"),
        ("a..", "what stands between dots has 1 to 63 characters"),
        ("a" * 64, "what stands between dots has 1 to 63 characters"),
        (".".join(["aaaa"] * 51), "longer than 253 characters"),
        ("a" * 100_000, "longer than 253 characters"),
        ("-a", "letters, digits"),
        ("a-.b", "letters, digits"),
        ("a b", "letters, digits"),
        ("a\n", "letters, digits"),
        ("a:80", "letters, digits"),
        ("*.a", "letters, digits"),
        ("a\x00b", "letters, digits"),
        ("bücher.example", "in its xn-- form"),
        ("b\u212aooks", "in its xn-- form"),
        ("127.0.0.1", "ends in a number"),
        ("a.123.", "ends in a number"),
    ],
)
def test_what_is_no_host_name(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        name(text)
    assert len(str(refused.value)) < 300


# What comes back


def test_an_answer_byte_by_byte() -> None:
    """As a name server writes it: in the case that it likes, and compressed."""
    data = (
        b"\x12\x67\x81\x80\x00\x01\x00\x03\x00\x00\x00\x01"
        b"\x03wWw\x04shop\x05local\x00\x00\x01\x00\x01"
        b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x08\x05Front\xc0\x10"
        b"\xc0\x2c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x00\x00\x02"
        b"\xc0\x2c\x00\x01\x00\x01\x00\x00\x00\x1d\x00\x04\x0a\x00\x00\x01"
        b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"
    )
    assert found(QUERY, parse(data, QUERY)) == Found(("10.0.0.2", "10.0.0.1"), 29)
    for cut in range(len(data)):
        assert refusal(data[:cut]) in ("cut short", "another question")
    assert refusal(data + b"\0") == "bytes after the last record"


def test_ipv6() -> None:
    query = Query(ID, name("www.shop.local"), AAAA)
    assert read(dns.address("www.shop.local", "2001:DB8::1", 7), query=query) == Found(("2001:db8::1",), 7)


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_aliases_are_followed_in_whatever_order_they_stand_and_the_shortest_ttl_counts(order: tuple[int, ...]) -> None:
    records = [
        dns.alias("www.shop.local", "FRONT.shop.local", 50),
        dns.alias("front.SHOP.local", "a.cdn.example", 20),
        dns.address("a.cdn.example", "10.0.0.1", 90),
        dns.address("elsewhere.example", "10.9.9.9", 1),
    ]
    assert read(*(records[index] for index in order)) == Found(("10.0.0.1",), 20)


def test_aliases_in_a_row_have_an_end() -> None:
    def chain(links: int) -> list[bytes]:
        hops = ["www.shop.local", *(f"a{number}.example" for number in range(links))]
        return [*map(dns.alias, hops, hops[1:]), dns.address(hops[-1], "10.0.0.1")]

    assert read(*chain(MOST_ALIASES)) == Found(("10.0.0.1",), 60)
    assert refusal(dns.message(ID, ASKED, chain(MOST_ALIASES + 1))) == "more than 16 aliases in a row"


@pytest.mark.parametrize("ring", [["www.shop.local"], ["www.shop.local", "a.example", "b.example"]])
def test_aliases_that_go_round_are_refused(ring: list[str]) -> None:
    records = list(map(dns.alias, ring, [*ring[1:], ring[0]]))
    assert refusal(dns.message(ID, ASKED, records)) == "more than 16 aliases in a row"


def test_a_name_has_one_alias() -> None:
    one, other = dns.alias("www.shop.local", "a.example"), dns.alias("www.shop.local", "b.example")
    assert refusal(dns.message(ID, ASKED, [one, other])) == "two aliases of one name"
    assert read(one, one, dns.address("a.example", "10.0.0.1")).addresses == ("10.0.0.1",)


def test_what_nobody_asked_for_is_stepped_over() -> None:
    text = dns.record(dns.TO_QUESTION, dns.TXT, 1, b"\x03abc")
    chaos = dns.record(dns.TO_QUESTION, A, 1, b"odd", family=3)
    signature = dns.record(b"\0", 46, 1, b"\xff" * 300)
    other_kind = dns.address("www.shop.local", "::1", 1)
    here = dns.address("www.shop.local", "10.0.0.1")
    assert read(text, chaos, here, other_kind, signature, authority=[text], extra=[here, dns.edns()]) == Found(
        ("10.0.0.1",), 60
    )


def test_the_same_address_twice_is_one() -> None:
    one = dns.address("www.shop.local", "10.0.0.1", 5), dns.address("www.shop.local", "10.0.0.1", 3)
    assert read(*one) == Found(("10.0.0.1",), 3)


def test_a_ttl_that_would_be_negative_is_none() -> None:
    assert read(dns.address("www.shop.local", "10.0.0.1", 1 << 31)) == Found(("10.0.0.1",), 0)
    assert read(dns.address("www.shop.local", "10.0.0.1", (1 << 31) - 1)).ttl == (1 << 31) - 1
    assert read(authority=[dns.zone("shop.local", 1 << 31)]) == Found((), 0)


@pytest.mark.parametrize(
    ("minimum", "ttl", "certain"),
    [(30, 3600, 30), (3600, 30, 30), (0, 30, 0)],
)
def test_for_how_long_something_is_absent(minimum: int, ttl: int, certain: int) -> None:
    authority = [dns.zone("shop.local", minimum, ttl)]
    assert read(authority=authority) == Found((), certain)
    missing = dns.RESPONSE | dns.NO_SUCH_NAME
    assert read(authority=authority, flags=missing) == Found((), certain, exists=False)


def test_nobody_says_for_how_long_something_is_absent() -> None:
    assert read() == Found((), 0)
    assert read(flags=dns.RESPONSE | dns.NO_SUCH_NAME) == Found((), 0, exists=False)


def test_an_alias_of_what_has_no_address() -> None:
    link = dns.alias("www.shop.local", "front.shop.local", 12)
    assert read(link) == Found((), 0)
    assert read(link, authority=[dns.zone("shop.local", 30)]) == Found((), 12)
    missing = dns.RESPONSE | dns.NO_SUCH_NAME
    assert read(link, authority=[dns.zone("shop.local", 30)], flags=missing) == Found((), 30, exists=False)


def test_where_there_is_no_such_name_an_address_of_it_is_not_believed() -> None:
    here = dns.address("www.shop.local", "10.0.0.1")
    assert read(here, flags=dns.RESPONSE | dns.NO_SUCH_NAME) == Found((), 0, exists=False)


@pytest.mark.parametrize(("low", "extra", "rcode"), [(2, [], 2), (2, [dns.edns()], 2), (0, [dns.edns(16)], 16)])
def test_the_rcode_is_in_two_places(low: int, extra: list[bytes], rcode: int) -> None:
    assert parse(dns.message(ID, ASKED, extra=extra, flags=dns.RESPONSE | low), QUERY).rcode == rcode


def test_of_a_truncated_answer_only_the_beginning_counts() -> None:
    whole = dns.message(ID, ASKED, [dns.address("www.shop.local", "10.0.0.1")], flags=dns.RESPONSE | dns.TRUNCATED)
    for end in (len(whole), len(whole) - 3, dns.QUESTION_AT + len(ASKED)):
        assert parse(whole[:end], QUERY) == Reply(0, truncated=True)
    assert refusal(whole[: dns.QUESTION_AT + len(ASKED) - 1]) == "cut short"


def test_a_referral_says_nothing_of_the_name() -> None:
    bare, authoritative = 0x8000, 0x8400
    assert parse(dns.message(ID, ASKED, flags=bare), QUERY).is_referral
    assert not parse(dns.message(ID, ASKED, flags=authoritative), QUERY).is_referral
    assert not parse(dns.message(ID, ASKED), QUERY).is_referral
    assert not parse(dns.message(ID, ASKED, flags=bare | dns.NO_SUCH_NAME), QUERY).is_referral
    assert not parse(dns.message(ID, ASKED, authority=[dns.zone("local", 1)], flags=bare), QUERY).is_referral
    here = dns.address("www.shop.local", "10.0.0.1")
    assert not parse(dns.message(ID, ASKED, [here], flags=bare), QUERY).is_referral


# What is refused

HERE = dns.address("www.shop.local", "10.0.0.1")


def pointing(*owners: bytes) -> bytes:
    """An answer for each owner, which begins with a pointer."""
    return dns.message(ID, ASKED, [dns.record(owner, A, 1, bytes(4)) for owner in owners])


FIRST = dns.QUESTION_AT + len(ASKED)
"""Where the first answer stands."""

REFUSED = [
    (b"", "cut short"),
    (bytes(11), "cut short"),
    (dns.message(ID + 1, ASKED, [HERE]), "another id"),
    (dns.message(ID, ASKED, [HERE], flags=0x0100), "no response to a query"),
    (dns.message(ID, ASKED, [HERE], flags=0xA180), "no response to a query"),
    (dns.message(ID, b"", [HERE], questions=0), "another question"),
    (dns.message(ID, b"", flags=0x8181, questions=0), "another question"),
    (dns.message(ID, ASKED * 2, [HERE], questions=2), "another question"),
    (dns.message(ID, dns.question("ww.shop.local", A), [HERE]), "another question"),
    (dns.message(ID, dns.question("www.shop", A), [HERE]), "another question"),
    (dns.message(ID, dns.question("www.shop.local", AAAA), [HERE]), "another question"),
    (dns.message(ID, dns.question("www.shop.local", A, 3), [HERE]), "another question"),
    (dns.message(ID, ASKED, [dns.record(dns.TO_QUESTION, A, 1, bytes(5))]), "an IPv4 address of 5 bytes"),
    (dns.message(ID, ASKED, [dns.record(dns.TO_QUESTION, AAAA, 1, bytes(4))]), "an IPv6 address of 4 bytes"),
    (dns.message(ID, ASKED, [dns.record(dns.TO_QUESTION, dns.CNAME, 1, dns.TO_QUESTION + b"\0")]), "not as long as"),
    (dns.message(ID, ASKED, [dns.record(dns.TO_QUESTION, dns.CNAME, 1, b""), HERE]), "not as long as"),
    (dns.message(ID, ASKED, [], [dns.record(dns.TO_QUESTION, dns.SOA, 1, b"\0\0" + bytes(16)), HERE]), "not as long"),
    (dns.message(ID, ASKED, [], [], [dns.edns(), dns.edns()]), "two records of EDNS0"),
    (struct.pack("!6H", ID, 0x8180, 1, MOST_RECORDS, 1, 0) + ASKED, "more than 4096 records"),
    (struct.pack("!6H", ID, 0x8180, 1, 65535, 65535, 65535) + ASKED, "more than 4096 records"),
    (pointing(b"\x40" + b"a" * 64 + b"\0"), "a label of an unknown kind"),
    (pointing(b"\x80\0"), "a label of an unknown kind"),
    (pointing(b"\xc0\x00"), "a pointer that does not lead back"),
    (pointing(b"\xc0\x0b"), "a pointer that does not lead back"),
    (pointing(bytes((0xC0, FIRST))), "a pointer that does not lead back"),
    (pointing(bytes((0xC0, FIRST + 2))), "a pointer that does not lead back"),
    (pointing(b"\xff\xff"), "a pointer that does not lead back"),
    (pointing(bytes((1, 0x61, 0xC0, FIRST))), "a pointer that does not lead back"),
    (dns.message(ID, b"\xc0\x0c\0\1\0\1", [HERE]), "a pointer that does not lead back"),
]


@pytest.mark.parametrize(("data", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_is_not_the_answer(data: bytes, why: str) -> None:
    assert why in refusal(data)


def test_a_name_of_many_pointers() -> None:
    def steps(pointers: int) -> bytes:
        """Each answer's name is a pointer to the one before."""
        at, owners = dns.QUESTION_AT, []
        for number in range(pointers):
            owners.append(struct.pack("!H", 0xC000 | at))
            at = FIRST + number * len(dns.record(b"..", A, 1, bytes(4)))
        return pointing(*owners)

    assert found(QUERY, parse(steps(MOST_POINTERS), QUERY)).addresses == ("0.0.0.0",)
    assert refusal(steps(MOST_POINTERS + 1)) == "a name of more than 16 pointers"


def test_a_name_that_grows_by_pointers() -> None:
    tail = b"\x3f" + b"a" * 63
    text = dns.record(b"\0", dns.TXT, 1, tail * 3 + b"\0")
    at = FIRST + len(text) - len(tail * 3) - 1

    def beginning(label: bytes) -> bytes:
        owner = bytes((len(label),)) + label + struct.pack("!H", 0xC000 | at)
        return dns.message(ID, ASKED, [text, dns.record(owner, A, 1, bytes(4))])

    parse(beginning(b"b" * 61), QUERY)
    assert refusal(beginning(b"b" * 62)) == "a name of more than 255 bytes"


def test_many_names_of_many_labels() -> None:
    labels = 126
    text = dns.record(b"\0", dns.TXT, 1, b"\1a" * labels + b"\0")
    pointer = struct.pack("!H", 0xC000 | FIRST + len(text) - labels * 2 - 1)

    def times(count: int) -> bytes:
        return dns.message(ID, ASKED, [text, *[dns.record(pointer, A, 1, bytes(4))] * count])

    parse(times(MOST_LABELS // labels), QUERY)
    assert refusal(times(MOST_LABELS // labels + 1)) == "more than 65536 labels"


GOOD = [
    dns.message(ID, ASKED, [dns.alias("www.shop.local", "a.example"), dns.address("a.example", "10.0.0.1")]),
    dns.message(ID, ASKED, [dns.record(dns.TO_QUESTION, A, 9, bytes(4))] * 3, extra=[dns.edns()]),
    dns.message(ID, ASKED, (), [dns.zone("local", 5)], flags=dns.RESPONSE | dns.NO_SUCH_NAME),
]


def believed_or_refused(data: bytes) -> None:
    try:
        answer = found(QUERY, parse(data, QUERY))
    except Malformed:
        return
    assert 0 <= answer.ttl < 1 << 31
    assert len(answer.addresses) * 16 <= len(data)


@given(st.sampled_from(GOOD), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_a_message_with_other_bytes_in_it_is_believed_or_refused(good: bytes, changes: list[tuple[int, int]]) -> None:
    data = bytearray(good)
    for at, byte in changes:
        data[at % len(data)] = byte
    believed_or_refused(bytes(data))


@given(st.binary(max_size=600), *[st.integers(0, 6)] * 3)
def test_anything_after_the_question_is_believed_or_refused(tail: bytes, an: int, ns: int, ar: int) -> None:
    believed_or_refused(struct.pack("!6H", ID, 0x8180, 1, an, ns, ar) + ASKED + tail)


@given(st.binary(max_size=300))
def test_anything_at_all_is_refused(data: bytes) -> None:
    if data[:2] != ID.to_bytes(2):
        refusal(data)


LABELS = st.from_regex(r"[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,20}[a-zA-Z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=8).map(lambda labels: ".".join([*labels, "example"]))


@given(NAMES, st.integers(0, 65535), st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 9999)), min_size=1))
def test_what_a_server_says_is_what_is_found(host: str, id: int, have: list[tuple[object, int]]) -> None:
    query = Query(id, name(host), A)
    asked = encode(query)
    echoed = asked[dns.QUESTION_AT : asked.index(b"\0\x00\x29", dns.QUESTION_AT)]
    reply = dns.message(id, echoed, [dns.address(host.upper(), str(ip), ttl) for ip, ttl in have])
    answer = found(query, parse(reply, query))
    assert set(answer.addresses) == {str(ip) for ip, _ in have}
    assert answer.ttl == min(ttl for _, ttl in have)
