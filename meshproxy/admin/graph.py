"""What is known of the nodes of the service graph beside their traffic: from the rows of `/clusters`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshproxy.observe.peers import node_id

NOT_PICKED = "no: "


def states(clusters: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """By the id of a node: `ok`, or what is held against it."""
    found: dict[str, str] = {}
    for cluster in clusters:
        name = cluster["name"]
        found[node_id("service", name)] = "breaker open" if cluster.get("breaker") == "open" else "ok"
        for endpoint in cluster["endpoints"]:
            picked = endpoint.get("picked", "yes").removeprefix(NOT_PICKED)
            found[node_id("endpoint", str(endpoint["address"]), name)] = "ok" if picked == "yes" else picked
    return found
