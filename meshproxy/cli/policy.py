"""What a policy comes to for one proxy: per direction and port, who may ask what. Rows for people and programs.

    rows(config)    # [{"direction": "inbound", "ports": (80,), "speaks": "http", "who": "shop/web", ...}, ...]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from meshproxy.core.route import considered
from meshproxy.model import Chain, Config, Listener, RouteTable, Rule
from meshproxy.model.authorize import Admission
from meshproxy.model.outline import looked_for, outline

Row = dict[str, object]
COLUMNS = ("direction", "ports", "speaks", "from", "who", "hosts", "methods", "path", "headers", "query", "to")
ANYBODY, NOBODY = "anybody", "nobody"


def rows(config: Config) -> list[Row]:
    tables = {table.name: table for table in config.routes}
    return [
        row
        for listener in sorted(config.listeners, key=lambda listener: _direction(config, listener))
        for chain in listener.outcomes
        for row in _rows(config, listener, chain, tables)
    ]


def in_short(several: list[Row]) -> list[Row]:
    """Without the columns in which nothing stands, and of many hosts the first."""
    said = {key for row in several for key, value in row.items() if value not in (None, (), "")}
    return [
        {**{key: row.get(key) for key in COLUMNS if key in said}, **({"hosts": _few(row)} if "hosts" in said else {})}
        for row in several
    ]


def _few(row: Row) -> str:
    hosts = [*row["hosts"]] if isinstance(row.get("hosts"), tuple) else []  # type: ignore[misc]
    return f"{hosts[0]} and {len(hosts) - 1} more" if len(hosts) > 1 else "".join(hosts) or "-"


def _direction(config: Config, listener: Listener) -> str:
    for side in ("inbound", "outbound"):
        if set(getattr(config.sidecar, side)) & set(listener.listen):
            return side
    return listener.name


def _rows(config: Config, listener: Listener, chain: Chain, tables: dict[str, RouteTable]) -> Iterator[Row]:
    ports = chain.match.ports or tuple(address.port for address in listener.listen if not listener.transparent)
    where: Row = {
        "direction": _direction(config, listener),
        "ports": ports,
        "speaks": chain.protocol,
        "from": tuple(map(str, chain.match.sources)),
    }
    who = ANYBODY if chain.authorize is None else _names(entry.identities for entry in chain.authorize)
    if chain.routes is not None:
        table = tables[chain.routes]
        named = ((rule.match, rule) for rule in table.rules)
        for _, rule in considered(named, written=table.order == "written"):
            yield from ({**where, **row, "who": _both(str(row["who"]), who)} for row in _of_rule(rule))
    if chain.cluster is not None:
        yield {**where, "who": who, "to": chain.cluster}


def _both(who: str, own: str) -> str:
    if who == NOBODY or own == ANYBODY:
        return who
    return own if who == ANYBODY else f"{who}, if also {own}"


def _of_rule(rule: Rule) -> Iterator[Row]:
    """One for each way to be let in; a rule that lets in nobody has one too."""
    asked: Row = outline(rule)
    own = _names([rule.match.identities]) if rule.match.identities else ANYBODY
    if not rule.authorize:
        yield {"who": NOBODY if rule.authorize == () else own, **asked}
        return
    for entry in rule.authorize:
        who = _names([entry.identities])
        yield {"who": _both(who, own), **asked, **_more(entry, asked)}


def _more(entry: Admission, asked: Mapping[str, Any]) -> Row:
    """What the entry asks for beside what its rule does."""
    found: Row = {}
    if entry.paths:
        either = " or ".join(map(looked_for, entry.paths))
        found["path"] = f"{asked['path']} and {either}" if asked["path"] else either
    if entry.methods:
        own = asked["methods"]
        found["methods"] = tuple([method for method in entry.methods if not own or method in own])
    if entry.headers:
        found["headers"] = (*asked["headers"], *(f"{name} {looked_for(value)}" for name, value in entry.headers))
    if entry.sources:
        found["from"] = tuple(map(str, entry.sources))
    return found


def _names(several: Iterable[Iterable[str]]) -> str:
    return ", ".join(dict.fromkeys(name for names in several for name in names)) or NOBODY
