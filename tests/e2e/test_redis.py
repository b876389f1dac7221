"""Limits that many proxies have together, with a real Redis: shared exactly, and never waited for when it fails."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start, poll
from tests.e2e.test_limits import RATE, ask, hammered, limited, within

PASSWORD = "nobody-may-read-this"


class Redis:
    """A server on a unix socket, which can be ended and started again, with nothing in it."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "redis.sock")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.path, "--save", "", "--requirepass", PASSWORD],
            stdout=subprocess.DEVNULL,
        )
        poll(self._answers, "Redis answers")

    def _answers(self) -> bool:
        try:
            return self.ask("PING") == "+PONG"
        except OSError:
            return False

    def ask(self, *words: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.path)
            lines = sock.makefile("rw", newline="\r\n")
            lines.write(f"AUTH {PASSWORD}\r\n{' '.join(words)}\r\n")
            lines.flush()
            lines.readline()
            return lines.readline().strip()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here (scripts/install-peers)")
    server = Redis(tmp_path)
    yield server
    server.kill()


def shared(redis: Redis, workers: int = 2, on_error: str = "local", **rate: Any) -> dict[str, Any]:
    where = {"address": f"unix:{redis.path}", "key": "web", "password": PASSWORD, "on_error": on_error}
    return limited(workers, redis=where, **rate)


def is_up(proxy: Any) -> bool:
    return f'meshproxy_redis_up{{redis="unix:{proxy.directory}/redis.sock/0"}} 1\n' in proxy.ask("GET", "/metrics")[1]


class Load:
    """One client that asks without a pause; how long the longest answer took, and what came when."""

    def __init__(self, proxy: Any) -> None:
        self._sock = proxy.connect()
        self._over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.longest = 0.0
        self.problem: Exception | None = None
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                self.answers[ask(self._sock)] += 1
                self.longest = max(self.longest, time.monotonic() - began)
        except (OSError, AssertionError) as error:
            self.problem = error

    def took_more(self) -> Callable[[], bool]:
        """Whether requests are let in from now on."""
        before = self.answers["204"]
        return lambda: self.answers["204"] > before + 5

    def end(self) -> None:
        self._over.set()
        self._thread.join()
        self._sock.close()
        assert self.problem is None


