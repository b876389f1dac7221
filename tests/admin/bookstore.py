"""What the admin side of a bookstore's proxy says: the same each time, and a little of everything."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from random import Random
from typing import Any

Row = dict[str, Any]

NOW = 1_700_000_300
HOSTILE = "<img src=x onerror=alert(1)>"
"""What a peer may call itself."""
COUNTED = ("requests", "errors", "p50", "p95", "p99", "received_bytes", "sent_bytes", "connections_active")

LISTENERS: list[Row] = [
    {"name": name, "protocol": protocol, "listen": listen, "connections": now, "total": total, "rejected": rejected,
     "received_bytes": total * 2311, "sent_bytes": total * 18_420}
    for name, protocol, listen, now, total, rejected in (
        ("web", "http", "0.0.0.0:8080, [::]:8080", 412, 91_233, 0),
        ("inbound", "http", "0.0.0.0:15003", 36, 8_120, 14),
        ("db", "tcp", "127.0.0.1:5432", 12, 310, 0),
        ("devices", "mqtt", "0.0.0.0:1883", 1_204, 5_991, 2),
    )
]

CLUSTERS: list[Row] = [
    {"name": "books-v1", "balance": "least_requests", "http": "h1", "connections": 38, "streams": 0,
     "max_connections": 1024, "total": 1200, "overflow": 0, "breaker": "closed", "refused": 0, "retries": 12,
     "endpoints": [
         {"address": "10.0.4.11:9090", "zone": "a", "priority": 0, "weight": 1, "share": 0.5, "picked": "yes",
          "connections": 19, "streams": 0, "total": 611, "connect_failures": 0, "connect_timeouts": 0,
          "check": "ok", "checked_ago": 2.0, "fit": True, "doubts": []},
         {"address": "10.0.4.12:9090", "zone": "b", "priority": 0, "weight": 1, "share": 0.5, "picked": "yes",
          "connections": 19, "streams": 0, "total": 589, "connect_failures": 0, "connect_timeouts": 0,
          "check": "ok", "checked_ago": 1.2, "fit": True, "doubts": []},
         {"address": "10.0.4.13:9090", "zone": "b", "priority": 0, "weight": 1, "share": 0.0, "picked": "no: outlier",
          "connections": 0, "streams": 0, "total": 70, "connect_failures": 41, "connect_timeouts": 3,
          "ejected_for": 24.0, "fit": False, "doubts": ["outlier"]},
     ]},
    {"name": "books-v2", "balance": "least_requests", "http": "h2", "connections": 4, "streams": 22,
     "max_connections": 1024, "total": 90, "overflow": 0, "breaker": "closed", "refused": 0, "retries": 0,
     "endpoints": [
         {"address": "10.0.5.20:9090", "zone": "a", "priority": 0, "weight": 1, "share": 1.0, "picked": "yes",
          "connections": 4, "streams": 22, "total": 90, "connect_failures": 0, "connect_timeouts": 0},
     ]},
    {"name": "reviews", "balance": "round_robin", "http": "h1", "connections": 64, "streams": 0,
     "max_connections": 64, "total": 4000, "overflow": 318, "breaker": "open", "refused": 318, "retries": 4,
     "endpoints": [
         {"address": "10.0.6.2:8080", "name": "reviews.shop.svc:8080", "failure": None, "zone": None, "priority": 0,
          "weight": 3, "share": 0.75, "picked": "in panic: health", "connections": 48, "streams": 0, "total": 3000,
          "connect_failures": 9, "connect_timeouts": 0, "check": "503 from /healthz", "checked_ago": 4.1},
         {"address": "10.0.6.3:8080", "zone": None, "priority": 1, "weight": 1, "share": 0.0, "picked": "spare",
          "connections": 16, "streams": 0, "total": 1000, "connect_failures": 0, "connect_timeouts": 0},
         {"address": None, "name": "old-reviews.shop.svc:8080", "failure": "NXDOMAIN", "zone": None, "priority": 0,
          "weight": 1, "share": 0.0, "picked": "no: address", "connections": 0, "streams": 0, "total": 0,
          "connect_failures": 0, "connect_timeouts": 0},
     ]},
    {"name": "postgres", "balance": "least_connections", "http": "h1", "connections": 12, "streams": 0,
     "max_connections": 200, "total": 310, "overflow": 0, "breaker": "closed", "refused": 0, "retries": 0,
     "endpoints": [
         {"address": "10.0.9.1:5432", "zone": "a", "priority": 0, "weight": 1, "share": 1.0, "picked": "yes",
          "connections": 12, "streams": 0, "total": 310, "connect_failures": 0, "connect_timeouts": 0},
     ]},
]


def _rule(name: str, to: str, requests: int, **more: Any) -> Row:
    match: Row = {"hosts": [], "path": None, "methods": [], "headers": [], "query": [], "identities": []}
    return {"name": name, **match, **more, "to": to, "requests": requests}


RULES = [
    _rule("canary", "books-v2", 1_702, hosts=["shop.local"], path="prefix /books", headers=["x-beta exact 1"]),
    _rule("books", "books-v1 90, books-v2 10", 70_117, hosts=["shop.local", "www.shop.local"], path="prefix /books",
          methods=["GET", "HEAD"]),
    _rule("reviews", "reviews, else reply 503", 12_004, hosts=["shop.local"], path="regex /books/[0-9]+/reviews"),
    _rule("old-shop", "redirect 301 host shop.local", 311, hosts=["old.shop.local"]),
    _rule("web/4", "reply 404", 88),
]
ROUTES: list[Row] = [
    {"name": "web", "order": "specific", "listeners": ["web"], "rules": RULES},
    {"name": "inside", "order": "written", "listeners": ["inbound"], "rules": [
        _rule("admitted", "books-v1", 8_120, path="prefix /", identities=["shop/web", "shop/cart"]),
    ]},
]

VERDICTS = ("header x-beta", "won", "path", "host", "less specific than the winner")
EXPLAINED: Row = {
    "method": "GET", "host": "shop.local", "path": "/books/7", "listeners": ["web"], "table": "web", "identity": None,
    "rule": "books", "answer": "books-v1 90, books-v2 10", "authorize": None,
    "rules": [
        {"verdict": verdict, **{key: value for key, value in rule.items() if key != "requests"}}
        for rule, verdict in zip(RULES, VERDICTS, strict=True)
    ],
}

EDGES: list[Row] = [
    {"source": source, "listener": listener, "cluster": cluster, "endpoint": endpoint, "protocol": protocol,
     "requests": int(rate * 60), "rate": rate, "success": success, "p50": p50, "p99": p99, "connections": connections,
     "sent_bytes": int(rate * 90_000), "received_bytes": int(rate * 400_000)}
    for source, listener, cluster, endpoint, protocol, rate, success, p50, p99, connections in (
        ("shop/web", "inbound", "books-v1", "10.0.4.11:9090", "http", 212.0, 1.0, 3.1, 18.0, 12),
        ("shop/web", "inbound", "books-v1", "10.0.4.12:9090", "http", 208.5, 0.9998, 3.3, 21.0, 12),
        ("shop/web", "inbound", "books-v1", "10.0.4.13:9090", "http", 1.5, 0.02, 1.0, 2.0, 1),
        ("shop/cart", "inbound", "books-v1", "10.0.4.11:9090", "http", 31.0, 1.0, 3.0, 16.0, 4),
        ("10.0.77.3", "web", "books-v2", "10.0.5.20:9090", "http", 44.0, 0.9995, 5.2, 60.0, 9),
        ("10.0.77.3", "web", "reviews", "10.0.6.2:8080", "http", 61.0, 0.962, 41.0, 900.0, 40),
        ("10.0.77.3", "web", "reviews", "", "http", 5.3, 0.0, 0.2, 0.6, 0),
        ("10.0.77.9", "web", "reviews", "10.0.6.2:8080", "http", 12.0, 0.97, 40.0, 880.0, 8),
        ("shop/web", "db", "postgres", "10.0.9.1:5432", "tcp", 0.2, 1.0, None, None, 12),
        ("10.0.77.9", "web", "", "", "http", 0.6, 1.0, 0.1, 0.2, 1),
        (HOSTILE, "web", "books-v2", "10.0.5.20:9090", "http", 0.2, 1.0, 4.0, 9.0, 1),
    )
]
GRAPH: Row = {
    "window_seconds": 60,
    "known_seconds": 60,
    "nodes": [
        {"id": node, "kind": node.partition(":")[0], "name": node.rpartition("/")[2], "state": state}
        for node, state in (
            ("service:books-v1", "ok"), ("service:reviews", "breaker open"), ("endpoint:books-v1/10.0.4.11:9090", "ok"),
            ("endpoint:books-v1/10.0.4.13:9090", "outlier"), ("endpoint:reviews/10.0.6.2:8080", "in panic: health"),
        )
    ],
    "edges": EDGES,
}

WORDS = {
    "UF": "The connection to the endpoint could not be made: is it running, and does it listen on this port?",
    "URX": "It was tried as often as the route allows, and failed each time.",
    "UO": "The breaker of the cluster is open: max_connections and max_requests say how much it takes.",
    "UT": "The endpoint did not answer in time: see the route's timeout.",
}


def exchange(number: int, status: int, flags: str, path: str, ms: float, **more: Any) -> Row:
    """One of them, as `/recent` and `/tap` show it."""
    words = [flag for flag in flags.split(",") if flag]
    time = datetime.fromtimestamp(NOW - number * 1.7, UTC).isoformat(timespec="milliseconds")
    return {
        "time": time.replace("+00:00", "Z"),
        "listener": "web", "route": "books", "cluster": "books-v1", "endpoint": "10.0.4.12:9090", "client": "10.0.77.3",
        "identity": "", "method": "GET", "authority": "shop.local", "path": path, "protocol": "HTTP/1.1",
        "status": status, "flags": words, "words": [WORDS[flag] for flag in words], "reason": "", "ms": ms,
        "attempts": 1, "request_id": f"6f1c-{number:04}", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "received_bytes": 0, "sent_bytes": 1811, **more,
    }


RECENT: Row = {
    "slow_ms": 1000,
    "errors": [
        exchange(1, 503, "UO", "/books/7/reviews", 0.4, route="reviews", cluster="reviews", endpoint="",
                 reason="overflow"),
        exchange(2, 503, "UF,URX", "/books?author=REDACTED", 212.0, attempts=3, endpoint="10.0.4.13:9090",
                 reason="connect_refused"),
        exchange(5, 500, "", f"/{HOSTILE}", 9.1),
        exchange(9, 504, "UT", "/books/11", 15_003.0, reason="request_timeout"),
    ],
    "slow": [
        exchange(3, 200, "", "/books/7/reviews", 2_410.0, route="reviews", cluster="reviews", endpoint="10.0.6.2:8080"),
        exchange(9, 504, "UT", "/books/11", 15_003.0, reason="request_timeout"),
    ],
}

HISTORY: list[Row] = [
    {"generation": 7, "version": "9f2c41d0", "time": NOW - 5_400.0, "source": "PUT /config",
     "changes": ["cluster reviews: changed (breaker)"]},
    {"generation": 6, "version": "71bb0e12", "time": NOW - 90_000.0, "source": "fsm",
     "changes": ["route table web: changed (rules)", "cluster books-v2: added"]},
    {"generation": 5, "version": "00c1fe34", "time": NOW - 400_000.0, "source": "file", "changes": []},
]
DOCUMENT: Row = {
    "listeners": [{"name": "web", "listen": ["0.0.0.0:8080"], "protocol": "http", "routes": "web"}],
    "clusters": {"reviews": {"breaker": {"max_connections": 64}, "endpoints": ["10.0.6.2:8080"]}},
}
DUMP: Row = {"generation": 7, "version": "9f2c41d0", "effective": DOCUMENT, "layers": {"default": DOCUMENT, "fsm": {}}}

CERTIFICATES: list[Row] = [
    {"file": file, "place": place, "subject": f"CN={identity}", "issuer": issuer, "serial": "4a1f",
     "identity": identity, "dns": dns, "uris": [], "ips": [], "is_ca": False, "not_before": "2023-08-01T00:00:00Z",
     "not_after": until, "days_left": left, "sha256": f"{place}{left}",
     "used": [{"listener": "web", "cluster": None, "role": role, "key": key}]}
    for file, place, identity, issuer, dns, until, left, role, key in (
        ("/etc/mesh/web.pem", 0, "shop.local", "CN=Mesh CA 3", ["shop.local", "www.shop.local"], "2024-01-31T00:00:00Z",
         77.2, "certificate", "listeners.web.tls.certificate"),
        ("/etc/mesh/old.pem", 0, "old.shop.local", "CN=Mesh CA 2", ["old.shop.local"], "2023-11-20T00:00:00Z", 5.0,
         "certificate", "listeners.web.tls.certificates[1]"),
        ("/etc/mesh/clients.pem", 1, "Partner CA", "CN=Partner CA", [], "2023-11-13T00:00:00Z", -1.5, "client_ca",
         "listeners.web.tls.client_ca"),
    )
]
CERTIFICATES.append({"file": "/etc/mesh/lost.pem", "place": 0, "error": "no such file", "used": [
    {"listener": None, "cluster": "reviews", "role": "ca", "key": "clusters.reviews.tls.ca"}]})

SOURCES: list[Row] = [
    {"name": "fsm", "url": "http://fsm-controller:6060/books/", "kind": "repo", "state": "serving", "error": None,
     "version": "14695981039346656037", "answered": NOW - 3.0, "next_in": 2.0, "push": True},
    {"name": "policy", "url": "https://plane.local/policy", "kind": "document", "state": "failed",
     "error": "connect: refused", "version": None, "answered": None, "next_in": 30.0, "push": False},
]

SERVER_INFO: Row = {
    "version": "0.9.0", "state": "LIVE", "generation": 7, "config_version": "9f2c41d0", "uptime_seconds": 273_000.5,
    "node": {"id": "web-7f9c", "service": "web", "namespace": "shop", "trust_domain": "cluster.local"}, "pid": 4711,
    "python": "3.13.1", "loop": "uvloop", "overload": "none", "limits": {"cpus": 2.0, "memory_bytes": 268_435_456},
    "workers": [
        {"worker": number, "pid": 4712 + number, "connections": 200 + number, "uptime_seconds": 273_000.0}
        for number in range(2)
    ],
    "sources": {"fsm": "serving", "policy": "failed"},
    "notes": [{"kind": "ignored", "path": "spec.retryOn", "message": "`conflict` is no reason to try again here",
               "source": "policy.yaml", "line": 14}],
    "last_refused": {"time": NOW - 60.0, "source": "PUT /config", "problems": [
        {"path": "listeners[0].cluster", "message": "there is no cluster 'bokos'; did you mean 'books'?",
         "source": "PUT /config", "line": 3}]},
}


def second(number: int, part: float = 1.0) -> Row:
    """What is counted in one: a wave, and ninety seconds before the end something breaks for a moment."""
    chance = Random(number)
    load = part * (820 + 240 * math.sin(number / 40) + chance.uniform(-60, 60))
    broken = 205 <= number % 300 < 218
    return {
        "requests": int(load),
        "errors": int(load * chance.uniform(0.03, 0.12)) if broken else int(chance.random() < 0.08),
        "p50": round(chance.uniform(3.0, 4.2) * (3 if broken else 1), 2),
        "p95": round(chance.uniform(14, 19) * (5 if broken else 1), 2),
        "p99": round(chance.uniform(38, 62) * (9 if broken else 1), 2),
        "received_bytes": int(load * 2_300),
        "sent_bytes": int(load * 18_000),
        "connections_active": int(380 + part * 60 * math.sin(number / 25)),
    }


PARTS = {
    "listeners": {"web": 0.8, "inbound": 0.2, "db": 0.0, "devices": 0.0},
    "routes": {
        "web/canary": 0.02, "web/books": 0.6, "web/reviews": 0.15, "web/old-shop": 0.004, "inbound/admitted": 0.2,
    },
    "clusters": {"books-v1": 0.7, "books-v2": 0.1, "reviews": 0.15, "postgres": 0.0},
}


def stats(window: int) -> Row:
    """As `/stats?window=` says it."""
    return {
        "window_seconds": window, "known_seconds": window, "end": NOW, "workers": 2, "total": _counted(window, 1.0),
        **{kind: {name: _counted(window, part) for name, part in parts.items()} for kind, parts in PARTS.items()},
    }


def _counted(window: int, part: float) -> Row:
    past = [second(number, part) for number in range(300 - window, 300)]
    requests, errors = (sum(each[name] for each in past) for name in ("requests", "errors"))
    quantiles = {name: past[-1][name] if requests else None for name in ("p50", "p95", "p99")}
    success = max(0.0, 1 - errors / requests) if requests else None
    columns = {name: [each[name] for each in past] for name in COUNTED}
    return {**columns, "summary": {"rate": requests / window, "success": success, **quantiles}}


def event(number: int, generation: int = 7) -> Row:
    """The second after the first 300 that `/events` tells of."""
    return {
        "time": NOW + 1 + number, "state": "LIVE", "generation": generation, "uptime_seconds": 273_000.0 + number,
        "total": second(300 + number),
        **{kind: {name: second(number, part) for name, part in parts.items()} for kind, parts in PARTS.items()},
        "recent": {"errors": len(RECENT["errors"]), "slow": len(RECENT["slow"])},
    }
