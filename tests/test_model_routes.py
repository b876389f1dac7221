"""What an operator can say about HTTP requests, which expressions are linear, and what documents make of tables."""

from __future__ import annotations

import re
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode, encode
from meshproxy.model.regex import LONGEST, beginner, check, matcher
from meshproxy.model.routes import MOST_REGEXES, MOST_RULES, RouteTable, Rule, problems
from meshproxy.model.split import Share
from meshproxy.schema import json_schema
from meshproxy.schema.shapes import path_text
from tests.examples import examples

EVERYTHING: dict[str, Any] = {
    "name": "web",
    "order": "written",
    "rules": [
        {
            "match": {
                "hosts": ["shop.local", "*.shop.local:8080", "[::1]:80", "*"],
                "path": {"prefix": "/v1"},
                "methods": ["GET", "M-SEARCH"],
                "headers": {"X-Beta": {"exact": "1"}, "x-gamma": {"present": False}},
                "query": {"page": {"regex": "[0-9]+"}, "q": {"prefix": "a"}},
            },
            "split": [{"cluster": "books-v1", "weight": 90}, {"cluster": "books-v2"}],
            "rewrite": {"prefix": "/", "host": "Books"},
            "request_headers": {"add": {"X-A": "1"}, "set": {"X-B": ""}, "remove": ["X-C"]},
        },
        {"match": {"path": {"exact": "/old"}}, "redirect": {"scheme": "https", "host": "shop.local", "status": 308}},
        {
            "match": {"path": {"exact": "/older"}},
            "redirect": "/new?from=older",
            "response_headers": {"remove": ["Age"]},
        },
        {
            "match": {"path": {"regex": "/.*[.]php"}},
            "reply": {"status": 404, "headers": {"X-Why": "no"}, "body": "é\n"},
        },
        {
            "name": "last",
            "cluster": "books-v1",
            "rewrite": {"path": "/index"},
            "timeouts": {"request": "15s"},
            "filters": [
                {"rate_limit": {"requests": 100}},
                {"extension": {"call": "a.b:C.D", "config": {"x": [1, {"y": None}]}, "on_error": "skip"}},
            ],
        },
    ],
}


def table(*rules: dict[str, Any], **more: Any) -> RouteTable:
    return decode(RouteTable, {"name": "web", "rules": list(rules), **more})


