"""What an operator can say, how documents are combined, and how configurations are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.errors import Invalid, Problem
from meshproxy.model import (
    Address,
    Chain,
    Cluster,
    Config,
    Document,
    Endpoint,
    HashKey,
    Listener,
    Match,
    Named,
    Secret,
    Sticky,
    Timeouts,
    combine,
    decode,
    diff,
    encode,
    restore,
    version,
)
from meshproxy.model.address import parse
from meshproxy.model.config import Filter
from meshproxy.model.limits import MOST_BY_KEY, RateLimit
from meshproxy.model.tls import ClientTls, ServerTls
from meshproxy.schema.shapes import MOST_PROBLEMS, Names
from tests.examples import examples

BOOKS = {"endpoints": ["127.0.0.1:9090"]}


def listener(name: str = "web", listen: object = "127.0.0.1:80", **more: object) -> dict[str, object]:
    return {"name": name, "listen": listen, "protocol": "tcp", "cluster": "books", **more}


def document(source: str = "a.yaml", /, **value: Any) -> Document:
    return Document(
        source, decode(Config, value), frozenset(value), lambda path: 7 if path == ("listeners", 1, "listen") else None
    )


def problems(*documents: Document, running: Config | None = None) -> list[Problem]:
    with pytest.raises(Invalid) as caught:
        combine(documents, running)
    return list(caught.value.problems)


def words(*documents: Document, running: Config | None = None) -> dict[str, str]:
    return {problem.path: problem.message for problem in problems(*documents, running=running)}


def undecoded(**value: object) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        decode(Config, value)
    return {problem.path: problem.message for problem in caught.value.problems}


# Addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("1.2.3.4:80", Address("ipv4", "1.2.3.4", 80)),
        ("[::1]:0", Address("ipv6", "::1", 0)),
        ("[2001:DB8:0:0::1]:443", Address("ipv6", "2001:db8::1", 443)),
        ("[fe80::1%eth0]:80", Address("ipv6", "fe80::1%eth0", 80)),
        ("unix:/run/a.sock", Address("unix", path="/run/a.sock")),
        ("unix:@a", Address("unix", path="@a")),
    ],
)
def test_an_address_survives_its_text(text: str, address: Address) -> None:
    assert parse(text) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (":80", 'write "0.0.0.0:80"'),
        ("localhost:80", "only an endpoint may have a name; write an IP address"),
        ("01.2.3.4:80", "this is no IPv4 address"),
        ("1.2.3:80", "this is no IPv4 address"),
        ("::1:80", "brackets"),
        ("[::g]:80", "no IPv6 address"),
        ("1.2.3.4", "a port is missing"),
        ("1.2.3.4:65536", "a port is a number from 0 to 65535"),
        ("1.2.3.4:٣", "a port is a number"),
        ("unix:run/a", "unix:/path"),
        ("unix:", "unix:/path"),
        ("unix:/a\0b", "printable"),
        ("unix:/" + "é" * 54, "longer than 107 bytes"),
        ("1." * 32_000 + ":80", "longer than 260 characters"),
        ("[fe80::1%" + "x" * 300 + "]:80", "longer than 260 characters"),
        ("unix:/" + "x" * 300, "longer than 260 characters"),
    ],
)
def test_what_is_no_address(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="must be an address such as") as caught:
        parse(text)
    assert why in str(caught.value)


def test_where_an_address_can_be_reached_from() -> None:
    assert all(parse(text).is_local for text in ("127.9.9.9:1", "[::1]:1", "unix:/a"))
    assert not any(parse(text).is_local for text in ("0.0.0.0:1", "[::]:1", "10.0.0.1:1"))
    assert [parse(text).family for text in ("1.1.1.1:1", "[::1]:1", "unix:/a")] == ["AF_INET", "AF_INET6", "AF_UNIX"]


def endpoint(text: object) -> Address | Named:
    found: Config = decode(Config, {"clusters": {"books": {"endpoints": [text]}}})
    return found.clusters[0].members[0].address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("books:80", Named("books", 80)),
        ("Books.Shop.svc:65535", Named("books.shop.svc", 65535)),
        ("books.shop.:80", Named("books.shop.", 80)),
        ("_http._tcp.a-b.1x:1", Named("_http._tcp.a-b.1x", 1)),
        (".".join(["a" * 49] * 5) + ".abc:65535", Named(".".join(["a" * 49] * 5) + ".abc", 65535)),
        ("1.2.3.4:80", Address("ipv4", "1.2.3.4", 80)),
        ("unix:@a", Address("unix", path="@a")),
    ],
)
def test_an_endpoint_may_have_a_name(text: str, address: Address | Named) -> None:
    assert endpoint(text) == endpoint(str(address)) == address
    config: Config = decode(Config, {"clusters": {"books": {"endpoints": [text]}}})
    assert decode(Config, encode(config)) == config


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("books", "a port is missing"),
        ("books:", "a port is a number"),
        ("books:http", "a port is a number"),
        ("books:65536", "a port is a number"),
        ("books:0", "nothing can connect to it"),
        (":80", 'write "0.0.0.0:80"'),
        ("-books:80", "letters, digits"),
        ("http://books:80", "brackets"),
        ("books/x:80", "letters, digits"),
        ("bü.shop:80", "in its xn-- form"),
        ("a..b:80", "1 to 63 characters"),
        ("01.2.3.4:80", "this is no IPv4 address"),
        ("books.1:80", "this is no IPv4 address"),
        ("[books]:80", "no IPv6 address"),
        ("x" * 300 + ":80", "longer than 260 characters"),
        (80, "must be an address such as 127.0.0.1:80, not 80"),
    ],
)
def test_what_is_no_name_for_an_endpoint(text: object, why: str) -> None:
    found = undecoded(clusters={"books": {"endpoints": [text]}})
    assert why in found["clusters.books.endpoints[0].address"]


def test_a_name_twice_in_one_cluster() -> None:
    twice = document(clusters={"books": {"endpoints": ["books:80", "books:81", "BOOKS:80"]}})
    assert words(twice) == {"clusters.books.endpoints[2]": "endpoint books:80 is listed twice: first as `endpoints[0]`"}


def test_a_name_serves_every_protocol_and_leads_nowhere_that_is_known() -> None:
    both = [listener("a"), listener("b", protocol="udp")]
    books = {"endpoints": ["localhost:80", "b:1", "localhost:2"]}
    config = combine([document(listeners=both, clusters={"books": books})])
    assert config.clusters[0].names == ("localhost", "b")


def test_who_is_asked_for_names() -> None:
    found = decode(Config, {"dns": {"servers": ["10.0.0.10", "10.0.0.10:5353", "::1", "[::1]:54"]}})
    assert list(map(str, found.dns.servers)) == ["10.0.0.10:53", "10.0.0.10:5353", "[::1]:53", "[::1]:54"]
    assert decode(Config, encode(found)) == found
    wrong = ["dns.local", "0.0.0.0", "10.0.0.10:0", "unix:/a", 53]
    assert list(undecoded(dns={"servers": wrong})) == [f"dns.servers[{index}]" for index in range(len(wrong))]
    a, b = document("a.yaml", dns={"servers": ["10.0.0.1"]}), document("b.yaml", dns={"servers": ["10.0.0.2"]})
    assert [problem.path for problem in problems(a, b)] == ["dns"]


def test_nothing_can_connect_to_port_0_nor_to_a_wildcard() -> None:
    found = undecoded(clusters={"books": {"endpoints": ["127.0.0.1:0", "0.0.0.0:80", "[::]:80"]}})
    assert list(found) == [f"clusters.books.endpoints[{index}].address" for index in range(3)]


# What can be said


def test_a_filter_is_called_by_its_only_key() -> None:
    wrong = listener(filters=[{}, {"rate_limit": None}, {"rate_limit": {}}, {"rate_limt": {"connections": 1}}])
    assert undecoded(listeners=[wrong]) == {
        "listeners[0].filters[0]": "`filters[0]` must say exactly one of rate_limit, bandwidth",
        "listeners[0].filters[1]": "`filters[1]` must say exactly one of rate_limit, bandwidth",
        "listeners[0].filters[2].rate_limit.connections": "`connections` is missing",
        "listeners[0].filters[3].rate_limt": "unknown key `rate_limt`; did you mean `rate_limit`?",
    }


def test_one_listener_has_one_rate() -> None:
    limit = {"rate_limit": {"connections": 5}}
    (problem,) = problems(document(listeners=[listener(filters=[limit, limit])], clusters={"books": BOOKS}))
    assert problem.path == "listeners[0].filters[1]"


def test_the_number_of_workers_is_bounded_and_may_be_left_to_the_machine() -> None:
    for wrong in (0, -1, 257, True, "two", 1.5):
        assert "`workers` must be a number from 1 to 256, or `auto`" in undecoded(workers=wrong)["workers"]
    for right in (1, 256, "auto"):
        assert decode(Config, {"workers": right}).workers == right


def test_what_a_later_version_takes_is_refused_by_name() -> None:
    assert undecoded(listeners=[listener(protocol="redis")]) == {
        "listeners[0].protocol": (
            "`protocol` must be http or tcp or tls or udp or mqtt or auto or dns or socks5 or tunnel or quic: "
            "redis is reserved, the Redis proxy is not in this version"
        ),
    }


def test_an_empty_list_of_endpoints_is_allowed_and_a_missing_one_is_not() -> None:
    assert decode(Config, {"clusters": {"books": {"endpoints": []}}}).clusters == (Cluster("books", ()),)
    assert words(document(clusters={"books": {}})) == {
        "clusters.books.endpoints": "`endpoints` is missing, and there is no `original: true` in its place"
    }


def test_idle_timeouts_come_from_chain_then_listener_then_protocol() -> None:
    (own,) = decode(Config, {"listeners": [listener()]}).listeners[0].outcomes
    assert own == Chain(Match(), "tcp", "books", None, (), False, Timeouts(3600.0, 0.0, 10.0, 0.0, 10.0, 3.0))
    (own,) = decode(Config, {"listeners": [listener(protocol="udp")]}).listeners[0].outcomes
    assert own.timeouts.idle == 60.0
    first, second, last = (
        decode(
            Config,
            {
                "listeners": [
                    listener(
                        timeouts={"idle": "9s"},
                        chains=[{"timeouts": {"idle": 0, "lifetime": "1h"}, "cluster": "other"}, {}],
                    )
                ]
            },
        )
        .listeners[0]
        .outcomes
    )
    assert first == Chain(Match(), "tcp", "other", None, (), False, Timeouts(0.0, 3600.0, 10.0, 0.0, 10.0, 3.0))
    assert second == last == Chain(Match(), "tcp", "books", None, (), False, Timeouts(9.0, 0.0, 10.0, 0.0, 10.0, 3.0))


def test_a_listener_without_a_cluster_has_only_its_chains() -> None:
    found = decode(Config, {"listeners": [listener(cluster=None, chains=[{"cluster": "books"}])]})
    assert len(found.listeners[0].outcomes) == 1


# Several documents


def test_the_union_of_documents() -> None:
    a = document("a.yaml", listeners=[listener("b")], clusters={"z": BOOKS}, drain={"delay": 0})
    b = document("b.yaml", listeners=[listener("a", "127.0.0.1:81")], clusters={"books": BOOKS})
    config = combine([a, b])
    assert config == combine([b, a])
    assert [item.name for item in config.listeners] == ["a", "b"]
    assert [item.name for item in config.clusters] == ["books", "z"]
    assert config.drain.delay == 0
    assert combine([]) == Config()


def test_the_same_section_said_twice_must_agree() -> None:
    a, b = document("a.yaml", drain={"delay": "1s"}), document("b.yaml", drain={"delay": "2s"})
    assert [str(problem) for problem in problems(a, b)] == ["b.yaml: drain: `drain` is said differently in a.yaml"]
    assert combine([a, document("b.yaml", drain={"delay": "1000ms"})]).drain.delay == 1
    assert combine([a, document("b.yaml")]).drain.delay == 1


def test_a_name_defined_twice_names_both_sources() -> None:
    a = document("a.yaml", listeners=[listener()], clusters={"books": BOOKS})
    b = document("b.yaml", listeners=[listener(listen="127.0.0.1:81")], clusters={"books": BOOKS})
    assert [str(problem) for problem in problems(a, b)] == [
        "b.yaml: listeners[0].name: listener `web` is defined twice: first in a.yaml, listeners[0]",
        "b.yaml: clusters.books: cluster `books` is defined twice: first in a.yaml, clusters.books",
    ]


def test_an_unknown_cluster_comes_with_the_nearest() -> None:
    assert words(document(listeners=[listener(chains=[{"cluster": "x"}])], clusters={"book": BOOKS})) == {
        "listeners[0].cluster": "no cluster `books`; did you mean `book`?",
        "listeners[0].chains[0].cluster": "no cluster `x`",
    }


def clash(first: object, second: object, **more: Any) -> list[str]:
    listeners = [listener("a", first), listener("b", second, **more)]
    try:
        combine([document(listeners=listeners, clusters={"books": BOOKS})])
    except Invalid as invalid:
        return [str(problem) for problem in invalid.problems]
    return []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("127.0.0.1:80", "0.0.0.0:80"),
        ("[::]:80", "[::1]:80"),
        ("[0::1]:80", "[::1]:80"),
        ("unix:/a", "unix:/a"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("0.0.0.0:0", "0.0.0.0:0"),
    ],
)
def test_two_listeners_on_one_address(first: str, second: str) -> None:
    taken = parse(first)
    assert clash(first, second) == [
        f"a.yaml:7: listeners[1].listen: `listen` {parse(second)} is already taken by listener `a`, {taken}"
    ]


@pytest.mark.parametrize(
    ("first", "second", "protocol"),
    [
        ("127.0.0.1:80", "127.0.0.1:81", "tcp"),
        ("127.0.0.1:80", "127.0.0.2:80", "tcp"),
        ("127.0.0.1:80", "127.0.0.1:80", "udp"),
        ("127.0.0.1:0", "127.0.0.1:0", "udp"),
        ("127.0.0.1:0", "127.0.0.2:0", "tcp"),
        ("0.0.0.0:0", "127.0.0.1:0", "tcp"),
        ("0.0.0.0:80", "[::]:80", "tcp"),
        ("unix:/a", "unix:/b", "tcp"),
    ],
)
def test_addresses_that_do_not_clash(first: str, second: str, protocol: str) -> None:
    assert clash(first, second, protocol=protocol) == []


@pytest.mark.parametrize("port", [80, 0])
def test_one_listener_twice_on_one_address(port: int) -> None:
    twice = document(listeners=[listener(listen=[f"127.0.0.1:{port}"] * 2)], clusters={"books": BOOKS})
    assert list(words(twice)) == ["listeners[0].listen[1]"]


def test_port_0_of_admin_and_status_is_a_socket_of_its_own() -> None:
    free = {"listen": "127.0.0.1:0"}
    combine([document(admin=free, status=free, listeners=[listener(**free)], clusters={"books": BOOKS})])


def test_admin_and_status_take_part_said_or_not() -> None:
    taken = document(
        status={"listen": "127.0.0.1:81"},
        listeners=[listener("a", "127.0.0.1:15000"), listener("b", "127.0.0.1:81")],
        clusters={"books": BOOKS},
    )
    assert words(taken) == {
        "listeners[0].listen": "`listen` 127.0.0.1:15000 is already taken by `admin`, 127.0.0.1:15000",
        "listeners[1].listen": "`listen` 127.0.0.1:81 is already taken by `status`, 127.0.0.1:81",
    }
    moved = document("b.yaml", admin={"listen": "127.0.0.1:15001"})
    assert list(words(taken, moved)) == ["listeners[1].listen"]


def test_admin_off_loopback_needs_a_token() -> None:
    assert words(document(admin={"listen": "0.0.0.0:15000"})) == {
        "admin.listen": "`listen` 0.0.0.0:15000 is not on loopback: `admin.token` is required"
    }
    combine([document(admin={"listen": "0.0.0.0:15000", "token": "x"})])
    combine([document(admin={"listen": "unix:/run/meshproxy.sock"})])


def test_a_listener_leads_somewhere() -> None:
    assert words(
        document(
            listeners=[
                listener("a", "127.0.0.1:1", cluster=None),
                listener("b", "127.0.0.1:2", cluster=None, chains=[{"cluster": "books"}, {}]),
            ],
            clusters={"books": BOOKS},
        )
    ) == {
        "listeners[0]": "listener `a` needs `cluster` or `chains`",
        "listeners[1].chains[1]": "the chain needs `cluster`, for its listener has none",
    }


def test_what_udp_cannot_do() -> None:
    wrong = document(
        listeners=[
            listener(protocol="udp", listen="unix:/a", proxy_protocol={"trusted": ["unix"]}),
            listener("b", protocol="udp", cluster="unix"),
        ],
        clusters={"books": {**BOOKS, "proxy_protocol": "v1"}, "unix": {"endpoints": ["unix:/b"]}},
    )
    assert words(wrong) == {
        "listeners[0].proxy_protocol": "`proxy_protocol` needs `protocol: tcp`, not udp",
        "listeners[0].listen": "`listen` unix:/a needs `protocol: tcp`, not udp",
        "listeners[0].cluster": "cluster `books` sends a PROXY protocol header, which needs `protocol: tcp`",
        "listeners[1].cluster": "cluster `unix` has a unix socket, which needs `protocol: tcp`",
    }


def test_an_endpoint_listed_twice() -> None:
    twice = document(clusters={"books": {"endpoints": ["[::1]:80", "127.0.0.1:80", "[0::1]:80"]}})
    assert words(twice) == {"clusters.books.endpoints[2]": "endpoint [::1]:80 is listed twice: first as `endpoints[0]`"}


def test_problems_between_documents_are_bounded() -> None:
    many = document(listeners=[listener(f"l{number}", f"127.0.0.1:{number + 1}") for number in range(300)])
    found = problems(many)
    assert len(found) == MOST_PROBLEMS + 1
    assert str(found[-1]) == "and 200 more problems"


def test_only_so_many_hints_are_looked_for_and_each_among_few(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def get_close_matches(word: str, names: list[str], n: int) -> list[str]:
        looked.append(len(names))
        return names[:n]

    monkeypatch.setattr("difflib.get_close_matches", get_close_matches)
    many = range(1500)
    found = problems(
        document(
            listeners=[listener(f"l{n}", f"127.0.0.1:{n + 1}", cluster=f"boks-{n}") for n in many],
            clusters={f"books-{n}": {"endpoints": []} for n in many},
        )
    )
    assert str(found[-1]) == "and 1400 more problems"
    assert len(looked) == MOST_PROBLEMS
    assert max(looked) <= 4 * Names.BESIDE


def test_a_hint_is_found_whichever_end_of_the_word_is_right() -> None:
    names = [f"{place}-books-{n}" for place in ("prod", "test") for n in range(1000)]
    assert Names(names).nearest("prod-books-77x") == "; did you mean `prod-books-77`?"
    assert Names(names).nearest("rod-books-777") == "; did you mean `prod-books-777`?"
    assert Names(names).nearest("something else") == ""


# Loops


def looping(listeners: list[dict[str, object]], **endpoints: Sequence[object]) -> dict[str, str]:
    clusters = {name: {"endpoints": places} for name, places in endpoints.items()}
    try:
        combine([document(listeners=listeners, clusters=clusters)])
    except Invalid as invalid:
        return {problem.path: problem.message for problem in invalid.problems}
    return {}


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("listen", "endpoint"),
    [
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("10.0.0.1:80", "10.0.0.1:80"),
        ("0.0.0.0:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "127.9.9.9:80"),
        ("[::]:80", "[::1]:80"),
        ("127.0.0.1:80", "[::ffff:127.0.0.1]:80"),
        ("0.0.0.0:80", "[::ffff:127.0.0.1]:80"),
    ],
)
def test_an_endpoint_that_is_the_listener_itself(listen: str, endpoint: str, protocol: str) -> None:
    assert looping([listener("a", listen, protocol=protocol)], books=["10.0.0.2:80", endpoint]) == {
        "clusters.books.endpoints[1]": f"endpoint {parse(endpoint)} is listener `a`, which leads back to cluster "
        "`books`: one connection would become thousands"
    }


def test_a_unix_socket_that_is_the_listener_itself() -> None:
    assert list(looping([listener("a", "unix:@a")], books=["unix:@a"])) == ["clusters.books.endpoints[0]"]


@pytest.mark.parametrize(
    ("listen", "endpoint"),
    [
        ("127.0.0.1:80", "127.0.0.1:81"),
        ("127.0.0.1:80", "127.0.0.2:80"),
        ("0.0.0.0:80", "10.0.0.1:80"),
        ("0.0.0.0:80", "[::1]:80"),
        ("[::]:80", "127.0.0.1:80"),
        ("127.0.0.1:0", "127.0.0.1:80"),
        ("127.0.0.1:80", {"address": "127.0.0.1:80", "weight": 0}),
    ],
)
def test_an_endpoint_that_is_somebody_else(listen: str, endpoint: object) -> None:
    assert looping([listener("a", listen)], books=[endpoint]) == {}


def test_tcp_does_not_come_back_as_udp() -> None:
    a, b = listener("a", "127.0.0.1:80"), listener("b", "127.0.0.1:81", protocol="udp", cluster="other")
    assert looping([a, b], books=["127.0.0.1:81"], other=["127.0.0.1:80"]) == {}


def test_a_loop_through_chains_and_several_listeners() -> None:
    listeners = [
        listener("outside", "127.0.0.1:79", cluster="a"),
        listener("a", "127.0.0.1:80", cluster="end", chains=[{"cluster": "b"}]),
        listener("b", "0.0.0.0:81", cluster=None, chains=[{"match": {"ports": [81]}, "cluster": "c"}]),
        listener("c", "127.0.0.1:82", cluster="a"),
    ]
    ends = {"a": ["127.0.0.1:80"], "b": ["127.0.0.1:81"], "c": ["127.0.0.1:82", "10.0.0.1:1"]}
    assert looping(listeners, end=["10.0.0.1:80"], **ends) == {
        f"clusters.{name}.endpoints[0]": f"endpoint {place[0]} is listener `{name}`, which leads back to cluster "
        f"`{name}`: one connection would become thousands"
        for name, place in ends.items()
    }
    assert looping(listeners[:3], end=["10.0.0.1:80"], **ends) == {}


def test_a_long_way_that_ends_is_no_loop() -> None:
    far = 2000
    listeners = [listener(f"l{n}", f"127.0.0.1:{n + 1}", cluster=f"c{n}") for n in range(far)]
    ends = {f"c{n}": [f"127.0.0.1:{n + 2}"] for n in range(far)}
    assert looping(listeners, **ends) == {}
    ends[f"c{far - 1}"] = ["127.0.0.1:1"]
    assert len(looping(listeners, **ends)) == MOST_PROBLEMS + 1


# A running process


def test_a_running_process_keeps_what_is_its_own() -> None:
    running = combine([document(admin={"listen": "127.0.0.1:1"}, state={"dir": "/s"}, drain={"delay": "1s"})])
    config = combine([document(clusters={"books": BOOKS})], running)
    assert (config.admin, config.state) == (running.admin, running.state)
    assert config.drain == Config().drain
    assert combine([document(admin={"listen": "127.0.0.1:1"})], running).admin == running.admin


def test_a_running_process_refuses_what_needs_a_restart() -> None:
    running = combine([document(admin={"listen": "127.0.0.1:1"})])
    assert words(document(admin={}, status={"listen": "127.0.0.1:2"}), running=running) == {
        "admin": "`admin` belongs to the process and cannot change while it runs: restart meshproxy",
        "status": "`status` belongs to the process and cannot change while it runs: restart meshproxy",
    }


# Two configurations


def test_the_version_is_that_of_the_meaning() -> None:
    config = decode(Config, {"listeners": [listener()], "clusters": {"a": BOOKS, "books": BOOKS}})
    same = decode(
        Config,
        {
            "clusters": {"books": {"endpoints": [{"address": "127.0.0.1:9090", "weight": 1}]}, "a": BOOKS},
            "listeners": [listener(timeouts={})],
            "drain": {"delay": "5000ms"},
        },
    )
    assert config == same
    assert version(config) == version(same)
    assert len(version(config)) == 64
    assert version(config) != version(replace(config, clusters=()))


def test_the_version_does_not_tell_a_redacted_secret_from_a_clear_one() -> None:
    clear = decode(Config, {"admin": {"token": "sesame"}})
    assert version(decode(Config, encode(clear, redact=True))) == version(clear)


def test_a_diff_in_short_words() -> None:
    old = decode(
        Config, {"listeners": [listener("a"), listener("b", "127.0.0.1:2")], "clusters": {"books": BOOKS, "x": BOOKS}}
    )
    new = decode(
        Config,
        {
            "listeners": [listener("b", "127.0.0.1:2", max_connections=1, timeouts={"idle": "1s"}), listener("c")],
            "clusters": {"books": {"endpoints": []}, "x": BOOKS},
            "drain": {"delay": 0},
            "status": {"listen": "127.0.0.1:3"},
        },
    )
    assert diff(old, new) == [
        "listener a: removed",
        "status: added",
        "drain: changed (delay)",
        "listener b: changed (max_connections, timeouts)",
        "listener c: added",
        "cluster books: changed (endpoints)",
    ]
    assert diff(new, old)[0] == "status: removed"
    assert diff(new, new) == []


def test_a_redacted_token_is_restored_or_refused() -> None:
    known = decode(Config, {"admin": {"token": "sesame"}})
    back = restore(decode(Config, encode(known, redact=True)), known)
    assert back.admin.token is not None
    assert back.admin.token.text == "sesame"
    assert restore(Config(), known) == Config()
    assert restore(known, Config()) is known
    with pytest.raises(Invalid, match="write it in clear"):
        restore(decode(Config, {"admin": {"token": {"redacted": "0" * 64}}}), known)


def in_redis(address: str = "10.0.0.5:6379", **redis: object) -> dict[str, Any]:
    limit = {"requests": 9, "redis": {"address": address, "key": "a", **redis}}
    return {"routes": {"web": [{"reply": {}, "filters": [{"rate_limit": limit}]}]}}


def test_a_redacted_password_is_restored_for_the_same_redis_only() -> None:
    known = decode(Config, {"admin": {"token": "sesame"}, **in_redis(password="geheim")})
    redacted = encode(known, redact=True)
    assert "geheim" not in repr((redacted, known))
    back = restore(decode(Config, redacted), known)
    assert [each.password.text for table in back.routes for each in table.redis if each.password] == ["geheim"]
    assert back.admin.token is not None
    assert back.admin.token.text == "sesame"
    shown = {"redacted": Secret.of("geheim").digest}
    for elsewhere in (in_redis("10.6.6.6:6379", password=shown), {"admin": {"token": shown}}):
        with pytest.raises(Invalid, match="write it in clear"):
            restore(decode(Config, elsewhere), known)
    token = {"redacted": Secret.of("sesame").digest}
    with pytest.raises(Invalid, match=r"routes.web.rules\[0\].filters\[0\].rate_limit.redis.password: `password` is"):
        restore(decode(Config, in_redis(password=token)), known)


def test_one_key_in_redis_is_one_limit() -> None:
    same = {"requests": 9, "redis": {"address": "10.0.0.5:6379", "key": "a"}}
    said = in_redis()
    (rule,) = said["routes"]["web"]
    rule["filters"].append({"rate_limit": same})
    combine([document(**said)])
    same["requests"] = 10
    with pytest.raises(Invalid, match="`key` a is another limit already, with other numbers"):
        combine([document(**said)])


def test_limits_by_a_value_are_bounded() -> None:
    by = [{"rate_limit": {"requests": 9, "by": "source"}}] * (MOST_BY_KEY // 2)
    rules: list[dict[str, Any]] = [{"reply": {}, "filters": by}] * 2
    combine([document(routes={"web": rules})])
    one_more = {"reply": {}, "filters": by[:1]}
    with pytest.raises(Invalid, match=f"`by` stands in more than {MOST_BY_KEY} limits"):
        combine([document(routes={"web": [*rules, one_more]})])


# Whatever is said


names = st.from_regex(r"[a-z][a-z0-9./|-]{0,8}", fullmatch=True)
durations = st.integers(1, 10**9).map(lambda n: n / 1000)
hosts = st.ip_addresses(v=4).map(lambda ip: f"{ip}:80") | st.ip_addresses(v=6).map(lambda ip: f"[{ip}]:80")
addresses = (hosts | st.sampled_from(["unix:/run/a", "unix:@b"])).map(parse)
endpoints = st.builds(Endpoint, addresses.filter(lambda address: not address.is_wildcard), st.integers(0, 65535))
timeouts = st.builds(Timeouts, *[st.none() | durations] * 5)
papers = st.sampled_from(["web.pem", "/etc/ca.pem", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
keys = st.just("web.key") | st.just(Secret.of("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"))
server_tls = st.builds(
    ServerTls, papers, keys, client_ca=st.none() | papers, min_version=st.sampled_from(["1.2", "1.3"])
)
servers = st.lists(server_tls, max_size=2).map(tuple)
chains = st.builds(
    Chain,
    st.builds(Match, st.lists(st.integers(1, 65535), max_size=2).map(tuple)),
    st.none() | st.sampled_from(["tcp", "udp", "http"]),
    st.none() | names,
    st.none() | names,
    st.none() | servers,
    st.none() | st.booleans(),
    timeouts,
)
listeners = st.builds(
    Listener,
    names,
    st.lists(addresses, min_size=1, max_size=2).map(tuple),
    st.sampled_from(["tcp", "tls", "udp", "http"]),
    st.none() | names,
    st.none() | names,
    chains=st.lists(chains, max_size=2).map(tuple),
    max_connections=st.integers(1, 10**7),
    filters=st.just(())
    | st.tuples(st.builds(Filter, st.builds(RateLimit, st.integers(1, 9), durations, st.none()))),
    timeouts=timeouts,
    tls=servers,
    permissive=st.booleans(),
)
clusters = st.builds(
    Cluster,
    names,
    st.lists(endpoints, max_size=3).map(tuple),
    st.sampled_from(["round_robin", "least_request", "ewma", "ring_hash", "maglev", "random"]),
    durations,
    keepalive=st.booleans(),
    hash=st.just(()) | st.just((HashKey(header="x"),)) | st.just((HashKey(path=True), HashKey(source=True))),
    sticky=st.none() | st.builds(Sticky, st.just("books"), st.none() | durations.filter(bool)),
    panic=st.floats(0, 1),
    slow_start=durations,
    proxy_protocol=st.none() | st.sampled_from(["v1", "v2"]),
    tls=st.none() | st.builds(ClientTls, st.none() | papers, st.none() | papers, st.none() | keys),
)
configs = st.builds(
    Config,
    listeners=st.lists(listeners, max_size=2).map(tuple),
    clusters=st.lists(clusters, max_size=3, unique_by=lambda cluster: cluster.name).map(
        lambda found: tuple(sorted(found, key=lambda cluster: cluster.name))
    ),
)


@examples(50)
@given(configs)
def test_a_configuration_survives_encoding(config: Config) -> None:
    assert decode(Config, encode(config)) == config
    assert diff(config, decode(Config, encode(config, redact=True))) == []


def reserved(cls: type[Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = getattr(cls, "RESERVED", {})
    return found


@pytest.mark.parametrize("cls", [Cluster])
def test_a_reserved_key_is_no_accepted_one(cls: type[Any]) -> None:
    assert reserved(cls)
    assert not set(reserved(cls)) & {field.name for field in fields(cls)}


def test_a_configuration_never_shows_a_secret() -> None:
    assert "sesame" not in repr(replace(Config(), admin=replace(Config().admin, token=Secret.of("sesame"))))


def test_datagrams_that_come_by_a_socket_have_no_chains() -> None:
    udp = {"name": "web", "listen": "127.0.0.1:80", "protocol": "udp", "cluster": "books"}
    (problem,) = problems(document(listeners=[{**udp, "chains": [{}]}], clusters={"books": BOOKS}))
    assert (problem.path, "`transparent: true`" in problem.message) == ("listeners[0].chains", True)
