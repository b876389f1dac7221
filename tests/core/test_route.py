"""Which rule decides about a request: Gateway API's order, conditions, hosts, and a naive reference that agrees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core import route as module
from meshproxy.core.condition import parameters
from meshproxy.core.route import Router, compile_routes, considered
from meshproxy.model import decode
from meshproxy.model.matching import PathMatch, RouteMatch, ValueMatch
from tests.examples import examples


@dataclass
class Head:
    fields: Mapping[bytes, bytes] = field(default_factory=dict)
    target: bytes = b"/"

    def get(self, name: bytes) -> bytes | None:
        return self.fields.get(name)


PLAIN = Head()


def router(*matches: dict[str, Any], written: bool = False) -> Router[int]:
    decoded = [decode(RouteMatch, match) for match in matches]
    return compile_routes([(match, place) for place, match in enumerate(decoded)], written=written)


def find(
    router: Router[int], host: bytes = b"a", path: bytes = b"/", method: bytes = b"GET", head: Head = PLAIN
) -> int | None:
    found = router.find(host, path, method, head)
    return None if found is None else found.outcome


def exact(path: str, **more: Any) -> dict[str, Any]:
    return {"path": {"exact": path}, **more}


def prefix(path: str, **more: Any) -> dict[str, Any]:
    return {"path": {"prefix": path}, **more}


def regex(pattern: str, **more: Any) -> dict[str, Any]:
    return {"path": {"regex": pattern}, **more}


def begins(pattern: str, **more: Any) -> dict[str, Any]:
    return {"path": {"begins": pattern}, **more}


def hosts(*names: str, **more: Any) -> dict[str, Any]:
    return {"hosts": list(names), **more}


X1, X2 = {"x": {"exact": "1"}}, {"x": {"exact": "1"}, "y": {"exact": "1"}}
BOTH = Head({b"x": b"1", b"y": b"1"}, b"/p?x=1&y=1")


# Specificity: of two rules that both match, whichever was written first


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (hosts("a.b.c"), hosts("*.b.c", **exact("/p/q", methods=["GET"], headers=X2))),
        (hosts("a.b.c:80"), hosts("a.b.c", **exact("/p/q"))),
        (hosts("*.b.c"), hosts("*.c", **exact("/p/q"))),
        (hosts("*.b.c"), hosts("*.c:80", **exact("/p/q"))),
        (hosts("*.b.c:80"), hosts("*.b.c", **exact("/p/q"))),
        (hosts("*.c"), hosts("*", **exact("/p/q"))),
        (hosts("*.c"), exact("/p/q")),
        (exact("/p/q"), regex("/p/q", methods=["GET"], headers=X2, query=X2)),
        (exact("/p/q"), prefix("/p/q", methods=["GET"], headers=X2, query=X2)),
        (exact("/p/q"), begins("/p/q", methods=["GET"], headers=X2, query=X2)),
        (begins("/"), prefix("/p/q", methods=["GET"], headers=X2, query=X2)),
        (regex("/.*"), prefix("/p/q", methods=["GET"], headers=X2, query=X2)),
        (prefix("/p/q"), prefix("/p", methods=["GET"], headers=X2, query=X2)),
        (prefix("/p"), prefix("/", methods=["GET"], headers=X2, query=X2)),
        (prefix("/p"), {"methods": ["GET"], "headers": X2, "query": X2}),
        (prefix("/p", methods=["GET", "PUT"]), prefix("/p/", headers=X2, query=X2)),
        ({"headers": X2}, prefix("/", headers=X1, query=X2)),
        ({"headers": X1}, {"query": X2}),
        ({"query": X2}, {"query": X1}),
        ({"query": X1}, {}),
    ],
)
def test_the_more_specific_rule_decides(better: dict[str, Any], worse: dict[str, Any]) -> None:
    asked = (b"a.b.c:80", b"/p/q", b"GET", BOTH)
    assert find(router(worse, better), *asked) == 1
    assert find(router(better, worse), *asked) == 0
    # Each of them does match, so that it was the order that decided.
    assert find(router(worse), *asked) == find(router(better), *asked) == 0
    assert find(router(worse, better, written=True), *asked) == 0


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize(
    "match", [{}, exact("/"), prefix("/", methods=["GET"]), regex("/.*"), hosts("a"), {"headers": X1}]
)
def test_of_equals_the_first_as_written_decides(match: dict[str, Any], written: bool) -> None:
    assert find(router(match, match, written=written), head=BOTH) == 0


def test_a_path_that_is_not_said_is_prefix_root() -> None:
    assert find(router(prefix("/"), {})) == 0
    assert find(router({}, prefix("/"))) == 0
    assert find(router(prefix("/")), path=b"*", method=b"OPTIONS") == 0


def test_an_expression_ranks_by_where_it_is_first_written() -> None:
    rules = router(regex("/a.*", headers=X1), regex("/ab", methods=["GET"]), regex("/a.*"))
    assert find(rules, path=b"/ab") == 2
    assert find(rules, path=b"/ab", head=BOTH) == 0


def test_an_expression_for_a_beginning_is_another_one_than_for_the_whole_and_ranks_with_it() -> None:
    rules = router(regex("/a"), begins("/a", headers=X1), prefix("/"), begins("/a"), begins("/a/b"))
    assert [find(rules, path=path) for path in (b"/a", b"/a/b", b"/b")] == [0, 3, 2]
    assert find(rules, path=b"/a/b", head=BOTH) == 1


def test_a_rule_whose_conditions_fail_leaves_the_request_to_the_next_whatever_its_path() -> None:
    rules = router(
        exact("/a/b", methods=["PUT"]),
        regex("/a/.", methods=["POST"]),
        prefix("/a/b", headers=X1),
        prefix("/a", methods=["HEAD"]),
        hosts("a", **prefix("/c")),
    )
    assert [find(rules, path=b"/a/b", method=method) for method in (b"PUT", b"POST", b"HEAD", b"GET")] == [
        0,
        1,
        3,
        None,
    ]
    assert find(rules, path=b"/a/b", head=BOTH) == 2


def test_the_first_as_written_may_stand_in_any_table() -> None:
    rules = router(
        regex("/x"),
        prefix("/a", methods=["PUT"]),
        hosts("*.b", **regex("/a/.*", headers=X1)),
        hosts("a.b", **exact("/a/b", methods=["GET"])),
        {},
        hosts("a.b", **prefix("/a/b")),
        regex("/a/b"),
        written=True,
    )
    assert find(rules, b"a.b", b"/a/b", b"PUT", BOTH) == 1
    assert find(rules, b"a.b", b"/a/b", b"GET", BOTH) == 2
    assert find(rules, b"a.b", b"/a/b") == 3
    assert find(rules, b"a.b", b"/a/b", b"HEAD") == 4
    assert find(rules, b"a.b", b"/x") == 0


# Hosts


@pytest.mark.parametrize(
    ("rule", "taken", "not_taken"),
    [
        (
            "shop.local",
            [b"shop.local", b"Shop.LOCAL", b"shop.local:80", b"shop.local:"],
            [b"xshop.local", b"a.shop.local"],
        ),
        ("shop.local:80", [b"shop.local:80", b"SHOP.local:80"], [b"shop.local", b"shop.local:8080", b"shop.local:"]),
        ("*.shop.local", [b"a.shop.local", b"A.b.Shop.local:1"], [b"shop.local", b"ashop.local", b"shop.local.a"]),
        ("*.shop.local:80", [b"a.shop.local:80", b"a.b.shop.local:80"], [b"a.shop.local", b"a.shop.local:81"]),
        ("[::1]", [b"[::1]", b"[::1]:80"], [b"[::2]", b"::1", b"[::1]x"]),
        ("[::1]:80", [b"[::1]:80"], [b"[::1]", b"[::1]:81"]),
        ("*", [b"", b"x", b":", b"\xff\x00", b"a" * 9000, b"." * 9000, b":" * 9000], []),
    ],
)
def test_which_hosts_a_rule_takes(rule: str, taken: list[bytes], not_taken: list[bytes]) -> None:
    rules = router(hosts("other"), hosts("unlike", rule))
    for _ in "once and remembered":
        assert [find(rules, host) for host in taken] == [1] * len(taken)
        assert [find(rules, host) for host in not_taken] == [None] * len(not_taken)


def test_remembered_hosts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REMEMBERED", 3)
    rules = router(hosts("*.a"))
    for number in range(20):
        assert find(rules, b"%d.a" % number) == 0
        assert find(rules, b"%d.%b.a" % (number, b"x" * 255)) == 0
        assert len(rules._others) <= 3
        assert max(map(len, rules._others)) <= 255


# Paths


@pytest.mark.parametrize(
    ("rule", "taken", "not_taken"),
    [
        (exact("/a"), [b"/a"], [b"/a/", b"/A", b"/ab", b"/"]),
        (exact("/a/"), [b"/a/"], [b"/a"]),
        (prefix("/a"), [b"/a", b"/a/", b"/a/b", b"/a//", b"/a/b/c/d"], [b"/ab", b"/", b"", b"/A", b"a", b"//a"]),
        (prefix("/a/"), [b"/a", b"/a/", b"/a/b"], [b"/ab"]),
        (prefix("/a//"), [b"/a/", b"/a//b"], [b"/a", b"/a/b"]),
        (prefix("/a/b"), [b"/a/b", b"/a/b/c"], [b"/a", b"/a/", b"/a/bc", b"/a//b"]),
        (prefix("/"), [b"/", b"/a", b"", b"*", b"\xff", b"/" * 9000], []),
        (regex("/a+"), [b"/a", b"/aa"], [b"/a/", b"/ab", b"x/a", b"/a\n"]),
        (regex("/.*"), [b"/", b"/\n\xff\x00"], [b"", b"*"]),
        (begins("/v[0-9]+"), [b"/v1", b"/v12x", b"/v1/x"], [b"/v", b"/v/1", b"x/v1"]),
        (begins("^/v[0-9]+$"), [b"/v1", b"/v12"], [b"/v1x", b"/v1/x", b"/v1\n"]),
        ({}, [b"/", b"", b"*", b"\xff\x00"], []),
    ],
)
def test_which_paths_a_rule_takes(rule: dict[str, Any], taken: list[bytes], not_taken: list[bytes]) -> None:
    # A longer prefix beside it, so that paths are cut.
    for rules in (router(rule), router(rule, prefix("/q/q/q"))):
        assert [find(rules, path=path) for path in taken] == [0] * len(taken)
        assert [find(rules, path=path) for path in not_taken] == [None] * len(not_taken)


def test_the_longest_prefix_is_by_segments() -> None:
    rules = router(prefix("/a"), prefix("/a/b/c"), prefix("/a/bc"), prefix("/a/b/c/d/e"))
    wanted = {b"/a/b": 0, b"/a/bcd": 0, b"/a/bc": 2, b"/a/b/c/d": 1, b"/a/b/c/d/e/f/g": 3, b"/a/b/c/d/ef": 1}
    assert {path: find(rules, path=path) for path in wanted} == wanted


# Conditions


@pytest.mark.parametrize(
    ("match", "taken", "not_taken"),
    [
        ({"exact": "1"}, [b"1"], [None, b"", b"11", b"1, 1"]),
        ({"exact": ""}, [b""], [None, b"1"]),
        ({"prefix": "ab"}, [b"ab", b"abc"], [None, b"a", b"AB"]),
        ({"regex": "v[0-9]+"}, [b"v1", b"v22"], [None, b"v", b"v1x", b"xv1", b"v1\n"]),
        ({"begins": "v[0-9]+"}, [b"v1", b"v22", b"v1x", b"v1\n"], [None, b"v", b"xv1"]),
        ({"begins": "v[0-9]$"}, [b"v1"], [None, b"v22", b"v1\n"]),
        ({"present": True}, [b"", b"1"], [None]),
        ({"present": False}, [None], [b"", b"1"]),
    ],
)
def test_values_of_headers_and_parameters(
    match: dict[str, Any], taken: list[bytes | None], not_taken: list[bytes | None]
) -> None:
    by_header, by_query = router({"headers": {"X-Beta": match}}), router({"query": {"beta": match}})
    for value in taken + not_taken:
        wanted = 0 if value in taken else None
        assert find(by_header, head=Head({} if value is None else {b"x-beta": value})) == wanted
        assert find(by_query, head=Head({}, b"/" if value is None else b"/?beta=" + value)) == wanted


def test_every_condition_must_hold() -> None:
    rules = router({"methods": ["GET", "PUT"], "headers": X2, "query": X1})
    assert find(rules, head=BOTH) == 0
    assert find(rules, method=b"PUT", head=BOTH) == 0
    assert find(rules, method=b"POST", head=BOTH) is None
    assert find(rules, method=b"get", head=BOTH) is None
    assert find(rules, head=Head(BOTH.fields)) is None
    assert find(rules, head=Head({b"x": b"1"}, BOTH.target)) is None


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (b"/", {b"": b""}),
        (b"/?a=1&b=2", {b"a": b"1", b"b": b"2"}),
        (b"/?a=1&a=2", {b"a": b"1"}),
        (b"/?a&b=", {b"a": b"", b"b": b""}),
        (b"/?a=1=2?3", {b"a": b"1=2?3"}),
        (b"/?%61+b=%20+%zz%", {b"a b": b"  %zz%"}),
        (b"/?\xff=\x00", {b"\xff": b"\x00"}),
    ],
)
def test_parameters(target: bytes, wanted: dict[bytes, bytes]) -> None:
    assert parameters(target) == wanted


def test_the_query_is_not_looked_at_where_no_rule_asks_for_it() -> None:
    class NoTarget(Head):
        def __getattribute__(self, name: str) -> Any:
            assert name != "target"
            return super().__getattribute__(name)

    rules = router({"methods": ["PUT"], "query": X1}, prefix("/", headers=X1), {})
    assert find(rules, head=NoTarget({b"x": b"1"})) == 1


# Explanations


def test_every_rule_is_told_why() -> None:
    rules = router(
        {},
        prefix("/a"),
        exact("/b"),
        hosts("other"),
        prefix("/a", methods=["PUT"]),
        prefix("/a/b", headers=X2),
        prefix("/a/b", query=X1),
        hosts("*.b", **prefix("/c")),
    )
    verdicts = rules.explain(b"a.b", b"/a/b", b"GET", Head({b"x": b"1"}))
    assert [(verdict.route.outcome, verdict.reason, verdict.won) for verdict in verdicts] == [
        (7, "path", False),
        (2, "path", False),
        (5, "header y", False),
        (6, "query x", False),
        (4, "method", False),
        (1, "won", True),
        (0, "less specific than the winner", False),
        (3, "host", False),
    ]


def test_in_written_order_it_is_the_place_that_loses() -> None:
    rules = router(exact("/b"), {}, exact("/a"), hosts("b"), written=True)
    assert [verdict.reason for verdict in rules.explain(b"a", b"/a", b"GET", PLAIN)] == [
        "path",
        "won",
        "written after the winner",
        "host",
    ]


def test_a_list_of_rules_is_in_the_order_in_which_they_are_considered() -> None:
    matches = [
        {}, prefix("/long/prefix"), hosts("*.a"), hosts("*.b.a"), hosts("b"), hosts("b:80"), hosts("b", **prefix("/x")),
        hosts("[::1]"), hosts("[::1]:80"), hosts("*", "b", **exact("/x")),
    ]  # fmt: skip
    rules = [(decode(RouteMatch, match), place) for place, match in enumerate(matches)]
    assert [place for _, place in considered(rules)] == [8, 7, 5, 9, 6, 4, 3, 2, 1, 0]
    assert [place for _, place in considered(rules, written=True)] == [*range(len(rules))]


# The reference: it knows the words of the documentation, and nothing of how rules are compiled

NAMES = ["a", "b.a", "c.b.a", "*.a", "*.b.a", "*", "a:1", "*.a:1", "b.a:2"]
PATHS = ["/", "/a", "/a/", "/a/b", "/b", "/a/b/c", "/ab"]
EXPRESSIONS = ["/a.*", "/.*", "/(a|b)/?", "/a/b", "[^/]*/b"]

values = st.one_of(
    st.builds(ValueMatch, exact=st.sampled_from(["1", "2"])),
    st.builds(ValueMatch, prefix=st.just("1")),
    st.builds(ValueMatch, present=st.booleans()),
)
asked_for = st.dictionaries(st.sampled_from(["x", "y"]), values, max_size=2).map(lambda found: tuple(found.items()))
matches = st.builds(
    RouteMatch,
    hosts=st.lists(st.sampled_from(NAMES), max_size=2).map(tuple),
    path=st.one_of(
        st.none(),
        st.builds(PathMatch, exact=st.sampled_from(PATHS)),
        st.builds(PathMatch, prefix=st.sampled_from(PATHS)),
        st.builds(PathMatch, regex=st.sampled_from(EXPRESSIONS)),
        st.builds(PathMatch, begins=st.sampled_from(EXPRESSIONS)),
    ),
    methods=st.sampled_from([(), (), ("GET",), ("GET", "PUT"), ("PUT",)]),
    headers=asked_for,
    query=asked_for,
)
given_values = st.dictionaries(st.sampled_from([b"x", b"y"]), st.sampled_from([b"1", b"2", b"12"]))
heads = st.builds(
    lambda headers, query: Head(headers, b"/?" + b"&".join(b"%b=%b" % pair for pair in query.items())),
    given_values,
    given_values,
)
requests = st.tuples(
    st.sampled_from([b"a", b"A:1", b"b.a", b"B.a:2", b"c.b.a:1", b"d.c.b.a", b"x", b"a:"]),
    st.sampled_from([*(path.encode() for path in PATHS), b"/a//", b"/a/b/c/d", b"/abc", b"*", b""]),
    st.sampled_from([b"GET", b"PUT"]),
    heads,
)
Request = tuple[bytes, bytes, bytes, Head]


def host_rank(host: str, asked: bytes) -> tuple[int, int, int] | None:
    name, _, port = asked.decode().lower().partition(":")
    wanted, _, wanted_port = host.partition(":")
    if wanted_port not in ("", port):
        return None
    if wanted == "*":
        return (0, 0, 0)
    if wanted.startswith("*."):
        return (1, len(wanted), bool(wanted_port)) if name.endswith(wanted[1:]) else None
    return (2, 0, bool(wanted_port)) if name == wanted else None


def path_rank(path: PathMatch | None, asked: bytes, first_written: list[PathMatch]) -> tuple[int, int] | None:
    text = asked.decode()
    if path is None or path.prefix == "/":
        return (0, 0)
    if path.exact is not None:
        return (2, 0) if text == path.exact else None
    if path.regex is not None:
        return (1, -first_written.index(path)) if re.fullmatch(path.regex, text) else None
    if path.begins is not None:
        return (1, -first_written.index(path)) if re.match(path.begins, text) else None
    assert path.prefix is not None
    wanted = path.prefix.removesuffix("/")
    return (0, len(wanted)) if f"{text}/".startswith(f"{wanted}/") else None


def value_fits(match: ValueMatch, value: bytes | None) -> bool:
    if match.present is not None:
        return match.present is (value is not None)
    if value is None:
        return False
    return value.decode() == match.exact if match.exact else value.decode().startswith(match.prefix or "")


def reference(rules: list[RouteMatch], request: Request, written: bool) -> int | None:
    host, path, method, head = request
    query = dict(pair.partition(b"=")[::2] for pair in head.target[2:].split(b"&"))
    expressions = [rule.path for rule in rules if rule.path and (rule.path.regex or rule.path.begins)]
    candidates = []
    for place, rule in enumerate(rules):
        by_host = [rank for name in rule.hosts or ("*",) if (rank := host_rank(name, host))]
        by_path = path_rank(rule.path, path, expressions)
        if (
            by_host
            and by_path
            and (not rule.methods or method.decode() in rule.methods)
            and all(value_fits(match, head.get(name.encode())) for name, match in rule.headers)
            and all(value_fits(match, query.get(name.encode())) for name, match in rule.query)
        ):
            order = (max(by_host), by_path, bool(rule.methods), len(rule.headers), len(rule.query))
            candidates.append((None if written else order, -place))
    return -max(candidates, key=lambda each: each[1] if written else each)[1] if candidates else None


@examples(300, deadline=None)
@given(st.lists(matches, max_size=8), st.lists(requests, min_size=1, max_size=4), st.booleans())
def test_the_router_agrees_with_a_reference_and_with_its_own_explanation(
    rules: list[RouteMatch], asked: list[Request], written: bool
) -> None:
    compiled = compile_routes([(match, place) for place, match in enumerate(rules)], written=written)
    for request in asked:
        wanted = reference(rules, request, written)
        assert find(compiled, *request) == wanted
        verdicts = compiled.explain(*request)
        assert sorted(verdict.route.place for verdict in verdicts) == [*range(len(rules))]
        assert [verdict.route.place for verdict in verdicts if verdict.won] == ([] if wanted is None else [wanted])
        behind = False
        for verdict in verdicts:
            # Before the winner nobody is less specific, and without one nobody at all.
            assert behind or verdict.reason != Router.lost
            assert behind or verdict.reason != "written after the winner"
            behind = behind or verdict.won


@examples(200)
@given(st.lists(matches.filter(lambda match: len(match.hosts) < 2), max_size=6), st.sampled_from(NAMES))
def test_a_list_has_the_rules_in_the_order_of_an_explanation(rules: list[RouteMatch], host: str) -> None:
    """As far as they are for the host: the others follow, and there nothing is considered."""
    numbered = [(match, place) for place, match in enumerate(rules)]
    verdicts = compile_routes(numbered).explain(host.encode(), b"/", b"GET", PLAIN)
    explained = [verdict.route.place for verdict in verdicts if verdict.reason != "host"]
    assert [place for _, place in considered(numbered) if place in explained] == explained


@given(st.binary(max_size=30), st.binary(max_size=30), st.binary(max_size=5), st.binary(max_size=30))
def test_no_bytes_raise(host: bytes, path: bytes, method: bytes, target: bytes) -> None:
    matches = [{"query": X1}, hosts("*.a:1", **prefix("/a/b")), exact("/a", headers=X1), regex("/(a|b)*")]
    for written in (False, True):
        rules = router(*matches, written=written)
        find(rules, host, path, method, Head({b"x": target}, target))
        rules.explain(host, path, method, Head({b"x": target}, target))


def test_a_table_of_many_rules() -> None:
    rules = router(*[prefix(f"/a/{number}") for number in range(20_000)], {})
    assert find(rules, path=b"/a/19999/x") == 19_999
    assert find(rules, path=b"/a/20000/x") == 20_000
    assert len(rules.explain(b"a", b"/a/7", b"GET", PLAIN)) == 20_001