def undecoded(*rules: dict[str, Any], **more: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        table(*rules, **more)
    return {problem.path: problem.message for problem in caught.value.problems}


def wrong(*rules: dict[str, Any]) -> dict[str, str]:
    return {path_text(path): message for path, message in problems(table(*rules))}


def said(match: object) -> dict[str, Any]:
    return {"match": match, "cluster": "books"}


# What can be said


def test_a_table_survives_being_written_and_is_what_its_schema_describes() -> None:
    decoded = decode(RouteTable, EVERYTHING)
    assert list(problems(decoded)) == []
    assert decode(RouteTable, encode(decoded)) == decoded
    jsonschema.Draft202012Validator(json_schema(RouteTable)).validate(EVERYTHING)


def test_a_list_is_short_for_a_table_by_specificity_and_a_cluster_for_a_split_of_one() -> None:
    short = table({"cluster": "books"})
    assert short.order == "specific"
    assert short.rules == (Rule(cluster="books"),)
    assert short.rules[0].shares == (Share("books", 1),)
    split = table({"split": [{"cluster": "a", "weight": 0}, {"cluster": "b"}]}).rules[0]
    assert split.shares == (Share("a", 0), Share("b", 1))


def test_a_host_has_no_case() -> None:
    assert table(said({"hosts": ["*.Shop.LOCAL:80"]})).rules[0].match.hosts == ("*.shop.local:80",)


@pytest.mark.parametrize(
    "host", ["", "*.", "**.a", "a.*", "a..b", ".a", "a.", "a:0", "a:", "*:80", "a b", "-a", "ä", "[::1", "a/b", "a\0b"]
)
def test_what_is_no_host(host: str) -> None:
    assert "must be a host such as" in undecoded(said({"hosts": [host]}))["rules[0].match.hosts[0]"]


@pytest.mark.parametrize("path", ["", "v1", "/a b", "/a?b", "/a#b", "/ä", "/a\x00b", "/" + "a" * 1024, "*"])
def test_what_is_no_path(path: str) -> None:
    for kind in ("exact", "prefix"):
        assert "must be a path such as" in undecoded(said({"path": {kind: path}}))[f"rules[0].match.path.{kind}"]


@pytest.mark.parametrize("path", ["/..", "/a/../b", "/./a", "/a/."])
def test_a_path_that_no_request_can_have(path: str) -> None:
    assert (
        "must be a path without `.` and `..`" in undecoded(said({"path": {"exact": path}}))["rules[0].match.path.exact"]
    )


def test_one_way_to_look_at_a_path_or_a_value() -> None:
    match = {
        "path": {"exact": "/a", "prefix": "/a"},
        "headers": {"x": {}},
        "query": {"y": {"exact": "1", "present": True}},
    }
    assert undecoded(said(match)) == {
        "rules[0].match.path": "`path` must say exactly one of exact, prefix, regex, begins",
        "rules[0].match.headers.x": "`x` must say exactly one of exact, prefix, regex, begins, present",
        "rules[0].match.query.y": "`y` must say exactly one of exact, prefix, regex, begins, present",
    }


@pytest.mark.parametrize(
    ("rule", "path", "why"),
    [
        (said({"identities": ["a/b/c"]}), "match.identities[0]", "must be `namespace/service-account`"),
        (said({"path": {"begins": "(a+)+"}}), "match.path.begins", "takes linear time"),
        (said({"headers": {"x": {"begins": "[^b]*a.*b"}}}), "match.headers.x.begins", "takes linear time"),
        (said({"methods": ["get"]}), "match.methods[0]", "must be a method such as GET"),
        (said({"headers": {"x": {"exact": "a\r\nb"}}}), "match.headers.x.exact", "must be printable ASCII"),
        ({"split": [{"cluster": "a", "weight": 65536}]}, "split[0].weight", "must be a whole number from 0 to 65535"),
        ({"redirect": {"path": "/a", "status": 304}}, "redirect.status", "must be 301, 302, 303, 307 or 308, not 304"),
        (
            {"redirect": {"path": "/a", "status": True}},
            "redirect.status",
            "must be 301, 302, 303, 307 or 308, not true",
        ),
        ({"redirect": "a\r\nb"}, "redirect.path", "must be a path such as"),
        ({"redirect": {"host": "a b"}}, "redirect.host", "must be a host such as"),
        ({"redirect": {"scheme": "ftp"}}, "redirect.scheme", "must be http or https"),
        ({"reply": {"status": 101}}, "reply.status", "must be a whole number from 200 to 599"),
        ({"reply": {"headers": {"x": " a"}}}, "reply.headers.x", "must be printable ASCII without a space"),
        ({"reply": {"body": "x" * 65_537}}, "reply.body", "must be a string of at most 65536 characters"),
        ({"reply": {"body": "\ud800"}}, "reply.body", "must be text that UTF-8 can hold"),
        (
            {"cluster": "a", "response_headers": {"set": {"x": "a\0"}}},
            "response_headers.set.x",
            "must be printable ASCII",
        ),
        ({"cluster": "a", "authorize": {}}, "authorize", "must be a list"),
        ({"cluster": "a", "filters": [{"extension": "no class"}]}, "filters[0].extension.call", "a class such as"),
        (
            {"cluster": "a", "filters": [{"extension": {"call": "a:B", "config": []}}]},
            "filters[0].extension.config",
            "must be a mapping, not a list",
        ),
        (
            {"cluster": "a", "filters": [{"rate_limit": {"requests": 1, "by": "name"}}]},
            "filters[0].rate_limit.by.of",
            "must be source or path or identity",
        ),
        (
            {"cluster": "a", "filters": [{"rate_limit": {"requests": 1, "by": {"header": "a b"}}}]},
            "filters[0].rate_limit.by.header",
            "a name as of a header or a cookie",
        ),
        (
            {"cluster": "a", "filters": [{"bandwidth": {"up": "1KiB"}}]},
            "filters[0].bandwidth.up",
            "from 8KiB to 1024GiB each second",
        ),
        ({"clustr": "a"}, "clustr", "unknown key `clustr`; did you mean `cluster`?"),
    ],
)
def test_what_a_wrong_value_is_told(rule: dict[str, Any], path: str, why: str) -> None:
    assert why in undecoded(rule)[f"rules[0].{path}"]


@pytest.mark.parametrize(
    ("rule", "path", "why"),
    [
        ({}, "", "exactly one of cluster, split, redirect, reply, connect, not none"),
        ({"cluster": "a", "reply": {}}, "", "cluster, split, redirect, reply, connect, not cluster and reply"),
        ({"split": []}, "", "exactly one of cluster, split, redirect, reply, connect, not none"),
        ({"split": [{"cluster": "a", "weight": 0}] * 2}, ".split", "nobody gets the requests"),
        ({"split": [{"cluster": "a"}] * 65}, ".split", "`split` has 65 entries, more than 64"),
        ({"redirect": {"status": 301}}, ".redirect", "leads back to the same place"),
        ({"reply": {"status": 204, "body": "x"}}, ".reply.body", "an answer with status 204 has none"),
        ({"reply": {"headers": {"Content-Length": "1"}}}, ".reply.headers.Content-Length", "belongs to the connection"),
        ({"reply": {}, "rewrite": {"host": "a"}}, ".rewrite", "needs a `cluster` or a `split`"),
        ({"cluster": "a", "rewrite": {"path": "/a", "prefix": "/b"}}, ".rewrite.prefix", "say one of them"),
        ({"cluster": "a", "match": {"grpc": "a.B"}, "rewrite": {"prefix": "/b"}}, ".rewrite.prefix", "needs a `match."),
        ({"cluster": "a", "match": {"grpc": "a.B", "path": {"exact": "/"}}}, ".match.grpc", "say one of them"),
        (
            {"match": {"path": {"exact": "/a"}}, "cluster": "a", "rewrite": {"prefix": "/b"}},
            ".rewrite.prefix",
            "needs a `match.path.prefix`",
        ),
        ({"reply": {}, "request_headers": {"remove": ["x"]}}, ".request_headers", "nothing is sent upstream"),
        (
            {"cluster": "a", "request_headers": {"add": {"TE": "x"}}},
            ".request_headers.add.TE",
            "belongs to the connection",
        ),
        ({"cluster": "a", "request_headers": {"set": {"Host": "x"}}}, ".request_headers.set.Host", "by `rewrite`"),
        (
            {"cluster": "a", "response_headers": {"remove": ["x", "Transfer-Encoding"]}},
            ".response_headers.remove[1]",
            "belongs to the connection",
        ),
        (
            {"cluster": "a", "response_headers": {"remove": ["a/b"]}},
            ".response_headers.remove[0]",
            '"a/b" is not the name of a header',
        ),
        (
            {"cluster": "a", "response_headers": {"set": {"X-A": "1", "x-a": "2"}}},
            ".response_headers.set.x-a",
            "`x-a` is there twice: first as `X-A`",
        ),
        (said({"headers": {"a:b": {"present": True}}}), '.match.headers["a:b"]', "is not the name of a header"),
        (said({"identities": ["a"] * 1025}), ".match.identities", "`identities` has 1025 entries, more than 1024"),
        (said({"methods": ["GET"] * 65}), ".match.methods", "`methods` has 65 entries, more than 64"),
    ],
)
def test_what_does_not_fit_together(rule: dict[str, Any], path: str, why: str) -> None:
    found = wrong(rule)
    assert list(found) == [f"rules[0]{path}"]
    assert why in found[f"rules[0]{path}"]


def test_a_prefix_can_be_replaced_where_every_path_matches() -> None:
    assert wrong({"cluster": "a", "rewrite": {"prefix": "/b"}}) == {}


def test_tables_are_bounded() -> None:
    rule = decode(Rule, {"cluster": "a"})
    assert list(problems(RouteTable("web", (rule,) * MOST_RULES))) == []
    assert [path for path, _ in problems(RouteTable("web", (rule,) * (MOST_RULES + 1)))] == [("rules",)]
    expressions = [said({"path": {"regex": f"/{number}"}}) for number in range(MOST_REGEXES + 1)]
    assert list(wrong(*expressions[1:])) == []
    assert list(wrong(*expressions)) == ["rules"]
    of_two_hosts = [
        said({**each["match"], "hosts": [f"shop{number % 2}"]}) for number, each in enumerate(expressions)
    ]
    assert list(wrong(*of_two_hosts)) == []


# Regular expressions


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("/api/v[0-9]+/.*", "/api/v12/x"),
        ("[a-z]+/[0-9]+", "a/1"),
        (".*", ""),
        (r".*\.png", "/a.b.png"),
        ("/v1/(users|groups)/[^/]+", "/v1/users/x"),
        (".*/admin/.*", "/a/admin/b"),
        ("^/a$", "/a"),
        ("/a(/.*)?", "/a/b"),
        (r"(?P<x>[0-9]{1,3})(\.\d{1,3}){3}", "10.0.0.1"),
        (r"([^,]*,)*x", "a,,x"),
        (r"/[^/]*/[\w-]+?/.+", "/a/b-1/c"),
        ("|a", ""),
        ("(true|t|yes)", "t"),
        (r"(.*/v[1-3])", "/x/v2"),
        (r"[^\x00-\x1f]\S\D\W", "abc-"),
    ],
)
def test_expressions_that_are_linear(pattern: str, text: str) -> None:
    check(pattern)
    assert matcher(pattern)(text.encode())
    assert beginner(pattern)(text.encode() + b"more") or pattern.endswith("$")


