"""The filters of a rule, built: each behind its guard, with what it keeps over reloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from meshproxy import model
from meshproxy.core.buckets import Buckets, Rate
from meshproxy.core.client import Who
from meshproxy.core.filter import FILTER_ERROR, NO_FILTERS, Hooks, Pipeline
from meshproxy.core.table import Claims
from meshproxy.errors import Invalid, Problem
from meshproxy.filters import access, bandwidth, claim, cors, fault, grpc_web, max_body, rate_limit
from meshproxy.filters.extension import Unloadable
from meshproxy.filters.extension import build as build_extension
from meshproxy.filters.guard import Guard
from meshproxy.filters.value import value_of
from meshproxy.model.filters import Claim
from meshproxy.model.limits import RouteBandwidth
from meshproxy.plan.bandwidth import paces
from meshproxy.plan.refusals import of_claim
from meshproxy.plan.rim import Rim
from meshproxy.relay.live import FilterState, Kept, ListenerState

T = TypeVar("T")

Place = tuple[str, int]
"""A rule: its table, and where it stands there."""


def request_rates(config: model.Config) -> Iterator[tuple[str, model.RequestRate]]:
    """All limits of requests, each with what it is called; one that rules share, as often as it stands there."""
    for table in config.routes:
        for place, rule in enumerate(table.rules):
            for number, each in enumerate(rule.filters):
                if each.rate_limit is not None:
                    yield rate_of((table.name, place), number, each.rate_limit), each.rate_limit


def rate_of(rule: Place, filter_: int, rate: model.RequestRate) -> str:
    """What a limit of requests is called, which holds for all listeners that use the table."""
    place = f"{rule[1]}/{filter_}" if rate.shared is None else f"shared {rate.shared}"
    name = f"route/{rule[0]}/{place}/rate"
    return name if rate.by is None else f"{name} by {rate.by}"


@dataclass(frozen=True, slots=True)
class Where:
    """A filter's place, and what it may need there."""

    rule: Place
    number: int
    """Among the filters of its rule."""
    route: str
    """The rule's name in metrics."""
    listener: str
    state: ListenerState
    claims: Claims
    rim: Rim
    who: Who
    trust_domain: str


def compile_filters(
    rule: model.Rule,
    name: str,
    place: Place,
    listener: str,
    state: ListenerState,
    claims: Claims,
    rim: Rim,
    who: Who,
    trust_domain: str,
    own: Sequence[Hooks] = (),
) -> Pipeline:
    """`own` are hooks of what else the rule says."""
    if not rule.filters and not own:
        return NO_FILTERS
    return Pipeline(
        [
            *own,
            *(
                BUILDERS[each.kind](
                    getattr(each, each.kind),
                    Where(place, number, name, listener, state, claims, rim, who, trust_domain),
                )
                for number, each in enumerate(rule.filters)
            ),
        ]
    )


def _rate_limit(said: model.RequestRate, where: Where) -> Hooks:
    key, rim = rate_of(where.rule, where.number, said), where.rim
    refusal = rate_limit.Refusal(said)
    if said.by is None:
        flow = where.claims.claim(("limit", key), partial(rim.limits.flow, key))
        return rate_limit.whole(flow, partial(_told, rim), refusal)
    rate = Rate(said.requests, said.per, said.burst or said.requests)
    buckets = Buckets(rim.shelves.shelf(key, rim.stats.worker), rate)
    return rate_limit.by_value(buckets, value_of(said.by), rim.clock.now, refusal)


def _claim(said: Claim, where: Where) -> Hooks:
    return claim.build(said, where.trust_domain, of_claim(where.rim.log, where.listener))


def _bandwidth(said: RouteBandwidth, where: Where) -> Hooks:
    table, place = where.rule
    shared = f"route/{table}/{place}/{where.number}" if said.per == "route" else ""
    return bandwidth.build(paces(said, shared, where.rim))


def _extension(said: model.Extension, where: Where) -> Hooks:
    label = f"{where.route}:{where.number}:{said.call}"
    key, rim = ("filter", where.listener, label), where.rim
    stats = where.claims.claim(key, lambda: FilterState(where.state.stats.filters, label)).stats
    guard = Guard(label, stats, rim.log, said.deadline, FILTER_ERROR if said.on_error == "refuse" else None)
    try:
        return guard.around(build_extension(said, Scope(where.route, rim.clock.now, where.claims, key)))
    except Unloadable as why:
        table, place = where.rule
        path = f"routes.{table}.rules[{place}].filters[{where.number}].extension"
        raise Invalid([Problem(path, f"`extension` cannot be loaded: {why}")]) from None


BUILDERS: Mapping[str, Callable[[Any, Where], Hooks]] = {
    "rate_limit": _rate_limit,
    "bandwidth": _bandwidth,
    "access": lambda said, where: access.build(said, where.who),
    "cors": lambda said, _: cors.build(said),
    "max_body": lambda most, _: max_body.build(most),
    "fault": lambda said, where: fault.build(said, partial(_pause, where.rim)),
    "claim": _claim,
    # Compiled into the handling itself.
    "buffer": lambda *_: Hooks(),
    "repeated": lambda *_: Hooks(),
    "grpc_web": lambda *_: grpc_web.HOOKS,
    "extension": _extension,
}
"""By the key that calls a filter."""


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


async def _pause(rim: Rim, seconds: float) -> None:
    over: asyncio.Future[None] = rim.loop.create_future()
    timer = rim.clock.after(seconds, lambda: None if over.done() else over.set_result(None))
    try:
        await over
    finally:
        timer.cancel()
