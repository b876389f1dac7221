"""Rules for some clients only: whoever else asks is served as if they were not there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core import clientele as module
from meshproxy.core.clientele import Routers
from meshproxy.core.condition import Head
from meshproxy.core.route import compile_routes
from meshproxy.model.matching import PathMatch, RouteMatch
from tests.examples import examples

DOMAIN = "cluster.local"
WEB, SHOP, DNS = f"spiffe://{DOMAIN}/ns/shop/sa/web", f"spiffe://{DOMAIN}/ns/shop/sa/buyer", "web.shop"
TO_WHOM = {"shop/web": {WEB}, "shop/*": {WEB, SHOP}, "*.shop": {DNS}, "*": {WEB, SHOP, DNS, "nobody.else"}}


class Plain:
    target = b"/"

    def get(self, name: bytes) -> None:
        """No field."""


PLAIN: Head = Plain()

matches = st.builds(
    RouteMatch,
    path=st.one_of(
        st.none(),
        st.builds(PathMatch, exact=st.sampled_from(["/a", "/b"])),
        st.builds(PathMatch, prefix=st.sampled_from(["/", "/a"])),
        st.builds(PathMatch, begins=st.sampled_from(["/a", "/[ab]", "/.*"])),
    ),
    methods=st.sampled_from([(), ("GET",)]),
    identities=st.lists(st.sampled_from([*TO_WHOM]), max_size=2, unique=True).map(tuple),
)


@examples(300)
@given(st.lists(matches, max_size=8), st.sampled_from(["", WEB, SHOP, DNS, "nobody.else"]), st.booleans())
def test_a_rule_for_others_is_not_there(rules: list[RouteMatch], identity: str, written: bool) -> None:
    routers = Routers([(match, place) for place, match in enumerate(rules)], DOMAIN, written=written)
    there = [
        (match, place)
        for place, match in enumerate(rules)
        if not match.identities or any(identity in TO_WHOM[whom] for whom in match.identities)
    ]
    alone = compile_routes(there, written=written)
    for path in (b"/", b"/a", b"/a/b", b"/b", b"/c"):
        for method in (b"GET", b"PUT"):
            wanted = alone.find(b"x", path, method, PLAIN)
            found = routers[identity].find(b"x", path, method, PLAIN)
            assert (found and found.outcome) == (wanted and wanted.outcome)
            verdicts = routers[identity].explain(b"x", path, method, PLAIN)
            assert sorted(verdict.route.place for verdict in verdicts) == [*range(len(rules))]
            assert [each.route.outcome for each in verdicts if each.won] == ([wanted.outcome] if wanted else [])
            kept = {place for _, place in there}
            assert not any(each.reason == "identity" for each in verdicts if each.route.place in kept)


def test_of_equals_the_one_that_names_identities_decides() -> None:
    routers = Routers([(RouteMatch(), 0), (RouteMatch(identities=("shop/web",)), 1)], DOMAIN)
    found = [routers[identity].find(b"x", b"/", b"GET", PLAIN) for identity in (WEB, SHOP)]
    assert [route and route.outcome for route in found] == [1, 0]


def test_those_who_have_the_same_rules_have_the_same_router() -> None:
    routers = Routers([(RouteMatch(identities=("shop/*",)), 0), (RouteMatch(identities=("*.shop",)), 1)], DOMAIN)
    assert routers.only is None
    assert routers[WEB] is routers[SHOP]
    assert routers[WEB] is not routers[DNS]
    assert routers[""] is routers["nobody.else"]


def test_where_no_rule_names_anybody_there_is_one_router() -> None:
    routers = Routers([(RouteMatch(), 0)], DOMAIN)
    assert routers.only is routers[WEB] is routers[""]


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROUTERS", 3)
    routers = Routers([(RouteMatch(identities=(f"shop/s{number}",)), number) for number in range(9)], DOMAIN)
    for number in range(9):
        router = routers[f"spiffe://{DOMAIN}/ns/shop/sa/s{number}"]
        route = router.find(b"x", b"/", b"GET", PLAIN)
        assert route is not None
        assert route.outcome == number
    assert routers._router.cache_info().currsize == 3