@pytest.mark.parametrize(
    ("pattern", "begun", "not_begun"),
    [
        ("/v[0-9]+", [b"/v1", b"/v12/x", b"/v1x"], [b"/v", b"x/v1", b"/w1"]),
        ("^/v[0-9]+", [b"/v1", b"/v12/x"], [b"x/v1"]),
        ("/v1$", [b"/v1"], [b"/v1/", b"/v1\n", b"x/v1"]),
        ("^/v[0-9]$", [b"/v1"], [b"/v12", b"/v1\n"]),
        (r"/v1\$", [b"/v1$", b"/v1$/x"], [b"/v1"]),
        (r"/v1\\$", [b"/v1\\"], [b"/v1\\x", b"/v1\\\n"]),
        ("/v1[$]", [b"/v1$x"], [b"/v1"]),
        ("/a|/b", [b"/a", b"/bc"], [b"x/b"]),
        ("", [b"", b"x"], []),
    ],
)
def test_a_beginning_that_matches(pattern: str, begun: list[bytes], not_begun: list[bytes]) -> None:
    check(pattern)
    matches = beginner(pattern)
    assert [text for text in begun + not_begun if matches(text)] == begun


AMBIGUOUS = "two parts of it can match the same text, which could take more than linear time"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(a+)+", AMBIGUOUS),
        ("(a*)*", AMBIGUOUS),
        ("(a?)*", AMBIGUOUS),
        ("(a?){9}", AMBIGUOUS),
        ("(a|a)*", AMBIGUOUS),
        ("(a|aa)+", AMBIGUOUS),
        ("(x+x+)+y", AMBIGUOUS),
        ("[a-z]*[a-f]*x", AMBIGUOUS),
        (".{0,50}.{0,50}x", AMBIGUOUS),
        ("(a.|.a){20}", AMBIGUOUS),
        ("(.*,)*x", AMBIGUOUS),
        ("a*?a*?b", AMBIGUOUS),
        (r"\d+\w*-", AMBIGUOUS),
        (r"(a)\1", "backreferences are not supported"),
        (r"(a)(?(1)b|c)", "conditions on groups are not supported"),
        ("(?=a).*", "lookarounds are not supported"),
        ("(?<!a)b", "lookarounds are not supported"),
        ("a++b", "possessive repetitions are not supported"),
        ("(?>a)b", "atomic groups are not supported"),
        (r"\bfoo", "no other anchor anywhere"),
        ("a|^b", "no other anchor anywhere"),
        ("(?i)a", "flags are not supported"),
        ("(?i:a)", "flags are not supported"),
        ("[[:alpha:]]", "ambiguous"),
        ("[a--b]", "ambiguous"),
        ("a{1,600}", "it is too large"),
        ("(a{9}){99}", "it is too large"),
        ("(" * 65 + ")" * 65, "it is too large"),
        ("a{99999999999}", "the repetition number is too large"),
        ("(", "missing ), unterminated subpattern at position 0"),
        ("é", "it must be printable ASCII"),
        ("a\nb", "it must be printable ASCII"),
        ("a" * (LONGEST + 1), "it is longer than 1024 characters"),
    ],
)
def test_expressions_that_are_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        check(pattern)


