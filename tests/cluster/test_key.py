"""What keys are made of, and the cookie of a client that stays."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy import model
from meshproxy.cluster.balance import Seat, balanced, key_of, part_of
from meshproxy.cluster.balance.key import cookie, hashed
from meshproxy.cluster.balance.sticky import token
from meshproxy.core.exchange import Notes
from meshproxy.model import Cluster, Endpoint, HashKey, Share, Sticky
from tests.cluster.endpoints import Client, endpoints, means


class Head:
    def __init__(self, target: bytes, fields: dict[bytes, bytes]) -> None:
        self.target = target
        self._fields = fields

    def get(self, name: bytes) -> bytes | None:
        return self._fields.get(name)


class Exchange(Client):
    def __init__(self, client: str | None = None, target: bytes = b"/", **fields: bytes) -> None:
        super().__init__(client)
        self.path = target.partition(b"?")[0]
        self.request = Head(target, {name.replace("_", "-").encode(): value for name, value in fields.items()})


@pytest.mark.parametrize(
    ("said", "asking", "value"),
    [
        (HashKey(header="X-User"), Exchange(x_user=b"ann"), b"ann"),
        (HashKey(header="x-user"), Exchange(x_user=b""), b""),
        (HashKey(header="x-user"), Exchange(), None),
        (HashKey(cookie="id"), Exchange(cookie=b"a=1; id=ann; b=2"), b"ann"),
        (HashKey(cookie="id"), Exchange(cookie=b"xid=1"), None),
        (HashKey(cookie="id"), Exchange(), None),
        (HashKey(query="user name"), Exchange(target=b"/a?b=1&user+name=ann%20b&user+name=c"), b"ann b"),
        (HashKey(query="user"), Exchange(target=b"/a?users=1"), None),
        (HashKey(path=True), Exchange(target=b"/a/b?c"), b"/a/b"),
        (HashKey(source=True), Exchange("10.0.0.1"), b"10.0.0.1"),
        (HashKey(source=True), Client("10.0.0.1"), b"10.0.0.1"),
        (HashKey(source=True), Client(), None),
    ],
)
def test_what_is_hashed(said: HashKey, asking: Any, value: bytes | None) -> None:
    assert key_of((said,))(asking) == (None if value is None else hashed(value))


def test_the_first_that_is_there_is_hashed() -> None:
    key = key_of((HashKey(header="x-user"), HashKey(cookie="id"), HashKey(source=True)))
    assert key(Exchange("10.0.0.1", x_user=b"ann", cookie=b"id=7")) == hashed(b"ann")
    assert key(Exchange("10.0.0.1", cookie=b"id=7")) == hashed(b"7")
    assert key(Exchange("10.0.0.1")) == hashed(b"10.0.0.1")
    assert key(Exchange()) is None
    assert key_of(())(Client("10.0.0.1")) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"a.b=1", b"1"),
        (b"aXb=1", None),
        (b"x=1;a.b=2", b"2"),
        (b"x=1; \ta.b=2; a.b=3", b"2"),
        (b"x=1, a.b=2", b"2"),
        (b'a.b="quoted"', b"quoted"),
        (b"a.b=", b""),
        (b"a.b", None),
        (b"x=a.b=1", None),
        (b"A.B=1", None),
    ],
)
def test_a_cookie_is_found_by_its_whole_name(text: bytes, value: bytes | None) -> None:
    assert cookie("a.b")(Exchange(cookie=text)) == value


def test_a_cookie_of_an_attempt_before_is_forgotten_where_the_client_has_its_own(clock: Any) -> None:
    a, b = endpoints(2, clock)
    pick = balanced([(a, Seat(1)), (b, Seat(1))], cluster(sticky=Sticky("sid")), "", means(clock))
    x: Any = Exchange(cookie=b"sid=" + token("books", b))
    x.notes = Notes()
    assert pick((b,), x) is a
    assert x.notes.cookie == b"Set-Cookie: sid=%b; Path=/; HttpOnly; SameSite=Lax\r\n" % token("books", a)
    assert pick((), x) is b
    assert x.notes.cookie == b""


# Labels


def cluster(**said: Any) -> Cluster:
    return Cluster("books", (), **said)


def test_a_share_has_those_with_all_its_labels(clock: Any) -> None:
    a, b, c = endpoints(3, clock)
    v2, canary = ("version", "v2"), ("track", "canary")
    members = [(a, Seat(1)), (b, Seat(1, labels=(v2,))), (c, Seat(1, labels=(canary, v2)))]
    assert part_of(members, Share("books")) == members
    assert part_of(members, Share("books", subset=(v2,))) == members[1:]
    assert part_of(members, Share("books", subset=(v2, canary))) == members[2:]
    assert part_of(members, Share("books", subset=(("version", "v3"),))) == []
    any_else = Share("books", subset=(canary,), no_subset="any")
    assert part_of(members, any_else) == members[2:]
    c.doubt("health")
    assert part_of(members, any_else) == members
    assert part_of(members, Share("books", subset=(canary,))) == members[2:], "whose panic is its own"


def test_of_those_who_are_left_for_later_one_is_picked_when_all_others_were_tried(clock: Any) -> None:
    a, b, c = endpoints(3, clock)
    members = [(a, Seat(1)), (b, Seat(1, "b", 1)), (c, Seat(1, "a", 1))]
    pick = balanced(members, cluster(), "a", means(clock))
    nobody = Client()
    assert [pick((), nobody), pick((a,), nobody), pick((a, c), nobody), pick((a, b, c), nobody)] == [a, c, b, None]


def test_an_unfit_endpoint_is_not_even_tried_last(clock: Any) -> None:
    a, b, c = endpoints(3, clock)
    c.doubt("health")
    pick = balanced([(a, Seat(1)), (b, Seat(1)), (c, Seat(1))], cluster(), "", means(clock))
    assert pick((a, b), Client()) is None


@pytest.mark.parametrize("balance", ["round_robin", "least_request", "ewma", "ring_hash", "maglev", "random"])
@pytest.mark.parametrize("weights", [(), (0,), (0, 0, 0)])
def test_where_nobody_has_any_weight_nobody_is_picked(balance: Any, weights: tuple[int, ...], clock: Any) -> None:
    members = [(each, Seat(weight)) for each, weight in zip(endpoints(len(weights), clock), weights, strict=True)]
    pick = balanced(members, cluster(balance=balance, sticky=Sticky("books")), "", means(clock))
    assert pick((), Exchange()) is None


def test_labels_and_zones_are_no_part_of_what_a_plain_address_says() -> None:
    plain = model.decode(model.Config, {"clusters": {"a": {"endpoints": ["127.0.0.1:1"]}}}).clusters[0].members[0]
    assert plain == Endpoint(plain.address)
