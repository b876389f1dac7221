"""Health with real processes: one worker and two know the same, and so does one that takes the place of another."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.e2e.conftest import Start, poll
from tests.e2e.test_workers import pids_of, replaced

INTERVAL = 0.1


class Site:
    """Answers requests with its name and a status, and says whether it is ready."""

    def __init__(self, name: str) -> None:
        self.ready = True
        self.status = 200
        self.counts: Counter[str] = Counter()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                status = site.status
                if self.path == "/ready":
                    status = 200 if site.ready else 503
                site.counts[f"{self.path} {status}"] += 1
                self.send_response(status)
                self.send_header("Content-Length", str(len(name)))
                self.end_headers()
                self.wfile.write(name.encode())

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def site() -> Iterator[Callable[[str], Site]]:
    made: list[Site] = []

    def make(name: str) -> Site:
        made.append(Site(name))
        return made[-1]

    yield make
    for each in made:
        each.close()


def config(*sites: Site, workers: int, **cluster: Any) -> dict[str, Any]:
    return {
        "workers": workers,
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": [each.address for each in sites], **cluster}},
    }


def ask(proxy: Any, connections: int = 16, requests: int = 1) -> Counter[str]:
    """What is answered, over so many connections at a time, of which every worker has some."""
    host, port = proxy.address()
    found: Counter[str] = Counter()
    clients = [http.client.HTTPConnection(host, port, timeout=20) for _ in range(connections)]
    for _ in range(requests):
        for client in clients:
            client.request("GET", "/")
            response = client.getresponse()
            found[f"{response.status} {response.read().decode()}"] += 1
    for client in clients:
        client.close()
    return found


def rows(proxy: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = proxy.ask("GET", "/clusters?format=json")[1][0]["endpoints"]
    return found


def replace_a_worker(proxy: Any) -> None:
    before = pids_of(proxy)
    os.kill(min(before), signal.SIGKILL)
    poll(lambda: replaced(proxy, before), "a successor")


@pytest.mark.parametrize("workers", [1, 2])
def test_checks_are_made_once_and_every_worker_knows(
    start: Start, site: Callable[[str], Site], workers: int
) -> None:
    one, two = site("one"), site("two")
    one.ready = False
    begun = time.monotonic()
    health = {"path": "/ready", "interval": f"{INTERVAL:g}s", "interval_unhealthy": f"{INTERVAL:g}s"}
    proxy = start(config(one, two, workers=workers, health=health))
    assert ask(proxy) == {"200 two": 16}, "from the first request on"
    first, second = rows(proxy)
    assert (first["fit"], first["doubts"], first["check"]) == (False, ["health"], "status 503")
    assert (second["fit"], second["doubts"], second["check"]) == (True, [], "ok")

    one.ready = True
    poll(lambda: set(ask(proxy)) == {"200 one", "200 two"}, "both")
    two.ready = False
    poll(lambda: ask(proxy) == {"200 one": 16}, "only the other one, on every worker")
    if workers > 1:
        replace_a_worker(proxy)
        poll(lambda: sum(ask(proxy, 32).values()) == 32, "all serve")
        assert set(ask(proxy, 32)) == {"200 one"}, "a successor has heard it"

    asked = sum(count for word, count in one.counts.items() if word.startswith("/ready"))
    assert asked <= 2 + (time.monotonic() - begun) / INTERVAL, "one asks for all"
    metrics = proxy.ask("GET", "/metrics")[1]
    assert 'meshproxy_cluster_endpoints_fit{cluster="up"} 1' in metrics
    assert 'meshproxy_cluster_health_checks_total{cluster="up",result="timeout"} 0' in metrics
    log = proxy.log.read_text()
    assert f'endpoint-unhealthy cluster=up endpoint={one.address} check="status 503"' in log
    assert f"endpoint-healthy cluster=up endpoint={one.address} check=ok" in log
    proxy.signal(signal.SIGTERM)
    assert proxy.exit_code() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_whom_one_worker_ejects_no_worker_asks(start: Start, site: Callable[[str], Site], workers: int) -> None:
    one, two = site("one"), site("two")
    one.status = 500
    proxy = start(config(one, two, workers=workers, outlier={"consecutive_5xx": 3, "ejection": "60s"}))
    assert ask(proxy, 1, 10)["500 one"] == 3, "one connection is one worker's"
    poll(lambda: [row["fit"] for row in rows(proxy)] == [False, True], "it is shown")
    assert rows(proxy)[0]["doubts"] == ["outlier"]
    assert 50 < rows(proxy)[0]["ejected_for"] <= 60
    assert ask(proxy, 32) == {"200 two": 32}
    if workers > 1:
        replace_a_worker(proxy)
        assert ask(proxy, 32) == {"200 two": 32}, "a successor has heard it"
    metrics = proxy.ask("GET", "/metrics")[1]
    assert 'meshproxy_cluster_ejections_total{cluster="up",reason="5xx"} 1\n' in metrics
    assert 'meshproxy_cluster_endpoints_fit{cluster="up"} 1\n' in metrics
    assert "endpoint-ejected cluster=up" in proxy.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_one_worker_leaves_alone_no_worker_asks(start: Start, site: Callable[[str], Site], workers: int) -> None:
    one, two = site("one"), site("two")
    one.status = two.status = 500
    breaker = {"error_amount": 3, "open": "60s", "reply": {"status": 503, "body": "nobody"}}
    proxy = start(config(one, two, workers=workers, breaker=breaker))
    assert ask(proxy, 1, 10)["503 nobody"] == 7, "one connection is one worker's"
    poll(lambda: ask(proxy, 32) == {"503 nobody": 32}, "all workers")
    if workers > 1:
        replace_a_worker(proxy)
        poll(lambda: ask(proxy, 32) == {"503 nobody": 32}, "a successor has heard it")
    metrics = proxy.ask("GET", "/metrics")[1]
    assert f'meshproxy_cluster_breaker_open{{cluster="up"}} {workers}\n' in metrics
    assert "breaker-opened cluster=up" in proxy.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_reload_keeps_verdicts_and_begins_new_checks(
    start: Start, site: Callable[[str], Site], workers: int
) -> None:
    one, two, three = site("one"), site("two"), site("three")
    one.ready = three.ready = False
    health = {"path": "/ready", "interval": "60s", "interval_unhealthy": "60s"}
    proxy = start(config(one, two, workers=workers, health=health, panic=0))
    checks = one.counts["/ready 503"]
    changed = config(one, two, three, workers=workers, health=health, panic=0)
    del changed["workers"]
    assert proxy.put(changed)[0] == 200
    assert ask(proxy, 32) == {"200 two": 32}
    assert [row["fit"] for row in rows(proxy)] == [False, True, False]
    assert (one.counts["/ready 503"] - checks, three.counts["/ready 503"]) in {(0, 1), (1, 1)}
    del changed["clusters"]["up"]["health"]
    assert proxy.put(changed)[0] == 200
    assert set(ask(proxy, 32)) == {"200 one", "200 two", "200 three"}
    assert "fit" not in rows(proxy)[0]
