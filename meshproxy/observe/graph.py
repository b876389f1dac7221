"""Who talks to whom: from the edges of a window to nodes and edges, as data, as DOT, and as rows for a table.

    found = graph(window, {node_id("service", "books"): "breaker open"})
    dot(found)                      # for Graphviz
    rows(found)                     # for people
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import add
from typing import Any

from meshproxy.observe.changes import BUCKETS, CONNECTIONS, ERRORS, FAILED, RECEIVED, SENT, Change
from meshproxy.observe.history import EDGE, Names
from meshproxy.observe.peers import node_id
from meshproxy.observe.printable import printable
from meshproxy.observe.window import Window, success, summary
from meshproxy.wire.introduction import KEYS

SHAPES = {"source": "ellipse", "service": "box", "endpoint": "box, style=rounded"}

Row = dict[str, Any]


def graph(window: Window, states: Mapping[str, str]) -> Row:
    """`states` is what is known of nodes beside their traffic, by id."""
    changes: dict[Names, Change] = {}
    for second in window.changes():
        for names, change in second:
            if names[0] == EDGE:
                changes[names] = [*map(add, changes[names], change)] if names in changes else change
    edges = [_edge(names, changes[names], window.known) for names in sorted(changes)]
    nodes: dict[str, Row] = {}
    for edge in edges:
        for kind in SHAPES:
            name = edge["cluster" if kind == "service" else kind]
            if name:
                found = node_id(kind, name, edge["cluster"])
                state = {"state": states[found]} if found in states else {}
                nodes[found] = {"id": found, "kind": kind, "name": name, **state, **window.peers.get(found, {})}
    _name_services(nodes, edges)
    return {
        "window_seconds": window.seconds,
        "known_seconds": window.known,
        "end": window.end,
        "nodes": [nodes[found] for found in sorted(nodes)],
        "edges": edges,
    }


def _name_services(nodes: Mapping[str, Row], edges: Sequence[Row]) -> None:
    """A service is what all of its endpoints say that they are, of those that say anything."""
    said: dict[str, list[Row]] = {}
    for edge in edges:
        endpoint = nodes.get(_endpoint_of(edge), {})
        if "service" in endpoint:
            said.setdefault(node_id("service", edge["cluster"]), []).append(endpoint)
    for found, (one, *others) in said.items():
        nodes[found].update(
            {key: one[key] for key in KEYS if key in one and all(one[key] == each.get(key) for each in others)}
        )


def _endpoint_of(edge: Row) -> str:
    return node_id("endpoint", edge["endpoint"], edge["cluster"])


def _called(node: Row) -> str | None:
    """What it says of itself, in short: `books.shop v1 in a`."""
    if "service" not in node:
        return None
    name = ".".join(node[key] for key in ("service", "namespace") if key in node)
    words = [name, *([node["version"]] if "version" in node else []), *(["in", node["zone"]] if "zone" in node else [])]
    return " ".join(words)


def _edge(names: Names, change: Change, seconds: int) -> Row:
    _, listener, cluster, source, endpoint = names
    requests, connections = sum(change[BUCKETS]), change[CONNECTIONS]
    said = summary(change, seconds)
    edge = {
        "source": source,
        "listener": listener,
        "cluster": cluster,
        "endpoint": endpoint,
        "protocol": "http",
        "requests": requests,
        "errors": change[ERRORS],
        **said,
        "connections": connections,
        "sent_bytes": change[SENT],
        "received_bytes": change[RECEIVED],
    }
    if not requests:
        rate = round(connections / seconds, 3) if seconds else 0.0
        lost = success(connections, change[FAILED])
        edge |= {"protocol": "tcp", "errors": change[FAILED], "rate": rate, "success": lost}
    return edge


def dot(found: Row) -> str:
    """What has happened between the same two nodes through several listeners is as many lines."""
    lines = ["digraph meshproxy {", "  rankdir=LR;"]
    for node in found["nodes"]:
        label = _quoted(*filter(None, (node["name"], _called(node), node.get("state"))))
        lines.append(f"  {_quoted(node['id'])} [label={label}, shape={SHAPES[node['kind']]}];")
    for edge in found["edges"]:
        service = node_id("service", edge["cluster"])
        endpoint = _endpoint_of(edge)
        source = node_id("source", edge["source"])
        # The proxy may have answered itself, or found nobody to ask.
        ends = [source, *([service] if edge["cluster"] else []), *([endpoint] if edge["endpoint"] else [])]
        colour = ", color=red" if edge["errors"] else ""
        for one, other in pairwise(ends):
            label = _quoted(edge["listener"], *_figures(edge)) if one == source else '""'
            lines.append(f"  {_quoted(one)} -> {_quoted(other)} [label={label}{colour}];")
    return "\n".join([*lines, "}", ""])


def _figures(edge: Row) -> list[str]:
    what = "requests/s" if edge["protocol"] == "http" else "connections/s"
    latency = [f"p99 {edge['p99']:g} ms"] if edge["p99"] is not None else []
    return [f"{edge['rate']:g} {what}", f"{edge['success']:.2%} ok", *latency] if edge["success"] is not None else []


def _quoted(*lines: str) -> str:
    """Within quotes DOT knows two escapes that matter: of the quote, and by a backslash of what begins with one."""
    plain = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(plain) + '"'


def rows(found: Row) -> list[Row]:
    called = {node["id"]: _called(node) for node in found["nodes"]}
    return [
        {
            "source": edge["source"],
            "listener": edge["listener"],
            "service": edge["cluster"] or None,
            "endpoint": edge["endpoint"] or None,
            "protocol": edge["protocol"],
            "rate": edge["rate"],
            "success": edge["success"],
            "p50_ms": edge["p50"],
            "p99_ms": edge["p99"],
            "sent_bytes": edge["sent_bytes"],
            "received_bytes": edge["received_bytes"],
            **({"source_is": source} if (source := called[node_id("source", edge["source"])]) else {}),
            **({"endpoint_is": endpoint} if (endpoint := called.get(_endpoint_of(edge))) else {}),
        }
        for edge in found["edges"]
    ]
