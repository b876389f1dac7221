"""Who may use the admin side: a rule over the head of a request."""

from __future__ import annotations

import pytest

from meshproxy.admin.access import Access
from meshproxy.admin.http import Request
from meshproxy.model.address import parse

OWN = 1000
TOKEN = {"authorization": "Bearer s3cret"}


def outcome(
    listen: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    *,
    token: str | None = None,
    peer: int | None = None,
) -> int:
    request = Request(method, "/stats", {}, {"host": "localhost:15000", **(headers or {})}, b"", peer)
    denied = Access(parse(listen), token, OWN).denied(request)
    return denied.status if denied else 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:15000", "127.9.9.9", "[::1]:15000", "[::1]"])
@pytest.mark.parametrize("listen", ["127.0.0.1:15000", "[::1]:15000"])
def test_the_names_of_the_loopback_are_ours(listen: str, host: str) -> None:
    assert outcome(listen, headers={"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:15000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0x7f.1",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_a_name_that_was_rebound_to_the_loopback_is_refused(host: str, method: str) -> None:
    assert outcome("127.0.0.1:15000", method, {"host": host}) == 403
    assert outcome("127.0.0.1:15000", method, {"host": host, **TOKEN}, token="s3cret") == 403


def test_off_loopback_any_name_may_be_ours() -> None:
    assert outcome("0.0.0.0:15000", headers={"host": "proxy.shop.svc"}) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:15000", 200),
        ("HTTP://LOCALHOST:15000", 200),
        ("http://localhost:3000", 403),
        ("https://localhost:15000", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_site_is_refused(origin: str, expected: int, method: str) -> None:
    assert outcome("127.0.0.1:15000", method, {"origin": origin}) == expected


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_on_loopback_without_a_token_anyone_may_change(method: str) -> None:
    assert outcome("127.0.0.1:15000", method) == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("listen", ["127.0.0.1:15000", "0.0.0.0:15000", "unix:/run/admin.sock"])
@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("Bearer s3cret", 200),
        ("bearer  s3cret", 200),
        ("Bearer s3cre", 401),
        ("Bearer s3cret2", 401),
        ("Bearer", 401),
        ("Basic s3cret", 401),
        ("s3cret", 401),
        ("", 401),
        ("Bearer \xfc", 401),
    ],
)
def test_a_token_is_needed_for_everything(method: str, listen: str, authorization: str, expected: int) -> None:
    assert outcome(listen, method, {"authorization": authorization}, token="s3cret", peer=4711) == expected


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
def test_off_loopback_nothing_changes_without_a_token(method: str) -> None:
    assert outcome("0.0.0.0:15000", method) == 403
    assert outcome("0.0.0.0:15000", "GET") == 200


@pytest.mark.parametrize(("peer", "expected"), [(OWN, 200), (0, 200), (4711, 403), (None, 403)])
def test_on_a_unix_socket_the_own_user_and_root_may_change(peer: int | None, expected: int) -> None:
    assert outcome("unix:/run/admin.sock", "PUT", peer=peer) == expected
    assert outcome("unix:/run/admin.sock", "GET", peer=peer) == 200


@pytest.mark.parametrize("peer", [OWN, 0])
def test_on_a_unix_socket_the_own_user_and_root_need_no_token(peer: int) -> None:
    assert outcome("unix:/run/admin.sock", "PUT", token="s3cret", peer=peer) == 200


def test_another_site_is_refused_on_a_unix_socket_too() -> None:
    assert outcome("unix:/run/admin.sock", "PUT", {"origin": "http://evil.example"}, peer=0) == 403


def test_the_token_is_never_printed() -> None:
    assert "s3cret" not in repr(Access(parse("127.0.0.1:1"), "s3cret", OWN))