@pytest.mark.parametrize("pattern", [".*a-b.*c", "^/a.*b.*c$", ".*.*a", r"/v1\..*x.*?y", "", "^.*$"])
@given(text=st.text("/ab-c.v1xy\n", max_size=16))
def test_text_with_gaps_is_looked_for_piece_by_piece_and_found_as_by_re(pattern: str, text: str) -> None:
    check(pattern)
    data, bare = text.encode(), pattern.removesuffix("$").encode()
    assert bool(matcher(pattern)(data)) is bool(re.compile(bare, re.DOTALL).fullmatch(data))
    whole = re.compile(bare, re.DOTALL).fullmatch if pattern.endswith("$") else re.compile(bare, re.DOTALL).match
    assert bool(beginner(pattern)(data)) is bool(whole(data))


def test_many_gaps_take_linear_time() -> None:
    began = time.process_time()
    for matches in (matcher(".*a.*b.*c.*d$"), beginner(".*a.*b.*c.*d"), matcher("^(.*?;)?(type=x)(;.*)?$")):
        assert not matches(b"abc;type=y" * 10_000)
    assert time.process_time() - began < 0.5


def test_a_refused_expression_is_a_problem_that_says_why() -> None:
    assert undecoded(said({"path": {"regex": "(a+)+"}})) == {
        "rules[0].match.path.regex": "`regex` must be a regular expression that takes linear time, "
        f'not "(a+)+": {AMBIGUOUS}'
    }


