"""Several workers as one proxy: what dies, hangs or is changed, and what clients see of it."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Start, poll
from tests.e2e.test_limits import within

Often = Callable[[int, int], int]


def config(echo: Any, workers: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "workers": workers,
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}],
        "clusters": {"up": {"endpoints": [echo.address]}},
        **more,
    }


def changed(echo: Any, seconds: int) -> dict[str, Any]:
    """The same, with a cluster that differs."""
    same = config(echo)
    del same["workers"]
    same["clusters"]["up"]["connect_timeout"] = f"{seconds}s"
    return same


def workers_of(proxy: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = proxy.ask("GET", "/server_info")[1]["workers"]
    return rows


def pids_of(proxy: Any) -> set[int]:
    return {row["pid"] for row in workers_of(proxy)}


def replaced(proxy: Any, before: set[int]) -> bool:
    now = pids_of(proxy)
    return len(now) == len(before) and now != before


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def family(pid: int) -> set[int]:
    """A process and all that come from it."""
    found = {pid}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found |= family(int(child))
    return found


def say(sock: socket.socket, words: bytes) -> bytes:
    """What comes back, or nothing if the connection has ended."""
    sock.settimeout(30)
    try:
        sock.sendall(words)
        return sock.recv(len(words))
    except ConnectionError:
        return b""


class Crowd:
    """Clients that connect, exchange a few messages and leave, again and again; every answer is compared."""

    def __init__(self, address: tuple[str, int], size: int) -> None:
        self._address = address
        self._over = threading.Event()
        self.exchanged = 0
        self.problems: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(size)]
        for thread in self._threads:
            thread.start()

    def _client(self, number: int) -> None:
        turn = 0
        while not self._over.is_set():
            try:
                with socket.create_connection(self._address, 10) as sock:
                    for _ in range(10):
                        turn += 1
                        words = f"{number}/{turn}".encode() * 50
                        sock.sendall(words)
                        got = b""
                        while len(got) < len(words):
                            piece = sock.recv(65536)
                            if not piece:
                                raise ConnectionAbortedError("ended")
                            got += piece
                        if got != words:
                            self.problems["wrong"] += 1
                        self.exchanged += 1
                        self._over.wait(0.001)  # who is to start shares the cores with them
            except OSError as error:
                self.problems[type(error).__name__] += 1

    def have_exchanged(self, messages: int) -> bool:
        return self.exchanged >= messages

    def leave(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def crowd(proxy: Any, size: int = 10) -> Iterator[Crowd]:
    clients = Crowd(proxy.address(), size)
    try:
        yield clients
    finally:
        clients.leave()


def test_two_workers_serve_and_are_counted_as_one(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    held = [proxy.connect() for _ in range(40)]
    for sock in held:
        assert say(sock, b"hello") == b"hello"
    rows = workers_of(proxy)
    assert sum(row["connections"] for row in rows) == 40
    counts = [row["connections"] for row in rows]
    assert max(counts) - min(counts) <= 4 + 20 // 4, "the spread is evened out"
    (listener,) = proxy.ask("GET", "/listeners?format=json")[1]
    assert (listener["connections"], listener["total"]) == (40, 40)
    (cluster,) = proxy.ask("GET", "/clusters?format=json")[1]
    assert cluster["endpoints"][0]["connections"] == 40
    metrics = proxy.ask("GET", "/metrics")[1]
    assert 'meshproxy_listener_connections_total{listener="in"} 40' in metrics
    assert "meshproxy_workers 2" in metrics
    proxy.signal(signal.SIGTERM)
    for sock in held:
        sock.close()
    assert proxy.exit_code() == 0


def test_of_a_killed_worker_only_its_own_connections_end(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    held = [proxy.connect() for _ in range(30)]
    for sock in held:
        assert say(sock, b"before") == b"before"
    victim = workers_of(proxy)[0]
    total = proxy.ask("GET", "/listeners?format=json")[1][0]["total"]
    os.kill(victim["pid"], signal.SIGKILL)
    killed = time.monotonic()
    with proxy.connect() as sock:
        assert say(sock, b"after") == b"after"
    assert time.monotonic() - killed < 1
    kept = [sock for sock in held if say(sock, b"still") == b"still"]
    assert len(kept) == 30 - victim["connections"]
    poll(lambda: len(pids_of(proxy)) == 2 and victim["pid"] not in pids_of(proxy), "a successor")
    assert proxy.ask("GET", "/listeners?format=json")[1][0]["total"] >= total, "counters do not fall"
    assert "meshproxy_worker_deaths_total 1" in proxy.ask("GET", "/metrics")[1]
    poll(lambda: "worker-ended" in proxy.log.read_text(), "it is logged")
    assert "reason=SIGKILL" in proxy.log.read_text()
    for sock in held:
        sock.close()


def test_a_worker_that_dies_under_load_is_replaced_each_time(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    with crowd(proxy) as clients:
        for _ in range(3):
            before = pids_of(proxy)
            os.kill(min(before), signal.SIGKILL)
            poll(partial(replaced, proxy, before), "a successor")
            poll(partial(clients.have_exchanged, clients.exchanged + 50), "traffic goes on")
    assert not clients.problems["wrong"]
    assert not clients.problems["ConnectionRefusedError"], "the sockets are the supervisor's"


def test_no_worker_outlives_its_supervisor(start: Start, echo: Any) -> None:
    proxy = start(config(echo), hurry={"meshproxy.server.nursery.ORPHANS_MAY_TAKE": 1})
    everybody = family(proxy.process.pid)
    stopped = min(pids_of(proxy))
    held = proxy.connect()
    os.kill(stopped, signal.SIGSTOP)
    proxy.process.kill()
    killed = time.monotonic()
    poll(lambda: not any(alive(pid) for pid in everybody - {proxy.process.pid}), "everybody is gone")
    assert time.monotonic() - killed < 2
    held.close()


def test_a_reload_with_a_worker_that_hangs_is_refused_and_changes_nothing(start: Start, echo: Any) -> None:
    waits = {"PING_EVERY": 0.2, "SLOW_AFTER": 0.2, "HUNG_AFTER": 1, "PREPARE_WITHIN": 5}
    proxy = start(config(echo), hurry={f"meshproxy.server.crew.{name}": seconds for name, seconds in waits.items()})
    victim = min(pids_of(proxy))
    os.kill(victim, signal.SIGSTOP)
    status, answer = proxy.put(changed(echo, 7))
    assert status == 422, answer
    assert "worker" in answer["problems"][0]["message"]
    assert proxy.ask("GET", "/server_info")[1]["generation"] == 1
    poll(lambda: len(pids_of(proxy)) == 2 and victim not in pids_of(proxy), "the watchdog has it replaced")
    assert proxy.put(changed(echo, 7))[0] == 200
    with proxy.connect() as sock:
        assert say(sock, b"served") == b"served"


def test_reloads_under_load_lose_nothing(start: Start, echo: Any, often: Often) -> None:
    proxy = start(config(echo))
    with crowd(proxy) as clients:
        for turn in range(often(30, 1000)):
            status, answer = proxy.put(changed(echo, 1 + turn))
            assert status == 200, answer
    assert clients.exchanged > 100
    assert not clients.problems, clients.problems


def test_a_listener_comes_and_goes_on_every_worker(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    more = changed(echo, 1)
    more["listeners"].append({"name": "more", "listen": "127.0.0.2:0", "protocol": "tcp", "cluster": "up"})
    assert proxy.put(more)[0] == 200
    address = proxy.address("more")
    for _ in range(20):
        with socket.create_connection(address, 10) as sock:
            assert say(sock, b"x") == b"x"
    assert proxy.put(changed(echo, 1))[0] == 200
    with socket.socket() as late:
        assert late.connect_ex(address) != 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        more["listeners"][1]["listen"] = "{}:{}".format(*taken.getsockname())
        status, answer = proxy.put(more)
    assert (status, "in use" in answer["problems"][0]["message"]) == (422, True)


def test_datagrams_from_one_source_stay_with_one_worker(start: Start) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
        upstream.bind(("127.0.0.1", 0))
        upstream.settimeout(10)
        said = {
            "workers": 3,
            "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "udp", "cluster": "up"}],
            "clusters": {"up": {"endpoints": ["{}:{}".format(*upstream.getsockname())]}},
        }
        proxy = start(said)
        address = proxy.address()
        for _ in range(5):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                sources = set()
                for turn in range(5):
                    client.sendto(b"%d" % turn, address)
                    sources.add(upstream.recvfrom(100)[1])
                assert len(sources) == 1


def test_without_its_nursery_it_drains_and_fails(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    (nursery,) = map(int, Path(f"/proc/{proxy.process.pid}/task/{proxy.process.pid}/children").read_text().split())
    with proxy.connect() as held:
        assert say(held, b"x") == b"x"
        os.kill(nursery, signal.SIGKILL)
        poll(lambda: proxy.ask("GET", "/ready")[0] == 503, "it says that it will end")
        assert say(held, b"still") == b"still"
    assert proxy.exit_code() == 1
    assert "nursery-lost" in proxy.log.read_text()


def test_workers_follow_the_log_level(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    assert proxy.ask("POST", "/logging?level=debug") == (200, {"level": "debug"})
    assert len(pids_of(proxy)) == 2


def admitted(sock: socket.socket) -> bool:
    """Whether a connection is served, or was turned away."""
    return say(sock, b"?") == b"?"


def knock(address: tuple[str, int], times: int) -> list[socket.socket]:
    """Connections to ask for admission; who is turned away at once has none."""
    found = []
    for _ in range(times):
        with suppress(ConnectionError):
            found.append(socket.create_connection(address, 10))
    return found


def let_in(address: tuple[str, int], most: int) -> tuple[list[socket.socket], int]:
    """Knock until so many are in, and count who was turned away: a no outlasts its reason by some milliseconds."""
    inside: list[socket.socket] = []
    knocks = 0

    def enough() -> bool:
        nonlocal knocks
        knocks += most + 10
        for sock in knock(address, most + 10):
            if admitted(sock):
                inside.append(sock)
            else:
                sock.close()
        return len(inside) >= most

    poll(enough, f"{most} are in")
    return inside, knocks - len(inside)


def test_a_total_is_the_total_whatever_the_number_of_workers(start: Start, echo: Any, often: Often) -> None:
    most = often(100, 1000)
    said = config(echo)
    said["listeners"][0]["max_connections"] = most
    proxy = start(said)
    address = proxy.address()
    crowd = knock(address, most + 30)
    inside = [sock for sock in crowd if admitted(sock)]
    assert len(inside) == most
    for sock in inside[:30]:
        sock.close()
    poll(lambda: sum(row["connections"] for row in workers_of(proxy)) == most - 30, "30 have left")
    more, turned_away = let_in(address, 30)
    assert len(more) == 30
    rejected = f'rejected_total{{listener="in",reason="limit"}} {30 + turned_away}\n'
    assert rejected in proxy.ask("GET", "/metrics")[1]
    for sock in (*crowd, *more):
        sock.close()


def test_a_total_survives_the_death_of_a_worker(start: Start, echo: Any) -> None:
    said = config(echo)
    said["listeners"][0]["max_connections"] = 40
    proxy = start(said)
    address = proxy.address()
    crowd = knock(address, 50)
    assert sum(map(admitted, crowd)) == 40
    before = pids_of(proxy)
    os.kill(min(before), signal.SIGKILL)
    poll(partial(replaced, proxy, before), "a successor")
    kept = sum(map(admitted, crowd))
    more, _ = let_in(address, 40 - kept)
    assert kept + len(more) == 40
    for sock in (*crowd, *more):
        sock.close()


def test_a_rate_is_the_rate_whatever_the_number_of_workers(start: Start, echo: Any) -> None:
    said = config(echo)
    said["listeners"][0]["filters"] = [{"rate_limit": {"connections": 100, "per": "1s", "burst": 10}}]
    proxy = start(said)
    address = proxy.address()

    def measure() -> tuple[int, float]:
        began = time.monotonic()
        inside = 0
        while time.monotonic() - began < 2:
            with suppress(ConnectionError), socket.create_connection(address, 10) as sock:
                inside += admitted(sock)
        return inside, 100 * (time.monotonic() - began) + 10

    within(measure)


def test_to_a_worker_that_hangs_nothing_is_passed(start: Start, echo: Any) -> None:
    proxy = start(config(echo))
    address = proxy.address()
    victim = min(pids_of(proxy))
    os.kill(victim, signal.SIGSTOP)
    began = time.monotonic()
    crowd = [socket.create_connection(address, 10) for _ in range(100)]
    for sock in crowd:
        sock.sendall(b"?")
        sock.setblocking(False)

    def served() -> int:
        return sum(len(select.select([sock], [], [], 0)[0]) for sock in crowd)

    # The kernel has put about half of them into the queue of the one that hangs; its successor will serve them.
    poll(lambda: served() >= 20, "the other one serves")
    assert time.monotonic() - began < 4, "and not only after the hung one has been replaced"
    os.kill(victim, signal.SIGCONT)
    poll(lambda: served() == 100, "all are served")
    for sock in crowd:
        sock.close()


def test_thousands_of_limits_cost_no_worker(start: Start, echo: Any) -> None:
    said = config(echo)
    del said["workers"]
    proxy = start(config(echo))
    before = pids_of(proxy)
    for number in range(3000):
        said["clusters"][f"more-{number}"] = {"endpoints": ["127.0.0.1:9"]}
    assert proxy.put(said)[0] == 200
    os.kill(min(before), signal.SIGKILL)
    poll(partial(replaced, proxy, before), "a successor")
    assert len(before & pids_of(proxy)) == 1
    with proxy.connect() as sock:
        assert say(sock, b"x") == b"x"


def test_datagrams_are_drained_too(start: Start) -> None:
    said = {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "udp", "cluster": "up"}],
        "clusters": {"up": {"endpoints": ["127.0.0.1:9"]}},
    }
    for workers in (1, 2):
        proxy = start({"workers": workers, **said})
        proxy.signal(signal.SIGTERM)
        assert proxy.exit_code() == 0
        assert "Traceback" not in proxy.log.read_text()


def test_the_last_seconds_of_all_workers_are_told_as_one(start: Start, echo: Any) -> None:
    proxy = start(config(echo))

    def shown() -> Any:
        return proxy.ask("GET", "/stats?window=10s")[1]

    with ExitStack() as held:
        socks = [held.enter_context(proxy.connect()) for _ in range(6)]
        assert all(say(sock, b"x" * 1000) for sock in socks)
        poll(lambda: shown()["total"]["connections_active"][-1] == len(socks), "the second of it is over")
    found = shown()
    assert found["workers"] == 2
    listener, cluster = found["listeners"]["in"], found["clusters"]["up"]
    assert sum(listener["received_bytes"]) == sum(cluster["sent_bytes"]) >= 1000 * len(socks)
    assert sum(listener["connections"]) == len(socks)
    assert listener["requests"] == [0] * 10
    (edge,) = proxy.ask("GET", "/graph")[1]["edges"]
    assert (edge["source"], edge["cluster"], edge["protocol"]) == ("127.0.0.1", "up", "tcp")
    assert edge["connections"] == len(socks)
