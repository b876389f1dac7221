"""Where a connection was made to, chains of several protocols, and from where and where to a cluster connects."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Chain, ChainFilter, Config, Document, combine, decode, encode
from meshproxy.model.limits import RateLimit

PAIR = {"certificate": "web.pem", "key": "web.key"}
WEB = {"web": [{"cluster": "books"}]}
BOOKS = {"endpoints": ["127.0.0.1:9090"]}


def config(listener: dict[str, Any], **clusters: Any) -> dict[str, Any]:
    front = {"name": "in", "listen": "127.0.0.1:80", "protocol": "tcp", "cluster": "books"}
    said = {key: value for key, value in (front | listener).items() if value is not None}
    return {"listeners": [said], "routes": WEB, "clusters": {"books": BOOKS, **clusters}}


def taken(said: dict[str, Any]) -> Config:
    return combine([Document("test", decode(Config, said), frozenset(said), lambda _: None)])


def refusals(said: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        taken(said)
    return {problem.path: problem.message for problem in caught.value.problems}


def outcomes(listener: dict[str, Any]) -> tuple[Chain, ...]:
    return taken(config(listener)).listeners[0].outcomes


def test_a_chain_may_differ_from_its_listener_and_takes_from_it_what_it_has_a_use_for() -> None:
    http = {"protocol": "http", "routes": "web"}
    plain, web, by_name, last = outcomes({"chains": [{}, http, {"protocol": "tls"}], "timeouts": {"lifetime": "1h"}})
    assert [(each.protocol, each.cluster, each.routes) for each in (plain, web, by_name, last)] == [
        ("tcp", "books", None), ("http", None, "web"), ("tls", "books", None), ("tcp", "books", None)
    ]
    assert [each.timeouts.idle for each in (plain, web, by_name)] == [3600.0, 60.0, 3600.0]
    assert {each.timeouts.lifetime for each in (plain, web, by_name)} == {3600.0}
    served, passed, _ = outcomes(
        {"protocol": "http", "routes": "web", "cluster": None, "chains": [{}, {"protocol": "tcp", "cluster": "books"}]}
    )
    assert (served.routes, passed.routes, passed.cluster) == ("web", None, "books")


@pytest.mark.parametrize(
    ("listener", "path", "words"),
    [
        ({"chains": [{"protocol": "udp"}]}, "chains[0].protocol", "`protocol` udp needs a listener of its own"),
        ({"chains": [{"protocol": "http"}]}, "chains[0]", "the chain needs `routes`, for its listener has none"),
        (
            {"chains": [{"protocol": "http", "routes": "web", "cluster": "books"}]}, "chains[0].cluster",
            "`cluster` is for other protocols: `protocol: http` takes `routes`",
        ),
        ({"chains": [{"routes": "web"}]}, "chains[0].routes", "`routes` need `protocol` http or auto, not tcp"),
        (
            {"routes": "web", "chains": [{"protocol": "http"}]},
            "routes",
            "`routes` need `protocol` http or auto, not tcp",
        ),
        (
            {"protocol": "http", "routes": "web", "cluster": None, "chains": [{"protocol": "tcp"}]}, "chains[0]",
            "the chain needs `cluster`, for its listener has none",
        ),
        ({"codec": "h11"}, "codec", "`codec` needs `protocol: http`, not tcp"),
        ({"http": {"upgrades": []}}, "http", "`http` needs `protocol: http`, not tcp"),
        (
            {"chains": [{"tls": {**PAIR, "client_ca": "ca.pem", "without_certificate": "403"}}]},
            "chains[0].tls.without_certificate", "`without_certificate` 403 needs `protocol: http`",
        ),
        (
            {
                "tls": {**PAIR, "client_ca": "ca.pem"}, "authorize": [{"identities": ["shop/web"]}],
                "chains": [{"protocol": "http", "routes": "web"}],
            },
            "chains[0].protocol",
            "`authorize` of the listener would not hold for this chain: `protocol: http` has it on rules of `routes`, "
            "so say it on the chains of other protocols",
        ),
        (
            {"chains": [{"protocol": "http", "routes": "web", "authorize": []}]}, "chains[0].authorize",
            "`authorize` is for other protocols: `protocol: http` has it on rules of `routes`",
        ),
        (
            {"chains": [{"filters": [{"rate_limit": {"connections": 1}}, {"rate_limit": {"connections": 2}}]}]},
            "chains[0].filters[1]", "`rate_limit` is there twice",
        ),
        (
            {"protocol": "udp", "transparent": True}, "transparent",
            "`transparent` with `protocol: udp` needs `listen: []`, not 127.0.0.1:80: only what comes out of a tunnel "
            "says where it goes",
        ),
        (
            {"listen": ["unix:/run/a", "127.0.0.1:80"], "transparent": True}, "listen",
            "`listen` unix:/run/a is never redirected to: `transparent` needs IP addresses",
        ),
    ],
)
def test_what_does_not_fit_together_on_a_listener(listener: dict[str, Any], path: str, words: str) -> None:
    assert refusals(config(listener)) == {f"listeners[0].{path}": words}


def test_what_http_is_told_holds_for_chains_of_http() -> None:
    chains = [{"protocol": "http", "routes": "web"}]
    tls = {**PAIR, "client_ca": "ca.pem", "without_certificate": "403"}
    listener = {"http": {"upgrades": []}, "codec": "h11", "tls": tls, "chains": chains}
    assert taken(config(listener)).listeners[0].codec == "h11"
    own = {"tls": {**PAIR, "client_ca": "ca.pem"}, "chains": [{"authorize": [{"identities": ["shop/web"]}]}, *chains]}
    assert [chain.authorize is None for chain in taken(config(own)).listeners[0].outcomes] == [False, True, True]


def test_a_chain_has_a_limit_of_its_own() -> None:
    rate = {"rate_limit": {"connections": 5, "per": "1m"}}
    chain, last = outcomes({"chains": [{"match": {"ports": [1]}, "filters": [rate]}], "filters": [rate]})
    assert (chain.filters, last.filters) == ((ChainFilter(RateLimit(5, 60.0)),), ())
    with pytest.raises(Invalid, match="must say exactly one of rate_limit"):
        taken(config({"chains": [{"filters": [{}]}]}))


def test_destinations_are_networks() -> None:
    chain, _ = outcomes({"chains": [{"match": {"destinations": ["10.0.0.0/8", "fd00::1"]}}]})
    assert [str(network) for network in chain.match.destinations] == ["10.0.0.0/8", "fd00::1/128"]
    with pytest.raises(Invalid, match=r"destinations\[0\]. must be a network such as 10.0.0.0/8, not \"books\""):
        taken(config({"chains": [{"match": {"destinations": ["books"]}}]}))


def test_a_cluster_that_goes_on_to_where_the_client_wanted_to_go() -> None:
    said = config({"cluster": "out", "transparent": True}, out={"original": True, "source": "::1"})
    found = taken(said)
    assert [(cluster.original, cluster.members) for cluster in found.clusters if cluster.name == "out"] == [(True, ())]
    assert decode(Config, encode(found)) == found
    header = {"trusted": ["127.0.0.0/8"]}
    assert taken(config({"cluster": "out", "proxy_protocol": header}, out={"original": True}))


@pytest.mark.parametrize(
    ("cluster", "path", "words"),
    [
        ({}, "endpoints", "`endpoints` is missing, and there is no `original: true` in its place"),
        ({"original": False}, "endpoints", "`endpoints` is missing, and there is no `original: true` in its place"),
        *(
            (
                {"original": True, key: value}, key,
                f"`{key}` is of no use with `original: true`: nobody knows beforehand where connections go",
            )
            for key, value in {
                "endpoints": [], "balance": "random", "slow_start": "1s", "sticky": "books", "health": {}, "outlier": {}
            }.items()
        ),
        (
            {"original": True, "tls": {}}, "tls.verify",
            "`verify: name` needs `names` or `sni` with `original: true`: no endpoint has a name",
        ),
        (
            {"endpoints": ["[::1]:80"], "source": "127.0.0.6"}, "endpoints[0]",
            "endpoint [::1]:80 cannot be connected to from `source` 127.0.0.6",
        ),
        (
            {"endpoints": ["unix:/run/a"], "source": "::1"}, "endpoints[0]",
            "endpoint unix:/run/a cannot be connected to from `source` ::1",
        ),
    ],
)
def test_what_does_not_fit_together_in_a_cluster(cluster: dict[str, Any], path: str, words: str) -> None:
    assert refusals(config({}, out=cluster)) == {f"clusters.out.{path}": words}


def test_an_original_destination_needs_somebody_who_knows_it_and_a_whole_connection() -> None:
    out = {"original": True}
    alone = (
        "cluster `out` is `original`, which needs `transparent: true` or `proxy_protocol` on the listener: "
        "else every connection was made to the listener itself"
    )
    assert refusals(config({"chains": [{"cluster": "out"}]}, out=out)) == {"listeners[0].chains[0].cluster": alone}
    assert refusals(config({"protocol": "udp", "cluster": "out"}, out=out)) == {
        "listeners[0].cluster": "cluster `out` is `original`, which needs `protocol` tcp or tls, not udp"
    }
    assert refusals(config({}, books=out)) == {"listeners[0].cluster": alone.replace("out", "books", 1)}
    web = {"protocol": "http", "routes": "web", "cluster": None}
    front = {key: value for key, value in web.items() if value is not None}
    said = config({}, books=out)
    said["listeners"] = [{"name": "in", "listen": "127.0.0.1:0", **front}]
    assert refusals(said) == {"listeners[0].routes": alone.replace("out", "books", 1)}
    said["listeners"][0]["transparent"] = True
    taken(said)


def test_the_address_of_a_client_is_kept_on_connections_that_are_one_client_s() -> None:
    mine = {"endpoints": ["127.0.0.1:1"], "source": "client"}
    taken(config({"cluster": "out"}, out=mine))
    assert refusals(config({"protocol": "udp", "cluster": "out"}, out=mine)) == {
        "listeners[0].cluster": "cluster `out` has `source: client`, which needs `protocol` tcp or tls, not udp"
    }
    why = "cluster `books` has `source: client`, which is for chains of `protocol` tcp or tls"
    assert refusals(config({}, books=mine)) == {"routes.web.rules[0].cluster": why}
    assert refusals(config({"cluster": "out"}, out={**mine, "health": {}})) == {
        "clusters.out.health": "`health` cannot be checked with `source: client`: a check comes from no client"
    }


def test_rules_of_tproxy_bring_what_was_made_elsewhere() -> None:
    assert refusals(config({"tproxy": True}, out={"endpoints": []})) == {
        "listeners[0].tproxy": "`tproxy` needs `transparent: true`: chains match where connections were made to"
    }


@pytest.mark.parametrize("text", ["127.0.0.6", "::1", "fe80::1%lo"])
def test_a_source_is_an_address(text: str) -> None:
    assert {cluster.source for cluster in taken(config({}, up={"endpoints": [], "source": text})).clusters} == {
        None, text
    }


@pytest.mark.parametrize("value", ["127.0.0.6:80", "books", 5, "0.0.0.0", "::", "224.0.0.1", "1" * 300])
def test_what_is_no_source(value: object) -> None:
    with pytest.raises(Invalid, match="`source` must be"):
        taken(config({}, up={"endpoints": [], "source": value}))


def test_an_address_of_a_name_may_be_of_any_family() -> None:
    assert taken(config({}, up={"endpoints": ["books.shop:80"], "source": "127.0.0.6"}))
