"""Rules as a matcher: which of them decides about a request, and why no other does.

    router = compile_routes((rule.match, rule) for rule in table.rules)
    route = router.find(b"shop.local:8080", b"/v1/books", b"GET", head)
    route.outcome                       # the rule, or whatever else was given; `route` is None where none is for it
    for verdict in router.explain(b"shop.local", b"/v1/books", b"GET", head):
        print(verdict.route.place, verdict.reason)      # "3 won", "0 path", "7 less specific than the winner"

Of the rules whose every condition holds, the most specific decides: by host (a name, then the longest suffix, then any;
with a port before without), then by path (exact, then expressions as they were first written, then the longest prefix),
then one that names methods, then the number of headers, then of query parameters, then one that names identities, then
what was written first.  In `written` order only the last of these counts.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Generic

from meshproxy.core.condition import Head, Holds, conditions, together
from meshproxy.core.host import ANY, labels, rank, spellings
from meshproxy.core.path import Outcome, Paths, Route, leads_to, prefix_key
from meshproxy.model.matching import PathMatch, RouteMatch, expression
from meshproxy.net.clock import at_once

MOST_REMEMBERED = 1024
LONGEST_REMEMBERED = 255


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Outcome]):
    """What became of one rule. The reason is "won", the first condition that fails, or that another one won."""

    route: Route[Outcome]
    won: bool
    reason: str


def compile_routes(rules: Iterable[tuple[RouteMatch, Outcome]], *, written: bool = False) -> Router[Outcome]:
    """The rules of a table in the order in which they are written, each with what it is to lead to.

    Those for some clients only are there for everybody: `core.clientele` makes a router for each kind of client.
    """
    return at_once(router_of(at_once(routes_of(rules)), written=written))


def routes_of(rules: Iterable[tuple[RouteMatch, Outcome]]) -> Generator[None, None, list[Route[Outcome]]]:
    """As they are written; in steps, for they may be many."""
    # Rules that ask for the same share the function that looks, which then stays in the processor's cache.
    shared: dict[Hashable, Holds | None] = {}
    routes = []
    for place, (match, outcome) in enumerate(rules):
        match = placed(match)
        asked = (match.methods, match.headers, match.query, match.grpc is None)
        if asked not in shared:
            shared[asked] = together(conditions(match))
        routes.append(Route(outcome, match, place, shared[asked]))
        yield
    return routes


def router_of(
    routes: Sequence[Route[Outcome]], absent: Collection[int] = (), *, written: bool = False
) -> Generator[None, None, Router[Outcome]]:
    """Among all routes but those whose places are absent: they are not for who asks.  In steps too."""
    there = [route for route in routes if route.place not in absent] if absent else routes
    if not written:
        there = by_specificity(there)
    yield
    by_host = yield from _by_host(there)
    return (WrittenRouter if written else Router)(routes, there, by_host)


def _by_host(routes: Sequence[Route[Outcome]]) -> Generator[None, None, dict[bytes, Paths[Outcome]]]:
    """Hosts that rules always name together, as the many names of one service, share what is compiled for them."""
    together: dict[tuple[str, ...], list[int]] = {}
    for number, route in enumerate(routes):
        together.setdefault(route.match.hosts, []).append(number)
    yield
    numbers: dict[bytes, list[list[int]]] = {}
    for names, of_them in together.items():
        for host in encoded(names):
            numbers.setdefault(host, []).append(of_them)
        yield
    shared: dict[tuple[int, ...], Paths[Outcome]] = {}
    found = {}
    for host, lists in numbers.items():
        same = tuple(sorted({*chain(*lists)}) if len(lists) > 1 else lists[0])
        if same not in shared:
            shared[same] = Paths([routes[number] for number in same])
        found[host] = shared[same]
        yield
    return found


def considered(
    rules: Iterable[tuple[RouteMatch, Outcome]], *, written: bool = False
) -> Iterable[tuple[RouteMatch, Outcome]]:
    """The rules of a table in the order in which they are considered, for whoever lists them without a request.

    One with several hosts stands where the first of them does.
    """
    if written:
        return rules
    routes = by_specificity(
        Route(outcome, placed(match), place, None) for place, (match, outcome) in enumerate(rules)
    )
    by_host: dict[bytes, list[Route[Outcome]]] = {}
    for route in routes:
        by_host.setdefault(min(hosts(route), key=rank), []).append(route)
    return [(route.match, route.outcome) for host in sorted(by_host, key=rank) for route in by_host[host]]


def placed(match: RouteMatch) -> RouteMatch:
    """With the path of what it says of gRPC."""
    return match if match.grpc is None else replace(match, path=match.grpc.path)


def by_specificity(routes: Iterable[Route[Outcome]]) -> list[Route[Outcome]]:
    """The most specific first, for one host."""
    first_written: dict[PathMatch, int] = {}

    def key(route: Route[Outcome]) -> tuple[int, ...]:
        match = route.match
        if match.path and match.path.exact is not None:
            path = (0, 0)
        elif match.path and expression(match.path) is not None:
            path = (1, first_written.setdefault(match.path, route.place))
        else:
            path = (2, -len(prefix_key(match.path)) if match.path else 0)
        counted = not match.methods, -len(match.headers), -len(match.query), not match.identities
        return (*path, *counted, route.place)

    return sorted(routes, key=key)


class Router(Generic[Outcome]):
    """The most specific rule decides."""

    __slots__ = ("_for_any", "_hosts", "_most_labels", "_named", "_others", "_routes", "_there")

    lost = "less specific than the winner"

    def __init__(
        self, routes: Sequence[Route[Outcome]], there: Sequence[Route[Outcome]], by_host: dict[bytes, Paths[Outcome]]
    ) -> None:
        """`routes` are all as they are written, `there` those among which it finds one, the best first."""
        self._routes = routes
        self._there = there
        self._hosts = by_host
        self._most_labels = max(map(labels, by_host), default=0)
        self._named: dict[bytes, tuple[Paths[Outcome], ...]] = {}
        """What stands for a host that rules name, since it was asked for."""
        self._for_any = self._paths(ANY) if by_host.keys() == {ANY} else None
        """Where no rule names a host, none need be looked at."""
        self._others: dict[bytes, tuple[Paths[Outcome], ...]] = {}
        """Of hosts that no rule names in this spelling; clients make them up, so only so many are remembered."""

    def find(self, host: bytes, path: bytes, method: bytes, head: Head) -> Route[Outcome] | None:
        """`host` as it was sent, `path` normalised and without the query."""
        for paths in self._for_any or self._named.get(host) or self._other(host):
            route = paths.only or paths.find(path, method, head)
            if route is not None:
                return route
        return None

    def explain(self, host: bytes, path: bytes, method: bytes, head: Head) -> list[Verdict[Outcome]]:
        """A verdict for every rule, in the order in which they are considered."""
        asked = {spelling: rank for rank, spelling in reversed([*enumerate(spellings(host, self._most_labels))])}
        winner = self.find(host, path, method, head)
        there = {route.place for route in self._there}
        verdicts = []
        for route in self._considered(asked):
            reason = self._why_not(route, asked, path, method, head)
            if reason is None and route.place not in there:
                reason = "identity"
            won = route is winner
            verdicts.append(Verdict(route, won, "won" if won else reason or self.lost))
        return verdicts

    def _considered(self, asked: dict[bytes, int]) -> Sequence[Route[Outcome]]:
        """By host, then as sorted; those for other hosts at the end."""
        routes = by_specificity(self._routes)
        return sorted(routes, key=lambda route: min(asked.get(host, len(asked)) for host in hosts(route)))

    @staticmethod
    def _why_not(route: Route[Outcome], asked: dict[bytes, int], path: bytes, method: bytes, head: Head) -> str | None:
        """The first thing that does not hold."""
        if asked.keys().isdisjoint(hosts(route)):
            return "host"
        if not leads_to(path, route.match.path):
            return "path"
        return next((each.name for each in conditions(route.match) if not each.holds(method, head)), None)

    def _other(self, host: bytes) -> tuple[Paths[Outcome], ...]:
        found = self._others.get(host)
        if found is None:
            found = self._paths(host)
            if host in self._hosts:
                self._named[host] = found
            elif len(host) <= LONGEST_REMEMBERED:
                if len(self._others) >= MOST_REMEMBERED:
                    self._others.clear()
                self._others[host] = found
        return found

    def _paths(self, host: bytes) -> tuple[Paths[Outcome], ...]:
        return tuple(
            self._hosts[spelling] for spelling in spellings(host, self._most_labels) if spelling in self._hosts
        )


class WrittenRouter(Router[Outcome]):
    """The first rule as written decides."""

    __slots__ = ()

    lost = "written after the winner"

    def find(self, host: bytes, path: bytes, method: bytes, head: Head) -> Route[Outcome] | None:
        best = None
        for paths in self._named.get(host) or self._other(host):
            best = paths.earliest(path, method, head, best)
        return best

    def _considered(self, asked: dict[bytes, int]) -> Sequence[Route[Outcome]]:
        return self._routes


def hosts(route: Route[Outcome]) -> list[bytes]:
    return encoded(route.match.hosts)


def encoded(names: tuple[str, ...]) -> list[bytes]:
    return [host.encode("ascii") for host in names or ("*",)]
