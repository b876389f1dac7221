"""The service graph: nodes and edges of what was counted, whatever peers call themselves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from meshproxy.admin.graph import states
from meshproxy.observe.graph import dot, graph, rows
from meshproxy.observe.history import History
from meshproxy.observe.metrics.answers import EdgeStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.peers import Peers
from meshproxy.observe.printable import printable
from meshproxy.observe.window import Window

START = 1_700_000_000
EVIL = 'e"vil\\\n\x1b[2J\u202e'


def edge(stats: Stats, source: str, listener: str, cluster: str, endpoint: str) -> EdgeStats:
    by_cluster = stats.edges.setdefault(listener, {})
    by_source = by_cluster.setdefault(cluster, {})
    return by_source.setdefault(source, {}).setdefault(endpoint, EdgeStats())


def told(*stats: Stats, peers: Sequence[Peers] = ()) -> Window:
    """Of one worker each, in one second of two."""
    past = []
    for each, known in zip_longest(stats, peers):
        history = History(START, 0.0, known)
        for at in (1, 2):
            for _ in history.second(each, START + at, at):
                pass
        past.append(history.told(2))
    return Window(past, 2)


def found(known: dict[str, str] | None = None) -> Any:
    one, other = Stats(), Stats()
    for stats in (one, other):
        web = edge(stats, "spiffe://mesh/web", "in", "books", "10.0.0.1:80")
        web.count(200, "", 0.002)
        web.count(503, "UF", 0.002)
        web.sent_bytes_total += 10
    edge(one, "10.9.9.9", "in", "books", "").count(503, "UH", 0.0)
    tcp = edge(other, EVIL, "db", "store", "10.0.0.2:5432")
    tcp.connections_total, tcp.failed_total = 4, 1
    return graph(told(one, other), known or {})


def test_workers_are_added_up_to_edges_and_their_ends_are_nodes() -> None:
    it = found({"service:books": "breaker open", "endpoint:books/10.0.0.1:80": "ok"})
    assert [(node["id"], node["kind"], node["name"], node.get("state")) for node in it["nodes"]] == [
        ("endpoint:books/10.0.0.1:80", "endpoint", "10.0.0.1:80", "ok"),
        ("endpoint:store/10.0.0.2:5432", "endpoint", "10.0.0.2:5432", None),
        ("service:books", "service", "books", "breaker open"),
        ("service:store", "service", "store", None),
        ("source:10.9.9.9", "source", "10.9.9.9", None),
        (f"source:{EVIL}", "source", EVIL, None),
        ("source:spiffe://mesh/web", "source", "spiffe://mesh/web", None),
    ]
    tcp, nobody, web = it["edges"]
    assert (nobody["source"], nobody["endpoint"], nobody["success"], nobody["requests"]) == ("10.9.9.9", "", 0.0, 1)
    assert web == {
        "source": "spiffe://mesh/web", "listener": "in", "cluster": "books", "endpoint": "10.0.0.1:80",
        "protocol": "http", "requests": 4, "errors": 2, "rate": 2.0, "success": 0.5, "p50": 1.75, "p95": 2.425,
        "p99": 2.485, "connections": 0, "sent_bytes": 20, "received_bytes": 0,
    }  # fmt: skip
    assert (tcp["protocol"], tcp["connections"], tcp["rate"], tcp["success"], tcp["p99"]) == ("tcp", 4, 2.0, 0.75, None)


def test_dot_is_the_same_each_time_and_no_name_can_break_out_of_it() -> None:
    text = dot(found())
    assert text == dot(found())
    assert (text.splitlines()[0], text[-2:]) == ("digraph meshproxy {", "}\n")
    assert (
        '  "source:spiffe://mesh/web" -> "service:books" '
        '[label="in\\n2 requests/s\\n50.00% ok\\np99 2.485 ms", color=red];\n'
        '  "service:books" -> "endpoint:books/10.0.0.1:80" [label="", color=red];\n'
    ) in text
    assert '"source:10.9.9.9" -> "service:books"' in text
    assert r'"source:e\"vil\\\\n\\x1b[2J\\u202e" [label="e\"vil\\\\n\\x1b[2J\\u202e"' in text
    assert all(line.isprintable() for line in text.splitlines())
    # Quotes that are not escaped come in pairs.
    assert all(line.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 0 for line in text.splitlines())


def test_rows_say_nothing_where_there_is_nothing() -> None:
    shown = rows(found())
    assert [row["endpoint"] for row in shown] == ["10.0.0.2:5432", None, "10.0.0.1:80"]
    assert graph(Window([], 5), {})["edges"] == []
    assert dot(graph(Window([], 5), {})) == "digraph meshproxy {\n  rankdir=LR;\n}\n"


def test_states_are_what_clusters_say() -> None:
    rows = [
        {
            "name": "books",
            "breaker": "open",
            "endpoints": [
                {"address": "a:1", "picked": "yes"},
                {"address": "a:2", "picked": "no: health, outlier"},
                {"address": None, "picked": "no: address"},
            ],
        }
    ]
    assert states(rows) == {
        "service:books": "breaker open",
        "endpoint:books/a:1": "ok",
        "endpoint:books/a:2": "health, outlier",
        "endpoint:books/None": "address",
    }


def test_what_moves_a_cursor_is_written_as_its_escape() -> None:
    assert printable("büro 東京") == "büro 東京"
    assert printable(EVIL) == r'e"vil\\n\x1b[2J\u202e'
    assert printable("\udc80\x9b\x7f") == "\\udc80\\x9b\\x7f"


def test_nodes_have_the_names_that_proxies_have_told_some_worker() -> None:
    """A service has what all of its endpoints say that say anything."""
    one, other = Stats(), Stats()
    for stats, endpoints in ((one, ["10.0.0.1:80", "10.0.0.3:80"]), (other, ["10.0.0.2:80"])):
        for endpoint in endpoints:
            edge(stats, "spiffe://mesh/web", "in", "books", endpoint).count(200, "", 0.002)
    peers = Peers(), Peers()
    peers[0].came("spiffe://mesh/web", {"service": "web", "namespace": "shop", "version": "v1", "zone": "a"})
    peers[0].reached("books", "10.0.0.1:80", {"service": "books", "version": "v1", "zone": "a"})
    peers[1].reached("books", "10.0.0.2:80", {"service": "books", "version": "v2", "zone": "a"})
    it = graph(told(one, other, peers=peers), {"service:books": "ok"})
    nodes = {node["id"]: node for node in it["nodes"]}
    assert nodes["source:spiffe://mesh/web"] == {
        "id": "source:spiffe://mesh/web", "kind": "source", "name": "spiffe://mesh/web",
        "service": "web", "namespace": "shop", "version": "v1", "zone": "a",
    }  # fmt: skip
    assert (nodes["endpoint:books/10.0.0.1:80"]["version"], nodes["endpoint:books/10.0.0.2:80"]["version"]) == (
        "v1", "v2",
    )  # fmt: skip
    assert "service" not in nodes["endpoint:books/10.0.0.3:80"]
    assert nodes["service:books"] == {
        "id": "service:books", "kind": "service", "name": "books", "state": "ok", "service": "books", "zone": "a"
    }  # fmt: skip
    text = dot(it)
    assert '[label="spiffe://mesh/web\\nweb.shop v1 in a", shape=ellipse]' in text
    assert '[label="books\\nbooks in a\\nok", shape=box]' in text
    first, second, third = rows(it)
    assert (first["source_is"], first["endpoint_is"]) == ("web.shop v1 in a", "books v1 in a")
    assert second["endpoint_is"] == "books v2 in a"
    assert "endpoint_is" not in third