def test_a_check_is_itself_bounded() -> None:
    began = time.process_time()
    for pattern in ("(" + "|".join(f".{{{number}}}a" for number in range(30)) + ")*", ".{0,250}" + "x?" * 200):
        with pytest.raises(ValueError, match=r"too large|two parts"):
            check(pattern)
    assert time.process_time() - began < 0.5


pieces = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", ""])
patterns = st.recursive(
    pieces,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2,3}", "*?", "{2,}"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=10,
)


@examples(500, deadline=None)
@given(patterns, st.text("ab", min_size=1, max_size=4), st.sampled_from(["", "c", "ab", "ba"]))
def test_what_is_accepted_is_fast(pattern: str, text: str, end: str) -> None:
    try:
        check(pattern)
    except ValueError:
        return
    long = (text * 2000 + end).encode()
    began = time.process_time()
    for matches in (matcher(pattern), beginner(pattern), beginner(f"{pattern}$")):
        matches(long)
    # Quadratic would be some seconds, exponential for ever.
    assert time.process_time() - began < 0.3


def test_variables_are_known_and_have_something_to_stand_for() -> None:
    unknown = table({"cluster": "a", "request_headers": {"set": {"x": "%{clint} %{host}"}}})
    assert [message for _, message in problems(unknown)] == [
        "`x` has an unknown variable `%{clint}`: "
        "there are client, host, method, path, cluster, listener, route, identity"
    ]
    ours = table({"reply": {}, "response_headers": {"add": {"x": "%{client}"}}})
    assert [message for _, message in problems(ours)] == ["`x` has a variable, which needs a `cluster` or a `split`"]


def test_what_of_limits_does_not_go_together() -> None:
    redis = {"address": "10.0.0.5:6379", "key": "a"}
    both = {"requests": 1, "by": "path", "redis": redis, "headers": {"content-length": "1"}}
    found = problems(table({"cluster": "a", "filters": [{"rate_limit": both}, {"bandwidth": {"per": "request"}}]}))
    assert {path[2:]: message.partition(":")[0] for path, message in found} == {
        ("filters", 0, "rate_limit", "headers", "content-length"): (
            "`content-length` belongs to the connection, and no rule can change it"
        ),
        ("filters", 0, "rate_limit", "by"): "`by` and `redis` do not go together in this version",
        ("filters", 1, "bandwidth"): "`bandwidth` needs `up`, `down` or both",
    }


def test_rules_that_share_a_limit_say_the_same_of_it() -> None:
    def shared(**more: Any) -> dict[str, Any]:
        return {"cluster": "a", "filters": [{"max_body": 1}, {"rate_limit": {"shared": "all", "requests": 5, **more}}]}

    assert list(problems(table(shared(), {"cluster": "a"}, shared(status=503, announce=False)))) == []
    by_source = shared(by="source")
    assert list(problems(table(by_source, by_source))) == []
    others: list[dict[str, Any]] = [{"requests": 6}, {"per": "2s"}, {"burst": 9}, {"by": "source"}]
    found = dict(problems(table(shared(), *(shared(**other) for other in others))))
    assert {path[1]: path[-1] for path in found} == {1: "requests", 2: "per", 3: "burst", 4: "by"}
    assert set(found.values()) >= {"`burst` must be as in `rules[0]`: they share the limit all"}
    redis = {"address": "10.0.0.5:6379", "key": "a"}
    ((path, message),) = problems(table(shared(redis=redis)))
    assert path[-1] == "shared"
    assert "who says the same `key` of a Redis shares a limit" in message


