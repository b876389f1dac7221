"""What a head of HTTP/2 writes is one message of HTTP/1.1, and says the same, whoever reads it: h11, or we.

Messages are made of the pieces that have fooled gateways, put together at random.  A longer run:

    H2_EXAMPLES=100000 pytest tests/wire/h2/test_text.py
"""

from __future__ import annotations

import os

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshproxy.wire.h1 import CHUNKED, Malformed, RequestCodec, RequestHead, ResponseCodec, Strictness
from meshproxy.wire.h1.grammar import OWS
from meshproxy.wire.h2.encode import request_block, response_block
from meshproxy.wire.h2.response import Responses
from meshproxy.wire.hpack import Decoder
from tests.wire.h2.messages import GET, Pair, block, requests

EXAMPLES = int(os.environ.get("H2_EXAMPLES", "400"))
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)

PIECES = st.sampled_from(
    [
        b"GET", b"POST", b"CONNECT", b"http", b"https", b"/", b"/x", b"a", b"a.example", b":443", b"@", b" ", b"\r\n",
        b"\n", b"\r", b"\0", b"\t", b":", b": ", b"host", b"Host: b", b"content-length", b"0", b"5", b"chunked",
        b"transfer-encoding", b"HTTP/1.1", b"?", b"#", b"%", b"%41", b"\\", b"*", b"\x80", b"\xff", b"\x0b", b"\x7f",
        b"trailers", b"100-continue", b"websocket", b"A", b"_", b"-", b",", b";", b"=", b"[::1]", b"\x85", b"\xa0",
    ]
)
TEXT = st.lists(PIECES, max_size=4).map(b"".join) | st.binary(max_size=6)
PLAIN = st.sampled_from([b"a", b"b c", b"1", b"x=y"])
NAMES = st.sampled_from(
    [
        b"host", b"cookie", b"content-length", b"te", b"expect", b"accept", b"x-a", b"proxy", b"authorization",
        b"transfer-encoding", b"connection", b"upgrade", b"trailer", b"sec-websocket-key",
    ]
)
USUAL = st.tuples(st.sampled_from([b"x-a", b"accept", b"cookie", b"x-b"]), PLAIN)
ANY = st.tuples(NAMES | TEXT, PLAIN | TEXT)
AGREES = st.sampled_from(
    [
        (b"host", b"a.example"), (b"content-length", b"0"), (b"content-length", b"012"), (b"te", b"trailers"),
        (b"expect", b"100-continue"), (b"cookie", b""), (b"cookie", b"a=b"),
    ]
)
FIELDS = st.lists(USUAL | USUAL | AGREES | ANY, max_size=6)
PSEUDO = st.one_of(
    st.just(GET),
    st.permutations([*GET, (b":protocol", b"websocket")]).map(
        lambda fields: [(name, b"CONNECT" if name == b":method" else value) for name, value in fields]
    ),
    st.tuples(TEXT | PLAIN, TEXT, TEXT, TEXT).map(
        lambda values: [(name, value) for (name, _), value in zip(GET, values, strict=True)]
    ),
    st.tuples(st.sampled_from([0, 1, 2, 3]), TEXT).map(
        lambda change: [(name, change[1] if at == change[0] else value) for at, (name, value) in enumerate(GET)]
    ),
    st.lists(st.sampled_from(GET), max_size=5),
)


def expected_fields(head: RequestHead, said: list[Pair]) -> list[Pair]:
    """Names in lower case, in the order in which they go on."""
    fields: list[Pair] = [(b"host", dict(said).get(b":authority") or dict(said)[b"host"])]
    cookie = b"; ".join([value for name, value in said if name == b"cookie" and value])
    seen = False
    for name, value in said:
        if name[:1] == b":" or name in (b"host", b"proxy") or (name == b"cookie" and seen):
            continue
        if name == b"sec-websocket-key" and head.upgrade:
            continue
        seen = seen or name == b"cookie"
        if name == b"content-length":
            value = b"%d" % int(value)
        fields.append((name, cookie if name == b"cookie" else value))
    if head.upgrade:
        fields.append((b"sec-websocket-key", b"MDEyMzQ1Njc4OWFiY2RlZg=="))
        fields += [(b"connection", b"Upgrade"), (b"upgrade", head.upgrade)]
    if head.body == CHUNKED:
        fields.append((b"transfer-encoding", b"chunked"))
    return fields