def test_proxies_have_one_limit_together(start: Start, redis: Redis, tmp_path: Path) -> None:
    def proxy(name: str) -> Any:
        directory = tmp_path / name
        directory.mkdir()
        start.directory = directory
        return start(shared(redis))

    proxies = [proxy("a"), proxy("b")]
    barrier = threading.Barrier(2)

    def work(found: list[Counter[str]], number: int) -> None:
        crowd = [proxies[number].connect() for _ in range(8)]
        barrier.wait()
        began, turn = time.monotonic(), 0
        while time.monotonic() - began < 3:
            found[number][ask(crowd[turn % len(crowd)])] += 1
            turn += 1
        for sock in crowd:
            sock.close()

    def measure() -> tuple[int, float]:
        found: list[Counter[str]] = [Counter(), Counter()]
        threads = [threading.Thread(target=work, args=(found, number)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        due = RATE * 3 + 20
        assert min(each["204"] for each in found) > 0.2 * due, "both have a part"
        return found[0]["204"] + found[1]["204"], due

    within(measure)
    assert PASSWORD not in proxies[0].ask("GET", "/config")[1].__repr__()
    assert PASSWORD not in proxies[0].log.read_text()


@pytest.mark.parametrize("on_error", ["local", "allow", "refuse"])
def test_it_is_killed_and_restarted_under_load(start: Start, redis: Redis, on_error: str) -> None:
    proxy = start(shared(redis, on_error=on_error))
    poll(lambda: is_up(proxy), "it is connected")
    load = Load(proxy)
    poll(load.took_more(), "served")
    redis.kill()
    poll(lambda: not is_up(proxy), "that is noticed")
    if on_error == "refuse":
        time.sleep(0.1)  # >> what was lent before is used up
        before = load.answers["204"]
        poll(lambda load=load, seen=load.answers["429"]: load.answers["429"] > seen + 200, "refused")  # type: ignore[misc]
        assert load.answers["204"] == before
    elif on_error == "allow":
        before_all, before = sum(load.answers.values()), load.answers["204"]
        poll(lambda: load.answers["204"] > before + 3 * RATE, "all are let in")
        assert load.answers["204"] - before >= 0.9 * (sum(load.answers.values()) - before_all)
    else:
        began, before = time.monotonic(), load.answers["204"]
        poll(load.took_more(), "served by itself")
        time.sleep(max(0.0, began + 2 - time.monotonic()))
        inside = load.answers["204"] - before
        due = RATE * (time.monotonic() - began)
        assert 0.9 * due - 20 <= inside <= 1.1 * due + 20
    redis.start()
    poll(lambda: is_up(proxy), "it is back")
    poll(load.took_more(), "and counts again")
    poll(lambda: redis.ask("EXISTS", "meshproxy/limit/web") == ":1", "in Redis")
    load.end()
    assert load.longest < 1.0, "nobody has waited for it"
    assert "redis-down" in proxy.log.read_text()


@pytest.mark.parametrize("how", ["CLIENT PAUSE", "SIGSTOP"])
def test_a_slow_one_is_not_waited_for(start: Start, redis: Redis, how: str) -> None:
    proxy = start(shared(redis))
    poll(lambda: is_up(proxy), "it is connected")
    load = Load(proxy)
    poll(load.took_more(), "served")
    if how == "SIGSTOP":
        redis.signal(signal.SIGSTOP)
    else:
        redis.ask("CLIENT", "PAUSE", "1000", "ALL")
    poll(lambda: not is_up(proxy), "that is noticed")
    poll(load.took_more(), "served by itself")
    if how == "SIGSTOP":
        redis.signal(signal.SIGCONT)
    poll(lambda: is_up(proxy), "it is back")
    poll(load.took_more(), "served")
    load.end()
    assert load.longest < 0.9, "the timeout is 0.1 s"
    assert "too slow" in proxy.log.read_text()


def test_a_wrong_password_is_said_without_saying_it(start: Start, redis: Redis) -> None:
    said = shared(redis)
    said["routes"]["web"][0]["filters"][0]["rate_limit"]["redis"]["password"] = "a-wrong-one"
    proxy = start(said)
    poll(lambda: "redis-down" in proxy.log.read_text(), "that is logged")
    assert "WRONGPASS" in proxy.log.read_text()
    assert "a-wrong-one" not in proxy.log.read_text()
    found, _ = hammered(proxy, 0.5)
    assert found["", "204"] > 0, "served by itself"


def test_the_usual_request_does_not_wait_for_a_round_trip(start: Start, redis: Redis) -> None:
    proxy = start(shared(redis, workers=1, requests=100_000, burst=100_000))
    poll(lambda: is_up(proxy), "it is connected")
    before = calls(redis)
    found, _ = hammered(proxy, 0.5)
    asked = calls(redis) - before
    assert found["", "429"] == 0
    assert 0 < asked < found["", "204"] / 20, (asked, found)


def calls(redis: Redis) -> int:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(redis.path)
        sock.sendall(f"AUTH {PASSWORD}\r\nINFO commandstats\r\nPING\r\n".encode())
        got = b""
        while not got.endswith(b"+PONG\r\n"):
            got += sock.recv(65536)
    lines = [line for line in got.decode().splitlines() if line.startswith("cmdstat_eval:")]
    return int(lines[0].partition("calls=")[2].partition(",")[0]) if lines else 0


def test_its_clock_is_set_back_or_its_memory_is_wrong(start: Start, redis: Redis) -> None:
    """A bucket that is to be full in a year is taken for an empty one; one that is none costs nobody anything."""
    redis.ask("SET", "meshproxy/limit/web", str((time.time() + 31e6) * 1e6))
    proxy = start(shared(redis))

    def measure() -> tuple[int, float]:
        found, took = hammered(proxy, 1.5)
        return found["", "204"], RATE * took

    within(measure, 0.85, 1.15)
    redis.ask("DEL", "meshproxy/limit/web")
    redis.ask("LPUSH", "meshproxy/limit/web", "x")
    found, took = hammered(proxy, 0.5)
    assert found["", "204"] > 0.5 * RATE * took
