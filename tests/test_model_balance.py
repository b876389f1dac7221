"""What may be said of balancing, and what does not fit together."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, HashKey, Sticky, combine, decode

ENDPOINT = "127.0.0.1:9090"


def document(**value: Any) -> Document:
    return Document("a.yaml", decode(Config, value), frozenset(value), lambda _: None)


def refused(**value: Any) -> dict[str, str]:
    """Each problem by its path."""
    with pytest.raises(Invalid) as caught:
        combine([document(**value)])
    return {problem.path: problem.message for problem in caught.value.problems}


def books(**said: Any) -> dict[str, Any]:
    return {"books": {"endpoints": [ENDPOINT], **said}}


def test_one_key_is_short_for_a_list_of_it() -> None:
    one, many = (
        combine([document(clusters=books(balance="maglev", hash=said))]).clusters[0].hash
        for said in ({"header": "x-user"}, [{"header": "x-user"}, {"source": True}])
    )
    assert (one, many) == ((HashKey(header="x-user"),), (HashKey(header="x-user"), HashKey(source=True)))
    sticky = combine([document(clusters=books(sticky="sid"))]).clusters[0].sticky
    assert sticky == Sticky("sid", None, "/")


@pytest.mark.parametrize(
    ("said", "path", "message"),
    [
        ({"weight": -1}, "weight", "must be a whole number from 0 to 65535, not -1"),
        ({"weight": 65536}, "weight", "must be a whole number from 0 to 65535, not 65536"),
        ({"weight": 10**30}, "weight", "must be a whole number from 0 to 65535, not a number that large"),
        ({"weight": 0.5}, "weight", "must be a whole number from 0 to 65535, not 0.5"),
        ({"priority": -1}, "priority", "must be a whole number from 0 to 127, not -1"),
        ({"priority": 128}, "priority", "must be a whole number from 0 to 127, not 128"),
        ({"zone": 7}, "zone", "must be a string of printable characters, not 7"),
        ({"labels": ["v2"]}, "labels", "must be a mapping"),
        ({"labels": {"version": 2}}, "labels.version", "must be a string of printable characters, not 2"),
    ],
)
def test_bad_endpoints(said: dict[str, Any], path: str, message: str) -> None:
    found = refused(clusters={"books": {"endpoints": [{"address": ENDPOINT, **said}]}})
    assert message in found[f"clusters.books.endpoints[0].{path}"]


@pytest.mark.parametrize(
    ("said", "path", "message"),
    [
        ({"balance": "fastest"}, "balance", "must be round_robin or least_request or ewma"),
        ({"panic": 1.5}, "panic", "must be a share from 0 to 1, such as 0.5, not 1.5"),
        ({"panic": -0.1}, "panic", "must be a share from 0 to 1"),
        ({"panic": True}, "panic", "must be a share from 0 to 1, such as 0.5, not true"),
        ({"panic": float("nan")}, "panic", "must be a share from 0 to 1"),
        ({"slow_start": "-1s"}, "slow_start", "must be a duration such as 5s"),
        ({"hash": {}}, "hash", "must say exactly one of header, cookie, query, source, path"),
        ({"hash": {"header": "a", "path": True}}, "hash", "must say exactly one of"),
        ({"hash": {"header": "a b"}}, "hash.header", "must be a token"),
        ({"hash": {"source": False}}, "hash.source", "must be true, not false"),
        ({"hash": "source"}, "hash", "must be a mapping, not a string"),
        ({"sticky": "a=b"}, "sticky.cookie", "must be a token"),
        ({"sticky": {"cookie": "a", "path": "/;b"}}, "sticky.path", "must be a path such as /shop"),
        ({"sticky": {"cookie": "a", "ttl": 0}}, "sticky.ttl", "must be a duration longer than 0"),
        ({"hash": {"source": True}}, "hash", "`hash` needs `balance: ring_hash` or maglev, not round_robin"),
        ({"balance": "ring_hash"}, "balance", "`balance` ring_hash needs `hash`, which says what is hashed"),
        ({"balance": "maglev", "hash": []}, "balance", "`balance` maglev needs `hash`"),
        ({"stay": True, "sticky": "sid"}, "stay", "`stay` and `sticky` are two answers to one question"),
        (
            {"balance": "maglev", "hash": {"path": True}, "slow_start": "5s"},
            "slow_start",
            "`slow_start` would move keys step by step: it is not for `balance: maglev`",
        ),
        (
            {"balance": "maglev", "hash": [{"header": f"x-{n}"} for n in range(9)]},
            "hash",
            "`hash` has 9 entries, more than 8",
        ),
        (
            {"endpoints": [{"address": ENDPOINT, "labels": {f"l{n}": "" for n in range(65)}}]},
            "endpoints[0].labels",
            "`labels` has 65 entries, more than 64",
        ),
        (
            {"endpoints": [ENDPOINT, {"address": ENDPOINT, "weight": 2}]},
            "endpoints[1]",
            "endpoint 127.0.0.1:9090 is listed twice: first as `endpoints[0]`",
        ),
    ],
)
def test_bad_clusters(said: dict[str, Any], path: str, message: str) -> None:
    assert message in refused(clusters=books(**said))[f"clusters.books.{path}"]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("said", "asks"),
    [
        ({"balance": "maglev", "hash": {"header": "x-user"}}, "hashes by header"),
        ({"balance": "ring_hash", "hash": [{"source": True}, {"path": True}]}, "hashes by path"),
        ({"sticky": "sid"}, "is sticky by a cookie"),
        ({"stay": True}, "has `stay`"),
    ],
)
def test_a_connection_has_nothing_that_a_request_has(protocol: str, said: dict[str, Any], asks: str) -> None:
    listener = {"name": "in", "listen": "127.0.0.1:80", "protocol": protocol, "cluster": "books"}
    assert refused(listeners=[listener], clusters=books(**said)) == {
        "listeners[0].cluster": f"cluster `books` {asks}, which needs `protocol: http`, not {protocol}"
    }


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_connection_has_a_source(protocol: str) -> None:
    listener = {"name": "in", "listen": "127.0.0.1:80", "protocol": protocol, "cluster": "books"}
    combine([document(listeners=[listener], clusters=books(balance="maglev", hash={"source": True}))])


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ({"reply": {}, "subset": {"a": "b"}}, "subset", "`subset` needs a `cluster`; in a `split` each share says"),
        ({"split": [{"cluster": "books"}], "subset": {"a": "b"}}, "subset", "`subset` needs a `cluster`"),
        ({"split": [{"cluster": "books"}], "no_subset": "any"}, "no_subset", "`no_subset` needs a `cluster`"),
        ({"cluster": "books", "no_subset": "any"}, "no_subset", "`no_subset` any needs a `subset`"),
        (
            {"split": [{"cluster": "books", "no_subset": "any"}]},
            "split[0].no_subset",
            "`no_subset` any needs a `subset` that may be missing",
        ),
        ({"cluster": "books", "subset": {"a": "b"}, "no_subset": "some"}, "no_subset", "must be any or none"),
        (
            {"split": [{"cluster": "books", "subset": {f"l{n}": "" for n in range(65)}}]},
            "split[0].subset",
            "`subset` has 65 entries, more than 64",
        ),
    ],
)
def test_bad_subsets(rule: dict[str, Any], path: str, message: str) -> None:
    found = refused(routes={"web": [rule]}, clusters=books())
    assert message in found[f"routes.web.rules[0].{path}"]


def test_an_empty_cluster_and_weights_of_nothing_are_allowed() -> None:
    said = {"empty": {"endpoints": []}, "drained": {"endpoints": [{"address": ENDPOINT, "weight": 0}]}}
    assert len(combine([document(clusters=said)]).clusters) == 2
