"""Who is slowed down: the connections of a listener, and the exchanges of a rule, compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from meshproxy import model
from meshproxy.core.meter import Meter, SharedMeter
from meshproxy.net.conn import Conn
from meshproxy.net.shaped import Pace, ShapedConn
from meshproxy.plan.rim import Rim
from meshproxy.relay.entry import Connect

SHARED_METERS = "bandwidth"
"""The shelf of all meters that more than one connection has."""
UNSHAPED = Pace(None, None)


class Speeds(Protocol):
    @property
    def up(self) -> int | None: ...

    @property
    def down(self) -> int | None: ...


def shares_meters(config: model.Config) -> bool:
    of_listeners = (each.bandwidth for listener in config.listeners for each in listener.filters)
    of_rules = (each.bandwidth for table in config.routes for rule in table.rules for each in rule.filters)
    return any(said.per == "listener" for said in of_listeners if said) or any(
        said.per == "route" for said in of_rules if said
    )


def connecting(said: model.Listener, tables: Mapping[str, model.RouteTable], rim: Rim) -> Connect:
    """What makes the connections of a listener: such as can be slowed down only where something says so."""
    bandwidth = next((each.bandwidth for each in said.filters if each.bandwidth is not None), None)
    if bandwidth is not None:
        pace = paces(bandwidth, f"listener/{said.name}" if bandwidth.per == "listener" else "", rim)
        return lambda sock: ShapedConn(rim.loop, sock, rim.clock, pace())
    if any(_slows(tables[chain.routes]) for chain in said.outcomes if chain.routes):
        return lambda sock: ShapedConn(rim.loop, sock, rim.clock, UNSHAPED)
    return partial(Conn, rim.loop)


def paces(said: Speeds, name: str, rim: Rim) -> Callable[[], Pace]:
    """By a name that many share, or a new one for each."""

    def meter(rate: int | None, direction: str) -> Meter | None:
        if rate is None:
            return None
        if not name:
            return Meter(rate)
        shelf = rim.shelves.shelf(SHARED_METERS, rim.stats.worker)
        return SharedMeter(rate, shelf, f"{name}/{direction}".encode())

    if not name:
        return lambda: Pace(meter(said.up, "up"), meter(said.down, "down"))
    one = Pace(meter(said.up, "up"), meter(said.down, "down"))
    return lambda: one


def _slows(table: model.RouteTable) -> bool:
    return any(each.bandwidth is not None for rule in table.rules for each in rule.filters)
