"""The filters of a rule, built: each behind its guard, with what it keeps over reloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from meshproxy import model
from meshproxy.core.buckets import Buckets, Rate
from meshproxy.core.filter import FILTER_ERROR, NO_FILTERS, Hooks, Pipeline
from meshproxy.core.table import Claims
from meshproxy.errors import Invalid, Problem
from meshproxy.filters import bandwidth, rate_limit
from meshproxy.filters.extension import Unloadable
from meshproxy.filters.extension import build as build_extension
from meshproxy.filters.guard import Guard
from meshproxy.filters.value import value_of
from meshproxy.plan.bandwidth import paces
from meshproxy.plan.rim import Rim
from meshproxy.relay.live import FilterState, Kept, ListenerState

T = TypeVar("T")

Place = tuple[str, int]
"""A rule: its table, and where it stands there."""


def request_rates(config: model.Config) -> Iterator[tuple[str, model.RequestRate]]:
    """All limits of requests, each with what it is called."""
    for table in config.routes:
        for place, rule in enumerate(table.rules):
            for number, each in enumerate(rule.filters):
                if each.rate_limit is not None:
                    yield rate_of((table.name, place), number, each.rate_limit), each.rate_limit


def rate_of(rule: Place, filter_: int, rate: model.RequestRate) -> str:
    """What a limit of requests is called, which holds for all listeners that use the table."""
    name = f"route/{rule[0]}/{rule[1]}/{filter_}/rate"
    return name if rate.by is None else f"{name} by {rate.by}"


def compile_filters(
    rule: model.Rule, name: str, place: Place, listener: str, state: ListenerState, claims: Claims, rim: Rim
) -> Pipeline:
    if not rule.filters:
        return NO_FILTERS
    built = []
    for number, said in enumerate(rule.filters):
        if said.rate_limit is not None:
            built.append(_rate_limit(said.rate_limit, rate_of(place, number, said.rate_limit), claims, rim))
        elif said.bandwidth is not None:
            shared = f"route/{place[0]}/{place[1]}/{number}" if said.bandwidth.per == "route" else ""
            built.append(bandwidth.build(paces(said.bandwidth, shared, rim)))
        elif said.extension is not None:
            label = f"{name}:{number}:{said.extension.call}"
            built.append(_extension(said.extension, name, label, place, number, listener, state, claims, rim))
    return Pipeline(built)


def _rate_limit(said: model.RequestRate, key: str, claims: Claims, rim: Rim) -> Hooks:
    refusal = rate_limit.Refusal(said)
    if said.by is None:
        flow = claims.claim(("limit", key), partial(rim.limits.flow, key))
        return rate_limit.whole(flow, partial(_told, rim), refusal)
    rate = Rate(said.requests, said.per, said.burst or said.requests)
    buckets = Buckets(rim.shelves.shelf(key, rim.stats.worker), rate)
    return rate_limit.by_value(buckets, value_of(said.by), rim.clock.now, refusal)


def _extension(
    said: model.Extension,
    route: str,
    label: str,
    place: Place,
    number: int,
    listener: str,
    state: ListenerState,
    claims: Claims,
    rim: Rim,
) -> Hooks:
    key = ("filter", listener, label)
    stats = claims.claim(key, lambda: FilterState(state.stats.filters, label)).stats
    guard = Guard(label, stats, rim.log, said.deadline, FILTER_ERROR if said.on_error == "refuse" else None)
    try:
        return guard.around(build_extension(said, Scope(route, rim.clock.now, claims, key)))
    except Unloadable as why:
        where = f"routes.{place[0]}.rules[{place[1]}].filters[{number}].extension"
        raise Invalid([Problem(where, f"`extension` cannot be loaded: {why}")]) from None


@dataclass(frozen=True, slots=True)
class Scope:
    """Satisfies `core.filter.Scope`."""

    route: str
    now: Callable[[], float]
    _claims: Claims
    _key: tuple[str, str, str]

    def keep(self, name: str, make: Callable[[], T]) -> T:
        return cast(T, self._claims.claim(("kept", *self._key, name), lambda: Kept(make())).value)


async def _told(rim: Rim, ask: Callable[[Callable[[bool], None]], None]) -> bool:
    answer: asyncio.Future[bool] = rim.loop.create_future()
    ask(lambda granted: None if answer.done() else answer.set_result(granted))
    return await answer
