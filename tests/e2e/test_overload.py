"""A real process whose loop is held up: what it refuses meanwhile, and that it recovers."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.e2e.conftest import LONGEST, Start, poll


def config(workers: int) -> dict[str, Any]:
    """Who holds it up is of high priority, so that it goes on."""
    block = {"extension": {"call": "tests.relay.extensions:Block", "config": {"seconds": 0.02}, "deadline": "60s"}}
    reply = {"body": "served\n"}
    return {
        "workers": workers,
        "overload": {"lag": "10ms", "memory": 0, "connections": 0},
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"},
            {"name": "plain", "listen": "127.0.0.2:0", "protocol": "http", "routes": "plain"},
        ],
        "routes": {
            "web": [
                {"name": "block", "match": {"path": {"prefix": "/block"}}, "priority": "high", "filters": [block],
                 "reply": reply},
                {"name": "low", "match": {"path": {"prefix": "/low"}}, "priority": "low", "reply": reply},
                {"name": "high", "match": {"path": {"prefix": "/high"}}, "priority": "high", "reply": reply},
                {"name": "normal", "reply": reply},
            ],
            "plain": [{"reply": reply}],
        },
    }  # fmt: skip


def get(address: tuple[str, int], path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*address, timeout=LONGEST)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


@contextmanager
def held_up(address: tuple[str, int]) -> Iterator[None]:
    """By clients that ask one request after the other, each on a connection of its own."""
    over = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection(*address, timeout=LONGEST)
        while not over.is_set():
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/block")
                connection.getresponse().read()
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def refused(address: tuple[str, int], path: str) -> http.client.HTTPResponse | None:
    response = get(address, path)
    return response if response.status == 503 else None


def test_a_loop_that_is_held_up_refuses_what_counts_least_and_recovers(start: Start) -> None:
    running = start(config(1), hurry={"meshproxy.core.overload.CALM": 0.5})
    ranked, plain = running.address(), running.address("plain")
    assert running.ask("GET", "/server_info")[1]["overload"] == "none"
    assert get(ranked, "/low").status == 200
    with held_up(ranked):

        def turned_away() -> bool:
            try:
                get(plain, "/")
            except ConnectionError:
                return True
            return False

        response = poll(lambda: refused(ranked, "/low"), "low priority is refused")
        assert response.headers["Retry-After"] == "3"
        assert response.headers["Connection"] == "close"
        poll(turned_away, "new connections are refused where nothing is of high priority")
        assert get(ranked, "/high").status == 200
        poll(lambda: running.ask("GET", "/server_info")[1]["overload"] == "connections", "it says so")
    poll(lambda: running.ask("GET", "/server_info")[1]["overload"] == "none", "it has recovered")
    for address, path in ((ranked, "/low"), (ranked, "/"), (plain, "/")):
        assert get(address, path).status == 200
    metrics = running.ask("GET", "/metrics")[1]
    assert 'flags="OM"' in metrics
    assert 'meshproxy_listener_rejected_total{listener="plain",reason="overload"} 0\n' not in metrics
    for stage in ("keep_alive", "low", "connections"):
        assert f'meshproxy_overload_workers{{stage="{stage}"}} 0\n' in metrics
        assert f'meshproxy_overload_entered_total{{stage="{stage}"}} 0\n' not in metrics
    log = running.log.read_text()
    assert "WARNING overload stage=" in log
    assert "INFO overload stage=none before=keep_alive" in log


def test_each_of_several_workers_decides_for_itself_and_all_are_shown(start: Start) -> None:
    running = start(config(2), hurry={"meshproxy.core.overload.CALM": 0.5})
    ranked = running.address()
    # Not that anything is refused: who is in trouble hands what is new to who is not.
    with held_up(ranked):

        def shown() -> bool:
            told = running.ask("GET", "/server_info")[1]
            return told["overload"] != "none" and told["overload"] in {each["overload"] for each in told["workers"]}

        poll(shown, "it says so")
    poll(lambda: get(ranked, "/low").status == 200, "it has recovered")
