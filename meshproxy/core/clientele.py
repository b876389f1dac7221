"""Routers of a table in which some rules are for some clients only: one for each set of rules that clients have.

    routers = Routers([(rule.match, rule) for rule in table.rules], "cluster.local")
    routers["spiffe://cluster.local/ns/shop/sa/web"].find(...)      # among the rules that are for this client
    routers[""]                                                     # and for who has proved nothing

Who a client is is known once for its connection, so no request pays for it.  Clients that have the same rules have the
same router, which is made when the first of them comes; only so many are remembered.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from functools import lru_cache
from typing import Generic

from meshproxy.core.by_identity import ByIdentity
from meshproxy.core.path import Outcome
from meshproxy.core.route import Router, router_of, routes_of
from meshproxy.model.matching import RouteMatch
from meshproxy.net.clock import at_once

MOST_ROUTERS = 64


class Routers(Generic[Outcome]):
    __slots__ = ("_named", "_router", "only")

    def __init__(
        self, rules: Iterable[tuple[RouteMatch, Outcome]], trust_domain: str, *, written: bool = False
    ) -> None:
        at_once(self._compile(rules, trust_domain, written))

    @classmethod
    def in_steps(
        cls, rules: Iterable[tuple[RouteMatch, Outcome]], trust_domain: str, *, written: bool = False
    ) -> Generator[None, None, Routers[Outcome]]:
        """The same, where others wait."""
        made: Routers[Outcome] = cls.__new__(cls)
        yield from made._compile(rules, trust_domain, written)
        return made

    def _compile(
        self, rules: Iterable[tuple[RouteMatch, Outcome]], trust_domain: str, written: bool
    ) -> Generator[None, None, None]:
        routes = yield from routes_of(rules)
        named = [(route.match.identities, route.place) for route in routes if route.match.identities]
        self._named = ByIdentity(named, trust_domain) if named else None
        """The places of the rules that are for a client, beside those for everybody."""

        @lru_cache(MOST_ROUTERS)
        def router(places: tuple[int, ...]) -> Router[Outcome]:
            absent = {place for _, place in named}.difference(places)
            return at_once(router_of(routes, absent, written=written))

        self._router = router
        self.only = (yield from router_of(routes, written=written)) if not named else None
        """The router for everybody; None where it depends."""

    def __getitem__(self, identity: str) -> Router[Outcome]:
        return self.only or self._router(self._named[identity] if self._named is not None else ())
