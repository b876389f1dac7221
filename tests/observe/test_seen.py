"""What a person is shown of a request: all that helps, nothing that is secret, and no more than so much."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.observe.redact import LONGEST_TARGET, LONGEST_VALUE, MOST_FIELDS, field, target
from meshproxy.observe.seen import heads, seen
from tests.examples import examples
from tests.observe.records import OFFSET, Asked, Authority, Failed, Peer, Request, Session, Traced, Who, record, session

SECRET = "s3cr3t-0f-m1ne"


def test_a_request_that_failed() -> None:
    failed = record(
        origin=Who(peer=Peer(identity="spiffe://mesh/ns/shop/sa/web")), status=503, flags="DI,UF", attempts=1,
        seconds=1.5, failure=Failed("connect_failed"), trace=Traced(b"0af7"), id=b"0123-4567",
        endpoint=Asked("10.0.0.5:8080", "books"),
    )  # fmt: skip
    event = seen(failed, OFFSET)
    sentences = event.pop("words")
    assert event == {
        "time": "2023-11-14T22:13:20.000Z", "listener": "web", "route": "shop/0", "cluster": "books",
        "endpoint": "10.0.0.5:8080", "client": "192.0.2.7", "identity": "spiffe://mesh/ns/shop/sa/web",
        "method": "GET", "authority": "shop.local", "path": "/v1/books?page=*", "protocol": "HTTP/1.1", "status": 503,
        "flags": ["DI", "UF"], "reason": "connect_failed", "ms": 1500.0, "attempts": 1, "request_id": "0123-4567",
        "trace_id": "0af7", "received_bytes": 0, "sent_bytes": 1234,
    }  # fmt: skip
    assert len(sentences) == 2
    assert "fault" in sentences[0]


def test_a_session_shows_its_client_and_not_the_user() -> None:
    event = seen(session(session=Session(client_id="x" * 300, user=SECRET)), OFFSET)
    assert (event["protocol"], event["method"], len(event["mqtt_client_id"])) == ("MQTT/5.0", "", 256)
    assert SECRET not in json.dumps(event)
    assert "mqtt_client_id" not in seen(record(), OFFSET)


def test_one_where_all_went_well() -> None:
    event = seen(record(), OFFSET)
    assert (event["flags"], event["words"], event["reason"], event["identity"]) == ([], [], "", "")
    unix = record(origin=Who(client=None))
    assert seen(unix, OFFSET)["client"] == "unix"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"/", "/"),
        (b"*", "*"),
        (b"/a/b", "/a/b"),
        (b"/a?b=1&c=2", "/a?b=*&c=*"),
        (b"/a?b=&c", "/a?b=&*"),
        (b"/a?b=1=2?3;d=4#e=5&&f=6", "/a?b=*&&f=*"),
        (b"/a?", "/a?"),
        (b"/a;v=1/b;c?d=1;e", "/a;v=*/b;c?d=*"),
        (b"/a;v=1;w=2", "/a;v=*;w=*"),
        (b"/a#b=1&c", "/a#b=*&*"),
        (b"shop.local:443", "shop.local:443"),
        (b"/\xe9?\xff=\xfe", "/é?ÿ=*"),
    ],
)
def test_a_path_keeps_its_names_and_loses_its_values(raw: bytes, shown: str) -> None:
    assert target(raw) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        (b"Accept", b"text/html; q=1", "text/html; q=1"),
        (b"Content-Type", b"text/html; charset=utf-8", "text/html; charset=utf-8"),
        (b"Authorization", b"Basic abc", "*"),
        (b"cookie", b"a=b", "*"),
        (b"Set-Cookie", b"a=b", "*"),
        (b"X-API-Key", b"abc", "*"),
        (b"x-amz-security-token", b"abc", "*"),
        (b"X-My-Password", b"", "*"),
        (b"Referer", b"https://me:pass@shop.local/a;v=1?b=c#d=e", "https://*@shop.local/a;v=*?b=*"),
        (b"Location", b"/signed-in#state=1&abc", "/signed-in#state=*&*"),
        (b"Link", b"<https://a/?x=1>; rel=next", "<https://a/?x=*"),
        (b"X-Odd", b"what?abc", "what?*"),
    ],
)
def test_a_field_is_shown_unless_it_holds_a_secret(name: bytes, value: bytes, shown: str) -> None:
    assert field(name, value) == (name.decode(), shown)


def test_what_is_long_is_cut_and_what_is_cut_shows_no_more() -> None:
    assert len(target(b"/" + b"a" * 100_000)) == LONGEST_TARGET
    assert len(field(b"a" * 1000, b"b" * 100_000)[0]) == LONGEST_VALUE
    assert len(field(b"a", b"b" * 100_000)[1]) == LONGEST_VALUE
    # the sign that says that it was a password is gone
    assert SECRET not in field(b"Referer", b"https://me:" + SECRET.encode() + b"x" * 5000 + b"@shop.local/")[1]
    assert len(heads(record(request=Request(fields=[(b"a", b"b")] * 1000)))["request_headers"]) == MOST_FIELDS
    assert heads(record(response=None))["response_headers"] == []


noise = st.text("ab/&=?;#:@. ", max_size=12)
SECRETS: dict[str, Any] = {
    "query": lambda a, b: Request(target=f"/x?{a.replace('&', '')}={SECRET}{b}".encode()),
    "nameless": lambda a, b: Request(target=f"/x?{a}&{SECRET}&{b}".encode()),
    "parameter": lambda _a, b: Request(target=f"/x;k={SECRET};{b}".encode()),
    "fragment": lambda a, _b: Request(target=f"/x#{a}&k={SECRET}".encode()),
    "cookie": lambda a, b: Request(fields=[(b"Cookie", f"{a}{SECRET}{b}".encode())]),
    "token": lambda a, b: Request(fields=[(b"X-Auth-Request-Access-Token", f"{a}{SECRET}{b}".encode())]),
    "referer": lambda a, _b: Request(fields=[(b"Referer", f"http://x/?{a}&k={SECRET}".encode())]),
    "user": lambda _a, b: Request(fields=[(b"X-Up", f"http://me:{SECRET}@x/{b}".encode())]),
}


@pytest.mark.parametrize("place", SECRETS)
@given(before=noise, after=noise)
@examples(200)
def test_no_secret_is_in_an_event(place: str, before: str, after: str) -> None:
    head = SECRETS[place](before, after)
    for held in (record(request=head), record(response=head)):
        assert SECRET not in json.dumps({**seen(held, OFFSET), **heads(held)})


@given(raw=st.binary(max_size=40), name=st.binary(min_size=1, max_size=10))
@examples(200)
def test_whatever_comes_can_be_written(raw: bytes, name: bytes) -> None:
    head = Request(method=name, target=raw, authority=Authority(raw), fields=[(name, raw)])
    held = record(request=head, response=head, id=raw)
    line = json.dumps({**seen(held, OFFSET), **heads(held)})
    assert line.isascii()
    assert "\n" not in line
