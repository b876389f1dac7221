"""What can be said of names, what does not fit together, and the addresses that names alone have."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Dns, Document, combine, decode, encode
from meshproxy.model.dns import Record, Srv, virtual_addresses

LISTENER = {"name": "dns", "listen": "127.0.0.1:5300", "protocol": "dns"}


def taken(said: dict[str, Any], listener: dict[str, Any] | None = None) -> Config:
    whole = {"listeners": [LISTENER | (listener or {})], **said}
    return combine([Document("test", decode(Config, whole), frozenset(whole), lambda _: None)])


def refusals(said: dict[str, Any], listener: dict[str, Any] | None = None) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        taken(said, listener)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_how_names_are_written() -> None:
    names = {
        "Books.shop": ["10.0.0.1", "FD00::0:1"],
        "*.dev.shop": "10.0.0.9",
        "*": [],
        "_mqtt._tcp.shop": {"srv": {"target": "Broker.shop.", "port": 1883}},
        "db.example.com": "virtual",
    }
    said = taken({"dns": {"names": names, "search": ["Shop"], "ttl": "1m"}}).dns
    assert dict(said.names) == {
        "Books.shop": (Record("10.0.0.1"), Record("fd00::1")),
        "*.dev.shop": (Record("10.0.0.9"),),
        "*": (),
        "_mqtt._tcp.shop": (Record(srv=Srv("broker.shop", 1883)),),
        "db.example.com": (Record("virtual"),),
    }
    assert (said.search, said.ttl, said.virtual_names) == (("shop",), 60, ("db.example.com",))
    assert decode(Dns, encode(said)) == said


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"a b": "10.0.0.1"}, "must be a name such as books.shop"),
        ({"*x.shop": "10.0.0.1"}, "must be a name such as books.shop"),
        ({"a.*.shop": "10.0.0.1"}, "must be a name such as books.shop"),
        ({"*.": "10.0.0.1"}, "must be a name such as books.shop"),
        ({"a": "10.0.0"}, "must be an IP address such as 10.0.0.1, or `virtual`"),
        ({"a": "fe80::1%eth0"}, "must be an IP address"),
        ({"a": {"srv": {"target": "b", "port": 0}}}, "must be a whole number from 1 to 65535"),
        ({"a": {"address": "10.0.0.1", "srv": {"target": "b", "port": 1}}}, "must say exactly one of address, srv"),
        ({"a": "10.0.0.1", "A.": "10.0.0.2"}, "`a` stands in `names` twice"),
        ({"*.a": "virtual"}, "`*.a` cannot be `virtual`, since which of them there are is not known beforehand"),
        ({"a": ["virtual", "10.0.0.1"]}, "`a` is `virtual` and has no other addresses: 1 too many"),
        ({"a": ["10.0.0.1"] * 201}, "`a` has more than 200 records"),
    ],
)
def test_names_that_are_none(names: dict[str, Any], words: str) -> None:
    assert any(words in message for message in refusals({"dns": {"names": names}}).values())


@pytest.mark.parametrize(
    ("said", "path", "words"),
    [
        ({"servers": ["10.0.0.1", "127.0.0.1:5300"]}, "servers[1]", "server 127.0.0.1:5300 is a listener of dns"),
        ({"servers": ["10.0.0.1"] * 9}, "servers", "more than 8 servers"),
        ({"cache": {"least": "2m", "most": "1m"}}, "cache.least", "`least` 120s is more than `most` 60s"),
        ({"virtual": ["10.0.0.0/16", "10.1.0.0/16"]}, "virtual[0]", "more than one network of IPv4"),
        ({"virtual": "240.0.0.0/31"}, "virtual[0]", "`virtual` 240.0.0.0/31 is too small for 0 names"),
        (
            {"virtual": "240.0.0.0/29", "names": dict.fromkeys("abcd", "virtual")}, "virtual[0]",
            "`virtual` 240.0.0.0/29 is too small for 4 names",
        ),
        ({"virtual": []}, "virtual", "must not be an empty list"),
        ({"ttl": "1500ms"}, "ttl", "must be a duration in whole seconds"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(said: dict[str, Any], path: str, words: str) -> None:
    assert words in refusals({"dns": said})[f"dns.{path}"]


def test_a_server_that_is_a_listener_at_all_addresses() -> None:
    said = {"dns": {"servers": ["127.0.0.1:53", "10.0.0.1"]}}
    assert [*refusals(said, {"listen": "0.0.0.0:53"})] == ["dns.servers[0]"]


@pytest.mark.parametrize(
    ("listener", "path"),
    [
        ({"cluster": "a"}, "cluster"),
        ({"routes": "a"}, "routes"),
        ({"transparent": True}, "transparent"),
        ({"chains": [{"cluster": "a"}]}, "chains"),
        ({"proxy_protocol": {"trusted": ["10.0.0.0/8"]}}, "proxy_protocol"),
        ({"listen": "unix:/run/dns"}, "listen"),
        ({"filters": [{"bandwidth": {"up": "1MiB"}}]}, "filters[0]"),
    ],
)
def test_a_listener_of_dns_leads_nowhere(listener: dict[str, Any], path: str) -> None:
    assert [*refusals({}, listener)] == [f"listeners[0].{path}"]


def test_it_needs_both_ports() -> None:
    clusters = {"a": {"endpoints": ["10.0.0.1:1"]}}
    for protocol in ("tcp", "udp"):
        other = {"name": "other", "listen": "127.0.0.1:5300", "protocol": protocol, "cluster": "a"}
        found = refusals({"listeners": [LISTENER, other], "clusters": clusters})
        assert "is already taken by listener `dns`" in found["listeners[1].listen"]


def test_a_chain_is_for_names_that_have_addresses_of_their_own() -> None:
    clusters = {"a": {"endpoints": ["10.0.0.1:1"]}}
    chain = {"match": {"names": ["db.shop", "real.shop"]}, "cluster": "a"}
    out = {"name": "out", "listen": "127.0.0.1:1", "protocol": "tcp", "chains": [chain]}
    said = {"dns": {"names": {"db.shop": "virtual", "real.shop": "10.0.0.1"}}, "clusters": clusters}
    place = "listeners[0].chains[0].match.names"
    assert refusals({**said, "listeners": [{**out, "transparent": True}]}) == {
        f"{place}[1]": "`real.shop` is not `virtual` under `dns.names`; did you mean `db.shop`?"
    }
    assert "need `transparent: true`" in refusals({**said, "listeners": [out]})[place]
    dns_on_a_chain = {**out, "transparent": True, "chains": [{"protocol": "dns", "cluster": "a"}]}
    found = refusals({**said, "listeners": [dns_on_a_chain]})
    assert found["listeners[0].chains[0].protocol"] == "`protocol` dns needs a listener of its own"


def names_of(*names: str, virtual: str = "240.0.0.0/24") -> dict[str, str]:
    said = decode(Dns, {"names": dict.fromkeys(names, "virtual"), "virtual": virtual})
    return {name: str(addresses[0]) for name, addresses in virtual_addresses(said).items()}


def test_an_address_follows_from_the_name() -> None:
    many = [f"n{number}.test" for number in range(100)]
    found = names_of(*many)
    assert found == names_of(*reversed(many))
    assert len(set(found.values())) == 100
    assert not {"240.0.0.0", "240.0.0.255"} & {*found.values()}
    one_more = names_of(*many, "another.test")
    assert sum(one_more[name] != address for name, address in found.items()) < 10
    assert names_of("N1.test.") == {"n1.test": names_of("n1.test")["n1.test"]}
