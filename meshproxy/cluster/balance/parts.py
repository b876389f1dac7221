"""Who may be picked, and with which weight: priorities, zones, and what happens when many are unfit.

    weights, spare = standing(seats, fit, zone="a", panic=0.5)
    weights[0]          # of the first seat: 0 if it is not picked
    spare               # lists of who is fit and not picked, nearest first: for whoever has tried all others

A level is what has the same priority.  It can carry 1.4 times the share of it that is fit, and never more than all:
with 5 of 7 fit it carries everything.  What it cannot carry is for the next level, and comes back when it can.  Within
a level the same holds for the endpoints of the proxy's own zone, and all others of the level.

Where the levels together cannot carry everything, each carries its part, and one of which less than `panic` is fit uses
all its endpoints, fit or not: better some failures than the whole load on the few that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meshproxy.model.balance import Labels

ENOUGH = 1.4
"""Times the fit share of a level or of a zone: what it can carry."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What was said of an endpoint."""

    weight: int
    zone: str = ""
    priority: int = 0
    labels: Labels = ()
    host: str = ""
    """The name by which it is known, if it has one."""
    identity: str | None = None
    """Who it must prove to be."""
    via: str | None = None
    """The tunnel through which it is reached."""


ALL = 1 - 1e-9
"""Of what the levels together can carry; what is beyond is for nobody to carry."""

Members = list[int]
"""By their numbers."""


@dataclass(frozen=True, slots=True)
class Part:
    """Members who share a part of the load by their weights."""

    load: float
    """In proportion to that of other parts."""
    members: Members


def standing(
    seats: Sequence[Seat], fit: Sequence[bool], *, zone: str = "", panic: float
) -> tuple[list[float], list[Members]]:
    """The weight of each seat, and who is left for later.

    Those of the first part keep the weights that were said, whatever becomes of the others.
    """
    weights = [0.0] * len(seats)
    first = 0.0
    spare = []
    for part in parts(seats, fit, zone, panic):
        if not part.load:
            spare.append(part.members)
            continue
        each = part.load / _weight(seats, part.members)
        first = first or each
        for number in part.members:
            weights[number] = seats[number].weight * (each / first)
    return weights, spare


def parts(seats: Sequence[Seat], fit: Sequence[bool], zone: str, panic: float) -> list[Part]:
    """The nearest first; who has no weight, or is unfit where nobody panics, is in none."""
    levels: dict[int, Members] = {}
    for number, seat in enumerate(seats):
        if seat.weight:
            levels.setdefault(seat.priority, []).append(number)
    if not levels:
        return []
    in_order = [levels[priority] for priority in sorted(levels)]
    fit_shares = [_weight(seats, _fit(level, fit)) / _weight(seats, level) for level in in_order]
    carried = [min(1.0, ENOUGH * share) for share in fit_shares]
    # One level alone panics even if it could still carry everything: it was told when.
    calm = len(in_order) > 1 and sum(carried) > ALL
    panics = [not calm and share < panic for share in fit_shares]
    if all(panics):
        return [Part(1.0, [number for level in in_order for number in level])]
    found, left = [], 1.0
    for level, most, panicking in zip(in_order, carried, panics, strict=True):
        load = min(left, most)
        left = left - load if left - load > 1 - ALL else 0.0
        if panicking and load:
            found.append(Part(load, level))
        else:
            found += _zones(seats, level, fit, zone, load)
    return [part for part in found if part.members]


def _zones(seats: Sequence[Seat], level: Members, fit: Sequence[bool], zone: str, load: float) -> list[Part]:
    """Our zone, as far as it can, and the rest of the level."""
    ours = [number for number in level if zone and seats[number].zone == zone]
    fit_ours = _fit(ours, fit)
    others = [number for number in _fit(level, fit) if seats[number].zone != zone or not zone]
    if not fit_ours or not others:
        return [Part(load, fit_ours or others)]
    kept = min(1.0, ENOUGH * _weight(seats, fit_ours) / _weight(seats, ours))
    return [Part(load * kept, fit_ours), Part(load * (1 - kept), others)]


def _fit(level: Members, fit: Sequence[bool]) -> Members:
    return [number for number in level if fit[number]]


def _weight(seats: Sequence[Seat], members: Iterable[int]) -> int:
    return sum(seats[number].weight for number in members)
