"""What it costs to find a route among 10, 1,000 and 10,000: exact paths, prefixes, a host for each, and as written.

Everything happens in this process. A figure is the best of many passes over a thousand requests, spread over all
routes, since whatever else the machine does can only add to it. Each request is an object of its own, so that ten
routes are not asked for with ten requests that the cache of the processor knows by heart.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from benchmarks.harness import Plan, Result, interleave, note
from meshproxy.core.route import Router, compile_routes
from meshproxy.model.matching import PathMatch, RouteMatch, ValueMatch

SIZES = (10, 1_000, 10_000)
REQUESTS = 1000
HOST = "bookstore.shop.svc.cluster.local"

Request = tuple[bytes, bytes]
Kind = Callable[[int], tuple[RouteMatch, Request]]


class Head:
    """The head of each request: one field that rules ask for."""

    target = b"/?page=1"

    def get(self, name: bytes) -> bytes | None:
        return b"v2" if name == b"x-version" else None


def exact(number: int) -> tuple[RouteMatch, Request]:
    path = f"/api/v1/books-{number:05}/stock"
    return RouteMatch((HOST,), PathMatch(exact=path)), (HOST.encode(), path.encode())


def prefix(number: int) -> tuple[RouteMatch, Request]:
    path = f"/api/v1/books-{number:05}"
    return RouteMatch((HOST,), PathMatch(prefix=path)), (HOST.encode(), b"%b/items/4711" % path.encode())


def host(number: int) -> tuple[RouteMatch, Request]:
    name = f"books-{number:05}.shop.svc.cluster.local"
    return RouteMatch((name,), PathMatch(prefix="/api")), (name.encode(), b"/api/v1/books/items/4711")


def suffix(number: int) -> tuple[RouteMatch, Request]:
    name = f"shop-{number:05}.example.com"
    match = RouteMatch((f"*.{name}",), PathMatch(prefix="/api"))
    return match, (b"www.%b:8080" % name.encode(), b"/api/v1/books/items/4711")


def conditions(number: int) -> tuple[RouteMatch, Request]:
    match, request = prefix(number)
    return RouteMatch(match.hosts, match.path, ("GET",), (("X-Version", ValueMatch(exact="v2")),)), request


KINDS: dict[str, tuple[Kind, bool]] = {
    "exact path": (exact, False),
    "prefix": (prefix, False),
    "a host for each": (host, False),
    "a suffix for each, with a port": (suffix, False),
    "prefix, method and header": (conditions, False),
    "prefix, in written order": (prefix, True),
}


def run(plan: Plan) -> list[Result]:
    note(f"micro routes: {plan.rounds} rounds of {plan.seconds / 10:g} s on {len(KINDS)} kinds of {len(SIZES)} sizes")
    return [
        Result(
            f"micro routes: {name}",
            "µs",
            interleave(
                {f"{size} routes": subject(kind, size, written) for size in SIZES},
                plan.rounds,
                lambda each: best(*each, plan.seconds / 10),
            ),
        )
        for name, (kind, written) in KINDS.items()
    ]


def subject(kind: Kind, size: int, written: bool) -> tuple[Router[int], Sequence[Request]]:
    """A router of so many routes with a rest for everything else, and requests spread over all of them."""
    each = [kind(number) for number in range(size)]
    rules = [(match, number) for number, (match, _) in enumerate(each)]
    router = compile_routes([*rules, (RouteMatch(), -1)], written=written)
    wanted = [number * 7919 % size for number in range(REQUESTS)]
    requests = [(fresh(authority), fresh(path)) for authority, path in (each[number][1] for number in wanted)]
    for number, (authority, path) in zip(wanted, requests, strict=True):
        found = router.find(authority, path, b"GET", Head())
        if found is None or found.outcome != number:
            raise RuntimeError(f"{authority!r} {path!r} is for route {number}, not for {found}")
    return router, requests


def fresh(text: bytes) -> bytes:
    return bytes(bytearray(text))


def best(router: Router[int], requests: Sequence[Request], seconds: float) -> float:
    """Microseconds for one request, of the best pass."""
    least, end, find, head = float("inf"), time.perf_counter() + seconds, router.find, Head()
    while True:
        began = time.perf_counter()
        for authority, path in requests:
            find(authority, path, b"GET", head)
        now = time.perf_counter()
        least = min(least, now - began)
        if now > end:
            return least / len(requests) * 1e6
