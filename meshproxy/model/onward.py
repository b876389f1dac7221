"""What does not fit together where a cluster says from where to connect, or goes on to where a client wanted to go.

    clusters:
      app: {endpoints: [127.0.0.1:8080], source: 127.0.0.6}
      outside: {original: true}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from meshproxy.model.address import Address
from meshproxy.schema.shapes import Path

if TYPE_CHECKING:
    from meshproxy.model.config import Cluster

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
    family = "ipv6" if said.source is not None and ":" in said.source else "ipv4"
    for index, endpoint in enumerate(said.members if said.source is not None else ()):
        where = endpoint.address
        if isinstance(where, Address) and where.kind != family:
            yield ("endpoints", index), f"endpoint {where} cannot be connected to from `source` {said.source}"


def _original_problems(said: Cluster) -> Iterator[tuple[Path, str]]:
    for key, nothing in _OF_ENDPOINTS.items():
        if getattr(said, key) != nothing:
            yield (key,), f"`{key}` is of no use with `original: true`: nobody knows beforehand where connections go"
    if said.tls is not None and said.tls.verify == "name" and not (said.tls.names or said.tls.sni):
        yield ("tls", "verify"), "`verify: name` needs `names` or `sni` with `original: true`: no endpoint has a name"
