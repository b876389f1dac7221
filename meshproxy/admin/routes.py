"""Tables of routes as rows: what each rule matches, where it leads, and how many requests it has had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshproxy.core.route import considered
from meshproxy.model import Config, RouteTable
from meshproxy.model.outline import outline

Row = dict[str, object]


def route_rows(config: Config, counted: Mapping[str, Any]) -> list[Row]:
    """A row for each table; `counted` is what the listeners have, by name."""
    users: dict[str, list[str]] = {table.name: [] for table in config.routes}
    for listener in config.listeners:
        for name in dict.fromkeys(chain.routes for chain in listener.outcomes):
            if name is not None:
                users[name].append(listener.name)
    return [_table(table, users[table.name], counted) for table in config.routes]


def _table(table: RouteTable, users: list[str], counted: Mapping[str, Any]) -> Row:
    answers = [counted[listener]["answers"] for listener in users if listener in counted]
    named = ((rule.match, (name, rule)) for name, rule in table.named())
    return {
        "name": table.name,
        "order": table.order,
        "listeners": users,
        "rules": [
            {"name": name, **outline(rule), "requests": sum(_requests(of_it.get(name, {})) for of_it in answers)}
            for _, (name, rule) in considered(named, written=table.order == "written")
        ],
    }


def _requests(by_cluster: Mapping[str, Any]) -> int:
    return sum(counted["count"] for held in by_cluster.values() for counted in held["requests"].values())