@fuzz
@given(PSEUDO, FIELDS, st.booleans(), st.booleans())
def test_requests(pseudo: list[Pair], fields: list[Pair], last: bool, raw: bool) -> None:
    strictness = Strictness(raw_target=raw)
    said = [*pseudo, *fields]
    try:
        head = requests(strictness=strictness).head(block(*said), last)
    except Malformed:
        return
    text = head.forward()
    assert text.count(b"\r\n\r\n") == 1
    expected = expected_fields(head, said)

    ours = RequestCodec(strictness=strictness).parse(text)
    assert (ours.method, ours.target, ours.body) == (head.method, head.target, head.body)
    assert (ours.authority, ours.upgrade) == (head.authority, head.upgrade)
    assert ours.expect_continue == head.expect_continue
    assert [(name.lower(), value) for name, value in ours.fields] == expected

    if not head.target.isascii():
        return  # a raw target, which h11 knows nothing of
    reference = h11.Connection(h11.SERVER)
    reference.receive_data(text)
    event = reference.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target) == (head.method, head.target)
    assert sorted(event.headers) == sorted((name, value) for name, value in expected)
    after = reference.next_event()
    if head.body > 0 or head.body == CHUNKED or head.method == b"CONNECT" or head.upgrade:
        assert after in (h11.NEED_DATA, h11.PAUSED) or isinstance(after, h11.EndOfMessage)
    else:
        assert isinstance(after, h11.EndOfMessage)
    assert reference.trailing_data[0] == b""


@fuzz
@given(PSEUDO, FIELDS, st.booleans())
def test_requests_go_there_and_back(pseudo: list[Pair], fields: list[Pair], last: bool) -> None:
    """What is written for HTTP/2 of such a head is read as the same head."""
    codec = requests()
    try:
        head = codec.head(block(*pseudo, *fields), last)
    except Malformed:
        return
    if head.method == b"CONNECT":
        return
    again = codec.head(Decoder().decode(request_block(head.plain, b"https", head.upgrade)), last)
    assert again.plain.lower() == head.plain.lower()
    assert (again.body, again.target, again.upgrade) == (head.body, head.target, head.upgrade)


STATUSES = st.sampled_from([b"200", b"204", b"304", b"100", b"103", b"500", b"599", b"101", b"600", b"0200", b""])


@fuzz
@given(STATUSES | TEXT, FIELDS, st.booleans(), st.sampled_from([b"GET", b"HEAD"]))
def test_responses(status: bytes, fields: list[Pair], last: bool, method: bytes) -> None:
    responses = Responses()
    try:
        head = responses.head(block((b":status", status), *fields), last, method)
    except Malformed:
        return
    text = head.forward()
    assert text.count(b"\r\n\r\n") == 1
    ours = ResponseCodec().parse(text, method)
    assert (ours.status, ours.body, ours.interim) == (head.status, head.body, head.interim)
    # What would end this hop's connection, or is for it alone, has gone
    left_out = {b"te"} | ({b"content-length"} if head.status < 200 or head.status == 204 else set())
    kept = [(name, value.strip(OWS)) for name, value in head.fields if name not in left_out]
    assert ours.fields == kept

    again = responses.head(Decoder().decode(response_block(head.plain)), last, method)
    assert (again.status, again.body) == (head.status, head.body)
    assert again.plain.lower() == head.plain.lower()

    reference = h11.Connection(h11.CLIENT)
    reference.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    reference.send(h11.EndOfMessage())
    reference.receive_data(text)
    event = reference.next_event()
    assert isinstance(event, h11.InformationalResponse | h11.Response)
    assert event.status_code == head.status
    assert sorted(event.headers) == sorted((name.lower(), value) for name, value in kept)
