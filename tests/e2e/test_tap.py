"""Requests of a real proxy of several workers, seen as they end."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from tests.e2e.conftest import LONGEST, Running, Start, command, poll
from tests.e2e.test_workers import pids_of, replaced

ROUND = 24
"""Connections, of which the kernel gives each worker some."""


def config(workers: int) -> dict[str, Any]:
    return {
        "workers": workers,
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {
            "web": [
                {"name": "well", "reply": {"status": 200, "body": "yes"}},
                {"name": "bad", "match": {"path": {"prefix": "/bad"}}, "cluster": "nobody"},
            ]
        },
        "clusters": {"nobody": {"endpoints": ["127.0.0.1:1"]}},
    }


def ask(proxy: Running, address: tuple[str, int], path: str) -> int:
    client = http.client.HTTPConnection(*address, timeout=LONGEST)
    with suppress(ConnectionError):
        client.request("GET", path, headers={"Cookie": "s3cret", "X-Seen": "yes"})
        response = client.getresponse()
        response.read()
        client.close()
        return response.status
    return 0


@contextmanager
def stream(proxy: Running, path: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """Its events, once all workers have heard that they are wanted."""
    connection = http.client.HTTPConnection("localhost", timeout=LONGEST)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(LONGEST)
    connection.sock.connect(proxy.admin)
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
    proxy.ask("GET", "/stats")  # an answer of each, which comes after what it was told before

    def events() -> Iterator[tuple[str, Any]]:
        event = ""
        while line := response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                yield event, json.loads(value)

    try:
        yield events()
    finally:
        response.close()
        connection.close()


def test_all_workers_are_seen_and_one_that_comes_later(start: Start) -> None:
    proxy = start(config(2))
    address = proxy.address()
    with stream(proxy, "/tap?path=/seen&headers=1") as events:
        assert [ask(proxy, address, "/unseen") for _ in range(3)] == [200] * 3
        assert [ask(proxy, address, f"/seen?k={number}") for number in range(ROUND)] == [200] * ROUND
        seen = [next(events) for _ in range(ROUND)]
        assert {(kind, event["listener"], event["route"], event["path"], event["status"]) for kind, event in seen} == {
            ("exchange", "in", "well", "/seen?k=*", 200)
        }
        assert ["Cookie", "*"] in seen[0][1]["request_headers"]
        assert ["X-Seen", "yes"] in seen[0][1]["request_headers"]
        before = pids_of(proxy)
        os.kill(min(before), signal.SIGKILL)
        poll(lambda: replaced(proxy, before), "a successor")
        answered = sum(ask(proxy, address, "/seen/again") == 200 for _ in range(ROUND))
        assert answered >= ROUND // 2
        again = [next(events)[1] for _ in range(answered)]
        assert {event["path"] for event in again} == {"/seen/again"}
        proxy.signal(signal.SIGTERM)
        assert list(events) == [], "it ends, and so does the proxy when its reader has left"
    assert proxy.exit_code() == 0


def test_each_second_is_told_as_it_ends(start: Start) -> None:
    proxy = start(config(2))
    address = proxy.address()
    with stream(proxy, "/events") as events:
        next(events)
        assert [ask(proxy, address, "/bad" if number % 2 else "/") for number in range(ROUND)].count(200) == ROUND // 2
        seconds: dict[int, Any] = {}
        while sum(second["total"]["requests"] for second in seconds.values()) < ROUND:
            kind, second = next(events)
            assert kind == "second"
            seconds[second["time"]] = second
    assert sum(second["total"]["errors"] for second in seconds.values()) == ROUND // 2
    assert sum(second["routes"].get("in/bad", {"requests": 0})["requests"] for second in seconds.values()) == ROUND // 2
    assert (second["state"], second["generation"], second["recent"]) == ("LIVE", 1, {"errors": ROUND // 2, "slow": 0})


def test_what_was_recent_and_a_tap_from_the_command_line(start: Start) -> None:
    proxy = start(config(2))
    address = proxy.address()
    for number in range(ROUND):
        ask(proxy, address, f"/bad/{number}" if number % 2 else "/")
    recent = poll(lambda: proxy.ask("GET", f"/recent?limit={ROUND}")[1], "an answer")
    assert {event["path"] for event in recent["errors"]} == {f"/bad/{number}" for number in range(1, ROUND, 2)}
    # Who was over last comes first, of two workers whose clocks tell milliseconds: one that began before may end after.
    ends = [datetime.fromisoformat(event["time"]).timestamp() + event["ms"] / 1000 for event in recent["errors"]]
    assert ends == sorted(ends, reverse=True)
    newest = recent["errors"][0]
    assert (newest["status"], newest["cluster"], "UF" in newest["flags"]) == (503, "nobody", True)
    assert newest["words"]
    assert (recent["errors_total"], recent["slow"]) == (ROUND // 2, [])
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            ask(proxy, address, "/bad/thing?k=s3cret")
            ask(proxy, address, "/")

    traffic = threading.Thread(target=go_on)
    traffic.start()
    try:
        done = command("tap", "--admin", f"unix:{proxy.admin}", "--status", "5xx", "--limit", "3")
    finally:
        over.set()
        traffic.join(LONGEST)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("  503  " in line and "GET" in line and "/bad/thing?k=*  UF" in line for line in lines)
