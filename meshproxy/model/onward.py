"""What does not fit together where a cluster says from where to connect, or goes on to where a client wanted to go.

    clusters:
      app: {endpoints: [127.0.0.1:8080], source: 127.0.0.6}
      outside: {original: true}
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from meshproxy.model.address import CLIENT, Address
from meshproxy.schema.shapes import Path

if TYPE_CHECKING:
    from meshproxy.model.config import Cluster, Listener
    from meshproxy.model.routes import RouteTable

_OF_ENDPOINTS = {
    "endpoints": None, "balance": "round_robin", "hash": (), "sticky": None, "slow_start": 0.0, "health": None,
    "outlier": None,
}
"""Keys that choose among endpoints or judge them, each with what says nothing."""


def problems(said: Cluster) -> Iterator[tuple[Path, str]]:
    """Each with its place in the cluster."""
    if said.original:
        yield from _original_problems(said)
    elif said.endpoints is None:
        yield ("endpoints",), "`endpoints` is missing, and there is no `original: true` in its place"
    own = said.source is not None and said.source != CLIENT
    if said.source == CLIENT and said.health is not None:
        yield ("health",), "`health` cannot be checked with `source: client`: a check comes from no client"
    family = "ipv6" if own and ":" in (said.source or "") else "ipv4"
    for index, endpoint in enumerate(said.members if own else ()):
        where = endpoint.address
        if isinstance(where, Address) and where.kind != family:
            yield ("endpoints", index), f"endpoint {where} cannot be connected to from `source` {said.source}"


def listener_problems(said: Listener) -> Iterator[tuple[Path, str]]:
    """Where one is redirected to."""
    if said.tproxy and not said.transparent:
        yield ("tproxy",), "`tproxy` needs `transparent: true`: chains match where connections were made to"
    if said.transparent and said.protocol == "udp" and said.listen:
        why = "only what comes out of a tunnel says where it goes"
        yield ("transparent",), f"`transparent` with `protocol: udp` needs `listen: []`, not {said.listen[0]}: {why}"
    for address in said.listen if said.transparent else ():
        if address.kind == "unix":
            yield ("listen",), f"`listen` {address} is never redirected to: `transparent` needs IP addresses"


def tables(said: Iterable[RouteTable], original: Collection[str]) -> dict[str, list[str]]:
    """By the name of a table: which of these clusters its rules lead to."""
    if not original:
        return {}
    found = {table.name: {name for rule in table.rules for _, name in rule.clusters} for table in said}
    return {table: sorted(names.intersection(original)) for table, names in found.items()}


def of_connections(said: Cluster) -> str:
    """Why each connection to it belongs to one of a client, and is used for nobody else; empty: it does not."""
    return "is `original`" if said.original else "has `source: client`" if said.source == CLIENT else ""


def _original_problems(said: Cluster) -> Iterator[tuple[Path, str]]:
    for key, nothing in _OF_ENDPOINTS.items():
        if getattr(said, key) != nothing:
            yield (key,), f"`{key}` is of no use with `original: true`: nobody knows beforehand where connections go"
    if said.tls is not None and said.tls.verify == "name" and not (said.tls.names or said.tls.sni):
        yield ("tls", "verify"), "`verify: name` needs `names` or `sni` with `original: true`: no endpoint has a name"
