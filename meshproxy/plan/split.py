"""The clusters that share the requests of a rule, compiled into a function that draws one of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import blake2b

from meshproxy import model
from meshproxy.core.client import Who
from meshproxy.core.condition import conditions, together
from meshproxy.core.cookie import cookie
from meshproxy.core.exchange import Exchange
from meshproxy.core.peer import spoken
from meshproxy.model import encode
from meshproxy.model.matching import RouteMatch, fitting
from meshproxy.model.split import Share as Said
from meshproxy.model.split import SplitBy, moments
from meshproxy.plan.rim import Rim
from meshproxy.relay.http.handling import Draw, Share
from meshproxy.relay.http.split import Asks, Value, by_weight, first_that_asks, in_steps, of_connection


def plans(config: model.Config) -> Iterator[str]:
    """What each plan of timed steps is called."""
    for table in config.routes:
        for rule in table.rules:
            if any(share.steps for share in rule.split):
                yield plan_of(table.name, rule)


def plan_of(table: str, rule: model.Rule) -> str:
    """The same rule with the same plan, wherever it stands in its table, goes on with it."""
    said = json.dumps([encode(rule.match), *map(encode, rule.split)], sort_keys=True)
    return f"{table}/{blake2b(said.encode(), digest_size=16).hexdigest()}"


def compile_split(rule: model.Rule, table: str, share_of: Callable[[Said], Share], who: Who, rim: Rim) -> Draw:
    drawn = [(said, share_of(said)) for said in rule.shares if not said.chosen]
    value = _value(rule.split_by, who)

    def at(moment: float) -> Draw:
        return by_weight([(share, said.weight_after(moment)) for said, share in drawn], value)

    steps = [(moment, at(moment)) for moment in moments(said for said, _ in drawn)]
    draw = steps[0][1]
    if len(steps) > 1:
        draw = in_steps(steps, rim.began[plan_of(table, rule)], rim.clock.now)
    chosen = [(_asks(said), share_of(said)) for said in rule.shares if said.chosen]
    return first_that_asks(chosen, draw) if chosen else draw


def _value(by: SplitBy | None, who: Who) -> Value | None:
    if by is None:
        return None
    if by.header is not None:
        header = by.header.lower().encode("ascii")
        return lambda x: x.request.get(header)
    if by.cookie is not None:
        name = by.cookie.encode("ascii")
        return lambda x: cookie(x.request, name)
    if by.connection:
        return of_connection
    if by.identity:
        return lambda x: spoken(x.identity) or None

    def address(x: Exchange) -> bytes | None:
        found = who(x)
        return None if found is None else found.packed

    return address


def _asks(said: Said) -> Asks:
    holds = together(conditions(RouteMatch(headers=said.headers)))
    cookies = tuple((name.encode("ascii"), fitting(match)) for name, match in said.cookies)

    def asks(x: Exchange) -> bool:
        request = x.request
        if holds is not None and not holds(request.method, request):
            return False
        return all(fits(cookie(request, name)) for name, fits in cookies)

    return asks
