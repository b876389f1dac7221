"""Endpoints that are listeners of the same proxy and lead back to themselves: one connection would become thousands."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv6Address
from typing import TypeVar

from meshproxy.model.address import Address
from meshproxy.model.config import Chain, Cluster, Listener

Node = TypeVar("Node", bound=Hashable)
Loop = tuple[int, int, Listener]
"""The number of a cluster and of one of its endpoints, and the listener that answers there and leads back."""


Tables = Mapping[str, Iterable[str]]
"""The clusters to which a table of routes, or a policy of MQTT, may lead."""


def loops(
    listeners: Sequence[Listener], tables: Tables, policies: Tables, clusters: Sequence[Cluster]
) -> Iterator[Loop]:
    """Every endpoint on the way from a listener to itself. Where names, tunnels and other hosts lead is not known."""
    for datagrams in (False, True):
        some = [each for each in listeners if (each.protocol == "udp") is datagrams]
        yield from _loops(some, tables, policies, clusters)


def _loops(
    listeners: Sequence[Listener], tables: Tables, policies: Tables, clusters: Sequence[Cluster]
) -> Iterator[Loop]:
    at = {address: listener for listener in listeners for address in listener.listen}
    doors = {(address.port, address.path) for address in at}
    steps = [
        (number, index, at[address])
        for number, cluster in enumerate(clusters)
        for index, endpoint in enumerate(cluster.members)
        if endpoint.weight and endpoint.via is None and cluster.via is None
        if isinstance(where := endpoint.address, Address) and (where.port, where.path) in doors
        for address in _answering(where)
        if address in at
    ]
    ways: dict[tuple[str, str | None], set[tuple[str, str | None]]] = defaultdict(set)
    for number, _, listener in steps:
        ways["cluster", clusters[number].name].add(("listener", listener.name))
    for listener in {listener.name: listener for _, _, listener in steps}.values():
        parts: list[Listener | Chain] = [listener, *listener.chains]
        for said in parts:
            names = {said.cluster, *tables.get(said.routes or "", ()), *policies.get(said.mqtt or "", ())}
            ways["listener", listener.name].update(("cluster", name) for name in names)
    circle = _circles(ways)
    for number, index, listener in steps:
        if circle["cluster", clusters[number].name] == circle["listener", listener.name]:
            yield number, index, listener


def _answering(endpoint: Address) -> set[Address]:
    """Where a connection to the endpoint can arrive, as far as that is known here."""
    mapped = IPv6Address(endpoint.host).ipv4_mapped if endpoint.kind == "ipv6" else None
    address = Address("ipv4", str(mapped), endpoint.port) if mapped else endpoint
    return {address, address.wildcard} if address.is_local else {address}


def _circles(ways: Mapping[Node, Iterable[Node]]) -> dict[Node, Node]:
    """Every node with one that stands for its circle: the same for two exactly if each can be reached from the other.

    By the algorithm of Kosaraju: one walk finds the order, another one, backwards and from the last, the circles.
    """
    back: dict[Node, list[Node]] = defaultdict(list)
    for node, below in ways.items():
        for step in below:
            back[step].append(node)
    seen: set[Node] = set()
    order = [node for start in ways for node in _walk(start, ways, seen)]
    seen = set()
    return {node: start for start in reversed(order) for node in _walk(start, back, seen)}


def _walk(start: Node, ways: Mapping[Node, Iterable[Node]], seen: set[Node]) -> Iterator[Node]:
    """What can be reached and was not seen, each node after all that was found below it."""
    below = iter((start,))
    trail: list[tuple[Node, Iterator[Node]]] = []
    while True:
        step = next((node for node in below if node not in seen), None)
        if step is not None:
            seen.add(step)
            trail.append((step, below))
            below = iter(ways.get(step, ()))
        elif trail:
            step, below = trail.pop()
            yield step
        else:
            return
