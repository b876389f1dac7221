"""The filters of a rule, built: each behind its guard, with what it keeps over reloads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from meshproxy import model
from meshproxy.core.filter import FILTER_ERROR, NO_FILTERS, Hooks, Pipeline
from meshproxy.core.table import Claims
from meshproxy.errors import Invalid, Problem
from meshproxy.filters import rate_limit
from meshproxy.filters.extension import Unloadable
from meshproxy.filters.extension import build as build_extension
from meshproxy.filters.guard import Guard
from meshproxy.plan.rim import Rim
from meshproxy.relay.live import FilterState, Kept, ListenerState

T = TypeVar("T")

Place = tuple[str, int]
"""A rule: its table, and where it stands there."""


def rate_of(rule: Place, filter_: int) -> str:
    """What the limit of requests is called, which holds for all listeners that use the table."""
    return f"route/{rule[0]}/{rule[1]}/{filter_}/rate"


def compile_filters(
    rule: model.Rule,
    name: str,
    place: Place,
    listener: str,
    state: ListenerState,
    claims: Claims,
    rim: Rim,
    own: Sequence[Hooks] = (),
) -> Pipeline:
    """`own` are hooks of what else the rule says."""
    if not rule.filters and not own:
        return NO_FILTERS
    built = list(own)
    for number, said in enumerate(rule.filters):
        if said.rate_limit is not None:
            key = rate_of(place, number)
            flow = claims.claim(("limit", key), partial(rim.limits.flow, key))
            built.append(rate_limit.build(flow, partial(_told, rim)))
        elif said.extension is not None:
            label = f"{name}:{number}:{said.extension.call}"
            built.append(_extension(said.extension, name, label, place, number, listener, state, claims, rim))
    return Pipeline(built)


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
