"""Limits of requests by real processes: the limit is the limit, whatever the number of workers."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Start, poll

RATE, BURST = 200, 20


def limited(workers: int, **rate: Any) -> dict[str, Any]:
    rate = {"requests": RATE, "per": "1s", "burst": BURST, **rate}
    return {
        "workers": workers,
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": [{"reply": {"status": 204}, "filters": [{"rate_limit": rate}]}]},
    }


def ask(sock: socket.socket, key: str = "") -> str:
    sock.sendall(f"GET / HTTP/1.1\r\nHost: x\r\nX-Key: {key}\r\n\r\n".encode())
    got = b""
    while not got.endswith((b"\r\n\r\n", b"limited\n")):
        more = sock.recv(4096)
        assert more, "it has ended"
        got += more
    return got[9:12].decode()


def hammered(proxy: Any, seconds: float, keys: tuple[str, ...] = ("",)) -> tuple[Counter[tuple[str, str]], float]:
    """Requests one after the other on connections to all workers: how often each answer came, and in which time."""
    crowd = [proxy.connect() for _ in range(16)]
    found: Counter[tuple[str, str]] = Counter()
    began, turn = time.monotonic(), 0
    while (took := time.monotonic() - began) < seconds:
        key = keys[turn % len(keys)]
        found[key, ask(crowd[turn // len(keys) % len(crowd)], key)] += 1
        turn += 1
    for sock in crowd:
        sock.close()
    return found, took


def within(measure: Callable[[], tuple[int, float]], least: float = 0.95, most: float = 1.05) -> None:
    """How many were let in, of those that were due: never too many; too few is also what a machine sees that stood
    still for a moment, but not three times."""
    shares: list[float] = []
    while len(shares) < 3 and max(shares, default=0.0) < least:
        inside, due = measure()
        shares.append(inside / due)
        assert shares[-1] <= most, shares
    assert max(shares) >= least, shares


@pytest.mark.parametrize(
    ("workers", "by"), [(1, None), (2, None), (1, {"header": "x-key"}), (4, {"header": "x-key"})]
)
def test_the_limit_is_the_limit_whatever_the_number_of_workers(start: Start, workers: int, by: Any) -> None:
    proxy = start(limited(workers, by=by))
    keys = ("a", "b") if by else ("",)

    def measure() -> tuple[int, float]:
        found, took = hammered(proxy, 1.5, keys)
        due = RATE * took + BURST
        let_in = [found[key, "204"] for key in keys]
        assert max(let_in) <= 1.05 * due, found
        assert all(found[key, "429"] for key in keys), "it was asked too much"
        return min(let_in), due

    within(measure)


def test_an_attacker_with_a_thousand_keys_changes_nothing_for_others(start: Start) -> None:
    proxy = start(limited(2, by={"header": "x-key"}, requests=5, per="1h", burst=5))
    with proxy.connect() as one, proxy.connect() as other:
        assert [ask(one, "victim") for _ in range(3)] == ["204"] * 3
        for number in range(1000):
            assert ask(other, f"attacker {number}") == "204"
        assert [ask(other, "victim") for _ in range(3)] == ["204", "204", "429"]
        assert ask(one, "victim") == "429"
    assert "meshproxy_buckets_forgotten_total 0\n" in proxy.ask("GET", "/metrics")[1]


def test_a_worker_that_dies_and_a_reload_forget_nobody(start: Start) -> None:
    said = limited(2, by={"header": "x-key"}, requests=5, per="1h", burst=5)
    proxy = start(said)
    with proxy.connect() as one:
        assert [ask(one, "a") for _ in range(6)] == ["204"] * 5 + ["429"]
    before = {row["pid"] for row in proxy.ask("GET", "/server_info")[1]["workers"]}
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def replaced() -> bool:
        now = {row["pid"] for row in proxy.ask("GET", "/server_info")[1]["workers"]}
        return len(now) == 2 and not now & before

    poll(replaced, "successors")
    with proxy.connect() as one:
        assert [ask(one, "a"), ask(one, "b")] == ["429", "204"]
    del said["workers"]
    said["routes"]["web"].append({"match": {"path": {"exact": "/more"}}, "reply": {}})
    assert proxy.put(said)[0] == 200
    with proxy.connect() as one:
        assert ask(one, "a") == "429"


def pour(server: socket.socket) -> None:
    """Send without end, to everybody."""

    def serve(sock: socket.socket) -> None:
        with sock:
            try:
                while True:
                    sock.sendall(bytes(65536))
            except OSError:
                return

    while True:
        try:
            sock, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


@pytest.mark.parametrize("per", ["listener", "connection"])
def test_bandwidth_is_the_bandwidth_whatever_the_number_of_workers(start: Start, per: str) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=pour, args=(server,), daemon=True).start()
    rate, many = 2 << 20, 6
    proxy = start(
        {
            "workers": 2,
            "listeners": [
                {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up",
                 "filters": [{"bandwidth": {"down": rate, "per": per}}]}
            ],
            "clusters": {"up": {"endpoints": ["{}:{}".format(*server.getsockname())]}},
        }
    )  # fmt: skip
    crowd = [proxy.connect() for _ in range(many)]
    sizes, over = [0] * many, threading.Event()

    def read(number: int) -> None:
        while not over.is_set():
            sizes[number] += len(crowd[number].recv(65536))

    readers = [threading.Thread(target=read, args=(number,)) for number in range(many)]
    for reader in readers:
        reader.start()
    time.sleep(0.5)  # >> what is free at the beginning has passed
    before, began = sum(sizes), time.monotonic()
    time.sleep(1.5)
    found, took = sum(sizes) - before, time.monotonic() - began
    over.set()
    for reader in readers:
        reader.join()
    for sock in crowd:
        sock.close()
    server.close()
    due = rate * took * (many if per == "connection" else 1)
    assert 0.95 * due <= found <= 1.05 * due, found / due
    assert min(sizes) > 0.5 * max(sizes), "each has its turn"