# What a document makes of it

LISTENER = {"name": "in", "listen": "127.0.0.1:80", "protocol": "http", "routes": "web"}


def combined(**config: Any) -> Config:
    return combine([Document("a.yaml", decode(Config, config), frozenset(config), lambda _: None)])


def uncombined(**config: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        combined(**config)
    return {problem.path: problem.message for problem in caught.value.problems}


def test_a_table_leads_to_clusters_and_a_listener_to_a_table() -> None:
    config = combined(listeners=[LISTENER], routes={"web": [{"cluster": "a"}]}, clusters={"a": {"endpoints": []}})
    assert config.routes == (RouteTable("web", (Rule(cluster="a"),)),)
    assert [chain.routes for chain in config.listeners[0].outcomes] == ["web"]


def test_what_is_named_must_be_there() -> None:
    told = uncombined(
        listeners=[LISTENER | {"routes": "wbe"}],
        routes={"web": [{"split": [{"cluster": "a"}, {"cluster": "boks"}]}, {"cluster": "bokks"}]},
        clusters={"books": {"endpoints": []}, "a": {"endpoints": []}},
    )
    assert told == {
        "listeners[0].routes": "no table of routes `wbe`; did you mean `web`?",
        "routes.web.rules[0].split[1].cluster": "no cluster `boks`; did you mean `books`?",
        "routes.web.rules[1].cluster": "no cluster `bokks`; did you mean `books`?",
    }


def test_what_decides_depends_on_the_protocol() -> None:
    clusters: dict[str, Any] = {"a": {"endpoints": []}}
    tcp = {"name": "in", "listen": "127.0.0.1:80", "protocol": "tcp", "cluster": "a"}
    told = uncombined(
        listeners=[
            LISTENER | {"cluster": "a"},
            tcp | {"name": "two", "listen": "127.0.0.1:81", "routes": "web", "http": {"limits": {"fields": 7}}}
            | {"codec": "h11"},
            {"name": "three", "listen": "127.0.0.1:82", "protocol": "http"},
        ],
        routes={"web": [{"cluster": "a"}]},
        clusters=clusters,
    )
    assert told == {
        "listeners[0].cluster": "`cluster` is for other protocols: `protocol: http` takes `routes`",
        "listeners[1].routes": "`routes` need `protocol` http or auto, not tcp",
        "listeners[1].http": "`http` needs `protocol: http`, not tcp",
        "listeners[1].codec": "`codec` needs `protocol: http`, not tcp",
        "listeners[2]": "listener `three` needs `routes` or `chains`",
    }


@pytest.mark.parametrize("protocol", ["h2c", "H2C"])
def test_an_upgrade_to_http2_cannot_be_admitted(protocol: str) -> None:
    told = uncombined(
        listeners=[{**LISTENER, "http": {"upgrades": ["websocket", protocol]}}],
        routes={"web": [{"reply": {}}]},
        clusters={},
    )
    assert [*told] == ["listeners[0].http.upgrades[1]"]
    assert f"cannot admit {protocol}" in told["listeners[0].http.upgrades[1]"]


def test_a_table_that_leads_back_to_its_listener_is_a_loop() -> None:
    told = uncombined(
        listeners=[LISTENER], routes={"web": [{"cluster": "a"}]}, clusters={"a": {"endpoints": ["127.0.0.1:80"]}}
    )
    assert "leads back to cluster `a`" in told["clusters.a.endpoints[0]"]


def test_a_cluster_with_a_proxy_header_is_for_connections() -> None:
    told = uncombined(
        listeners=[LISTENER],
        routes={"web": [{"cluster": "a"}]},
        clusters={"a": {"endpoints": [], "proxy_protocol": "v1"}},
    )
    assert "needs `protocol: tcp`" in told["routes.web.rules[0].cluster"]


def test_a_table_has_one_definition() -> None:
    config = {"routes": {"web": [{"cluster": "a"}]}, "clusters": {"a": {"endpoints": []}}}
    other: dict[str, Any] = {"routes": {"web": [{"reply": {}}]}}
    documents = [
        Document(name, decode(Config, said), frozenset(said), lambda _: None)
        for name, said in (("a.yaml", config), ("b.yaml", other))
    ]
    with pytest.raises(Invalid, match=r"table of routes `web` is defined twice: first in a\.yaml, routes\.web"):
        combine(documents)
