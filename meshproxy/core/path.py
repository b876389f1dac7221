"""From a path to the routes that stand for it: exact ones by one look-up, prefixes by few, expressions one by one.

    paths = Paths(routes)                       # in the order in which they are to be tried
    paths.find(b"/v1/x", b"GET", head)          # of the most specific path, the first whose conditions hold
    paths.earliest(b"/v1/x", b"GET", head, None)    # of all paths, the first as written

The cost does not grow with the number of exact paths and prefixes. It grows with that of expressions, and with that of
routes for one path that differ in their conditions only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from meshproxy.core.condition import Head, Holds
from meshproxy.model.matching import PathMatch, RouteMatch, expression

Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True, eq=False)
class Route(Generic[Outcome]):
    """A rule as it is compiled."""

    outcome: Outcome
    match: RouteMatch
    place: int
    """Among the rules as they were written, from 0."""
    holds: Holds | None
    """Its conditions beside host and path; None: there are none."""


Routes = tuple[Route[Outcome], ...]


class Prefix(Generic[Outcome]):
    """The routes of a prefix, and the next shorter prefix."""

    __slots__ = ("above", "routes")

    def __init__(self, routes: Routes[Outcome]) -> None:
        self.routes = routes
        self.above: Prefix[Outcome] | None = None


NONE: dict[bytes, Any] = {}
"""Shared by all that have none: of ten thousand hosts most have no exact path, or nothing else."""


class Paths(Generic[Outcome]):
    """The routes of one host, by path."""

    __slots__ = ("_exact", "_expressions", "_most_segments", "_prefixes", "_root", "only")

    def __init__(self, routes: Iterable[Route[Outcome]]) -> None:
        exact: dict[bytes, list[Route[Outcome]]] = {}
        expressions: dict[PathMatch, tuple[Callable[[bytes], object], list[Route[Outcome]]]] = {}
        prefixes: dict[bytes, list[Route[Outcome]]] = {}
        for route in routes:
            path = route.match.path or PathMatch(prefix="/")
            if path.exact is not None:
                exact.setdefault(path.exact.encode("ascii"), []).append(route)
            elif (matches := expression(path)) is not None:
                expressions.setdefault(path, (matches, []))[1].append(route)
            else:
                prefixes.setdefault(prefix_key(path), []).append(route)
        self._root = Prefix(tuple(prefixes.pop(b"", ())))
        self._exact = {key: tuple(of_it) for key, of_it in exact.items()} or NONE
        self._expressions = tuple((matches, tuple(of_it)) for matches, of_it in expressions.values())
        self._prefixes: dict[bytes, Prefix[Outcome]] = {
            key: Prefix(tuple(of_it)) for key, of_it in prefixes.items()
        } or NONE
        self._most_segments = max((key.count(b"/") for key in prefixes), default=0)
        plain = not (self._exact or self._expressions or self._prefixes) and self._root.routes[0].holds is None
        self.only: Route[Outcome] | None = self._root.routes[0] if plain else None
        """The one that stands for every path, whatever is asked: then nothing need be looked at."""
        for key, prefix in self._prefixes.items():
            prefix.above = self._longest(key[: key.rindex(b"/")])

    def find(self, path: bytes, method: bytes, head: Head) -> Route[Outcome] | None:
        routes = self._exact.get(path)
        if routes is not None:
            route = first(routes, method, head)
            if route is not None:
                return route
        for matches, routes in self._expressions:
            if matches(path):
                route = first(routes, method, head)
                if route is not None:
                    return route
        prefix: Prefix[Outcome] | None = self._longest(path)
        while prefix is not None:
            route = first(prefix.routes, method, head)
            if route is not None:
                return route
            prefix = prefix.above
        return None

    def earliest(self, path: bytes, method: bytes, head: Head, best: Route[Outcome] | None) -> Route[Outcome] | None:
        """`best`, or what was written before it."""
        best = earlier(self._exact.get(path, ()), method, head, best)
        prefix: Prefix[Outcome] | None = self._longest(path)
        while prefix is not None:
            best = earlier(prefix.routes, method, head, best)
            prefix = prefix.above
        for matches, routes in self._expressions:
            if best is not None and routes[0].place > best.place:
                break
            if matches(path):
                best = earlier(routes, method, head, best)
        return best

    def _longest(self, path: bytes) -> Prefix[Outcome]:
        """The longest prefix that the path has, by whole segments."""
        if not self._prefixes:
            return self._root
        segments = path.split(b"/", self._most_segments + 1)
        end = len(path)
        if len(segments) > self._most_segments + 1:
            # No prefix is as long as that: what is left of the path does not matter.
            end -= len(segments.pop()) + 1
        while end > 0:
            prefix = self._prefixes.get(path[:end])
            if prefix is not None:
                return prefix
            end -= len(segments.pop()) + 1
        return self._root


def first(routes: Routes[Outcome], method: bytes, head: Head) -> Route[Outcome] | None:
    for route in routes:
        if route.holds is None or route.holds(method, head):
            return route
    return None


def earlier(routes: Routes[Outcome], method: bytes, head: Head, best: Route[Outcome] | None) -> Route[Outcome] | None:
    for route in routes:
        if best is not None and route.place > best.place:
            break
        if route.holds is None or route.holds(method, head):
            return route
    return best


def prefix_key(path: PathMatch) -> bytes:
    """A prefix as paths are cut: `/v1/` is `/v1`, and `/` is empty, which stands for every path."""
    return (path.prefix or "").encode("ascii").removesuffix(b"/")


def leads_to(path: bytes, match: PathMatch | None) -> bool:
    """The meaning of it all, for one path and one rule."""
    if match is None:
        return True
    if match.exact is not None:
        return path == match.exact.encode("ascii")
    matches = expression(match)
    if matches is not None:
        return matches(path) is not None
    key = prefix_key(match)
    return path == key or path.startswith(key + b"/") or not key
