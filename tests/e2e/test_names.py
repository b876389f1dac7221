"""Endpoints by name, with a name server on loopback: one worker and two see the same, and DNS is asked once for all."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.discovery.servers import Asked, free_pair, read
from tests.e2e.conftest import Start, poll
from tests.e2e.test_workers import pids_of, replaced
from tests.wire import dns_messages as dns

ONE, TWO = "127.0.0.1", "127.0.0.2"
TTL = 1


class NameServer:
    """Answers in a thread: the same for every name, or that it cannot."""

    def __init__(self) -> None:
        self._sock, unused = free_pair(socket.AF_INET, ONE)
        unused.close()
        self._sock.setblocking(True)
        self.address = "{}:{}".format(*self._sock.getsockname())
        self.addresses: tuple[str, ...] = ()
        self.fails = False
        self.asked: list[tuple[str, str]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, source = self._sock.recvfrom(65535)
            if not data:
                return
            asked: Asked = read(data, "udp", source)
            self.asked.append((asked.name, asked.kind))
            failure = asked.reply(flags=dns.RESPONSE | 2)
            self._sock.sendto(failure if self.fails else asked.addresses(*self.addresses, ttl=TTL), source)

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self._sock.getsockname())
        self._thread.join()
        self._sock.close()


class Teller:
    """A TCP server that says where it is, and then sends back what it gets."""

    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.create_server((host, port))
        self._host = host
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                sock.sendall(self._host.encode())
                while data := sock.recv(65536):
                    sock.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@pytest.fixture
def server() -> Iterator[NameServer]:
    found = NameServer()
    yield found
    found.close()


@pytest.fixture
def port() -> Iterator[int]:
    """At which a teller answers on both addresses."""
    while True:
        one = Teller(ONE, 0)
        try:
            two = Teller(TWO, one.sock.getsockname()[1])
        except OSError:
            one.close()
            continue
        break
    yield one.sock.getsockname()[1]
    one.close()
    two.close()


def config(server: NameServer, port: int, **process: Any) -> dict[str, Any]:
    return {
        **process,
        "dns": {"servers": [server.address]},
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}],
        "clusters": {"up": {"endpoints": [f"books.test.:{port}"]}},
    }


def where(sock: socket.socket) -> str:
    """Where a connection has arrived; nowhere, if it was refused."""
    try:
        return sock.recv(100).decode()
    except ConnectionError:
        return ""


def arrivals(proxy: Any, count: int = 16) -> set[str]:
    """Of so many connections at a time, which every worker has some of."""
    sockets = [proxy.connect() for _ in range(count)]
    found = set(map(where, sockets))
    for sock in sockets:
        sock.close()
    return found


def rows(proxy: Any) -> list[dict[str, Any]]:
    _, clusters = proxy.ask("GET", "/clusters?format=json")
    found: list[dict[str, Any]] = clusters[0]["endpoints"]
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_name_whose_addresses_change_and_whose_server_fails(
    start: Start, server: NameServer, port: int, workers: int
) -> None:
    server.addresses = (ONE,)
    begun = time.monotonic()
    proxy = start(config(server, port, workers=workers))
    kept = proxy.connect()
    assert where(kept) == ONE, "the first connection finds the name resolved"

    server.addresses = (ONE, TWO)
    poll(lambda: arrivals(proxy) == {ONE, TWO}, "both addresses")
    server.addresses = (TWO,)
    poll(lambda: arrivals(proxy) == {TWO}, "only the other address, on every worker")
    kept.sendall(b"still there")
    assert kept.recv(100) == b"still there"
    assert len(server.asked) <= 2 * (2 + (time.monotonic() - begun) / TTL), "one asks for all, for A and for AAAA"

    server.fails = True
    (row,) = poll(lambda: [row for row in rows(proxy) if row["failure"]], "the failure is shown")
    assert (row["name"], row["address"]) == (f"books.test.:{port}", f"{TWO}:{port}")
    assert row["failure"] == f"books.test.: {server.address}: SERVFAIL"
    if workers > 1:
        before = pids_of(proxy)
        os.kill(min(before), signal.SIGKILL)
        poll(lambda: replaced(proxy, before), "a successor")
        poll(lambda: arrivals(proxy) == {TWO}, "the successor knows the last good addresses")
    assert arrivals(proxy) == {TWO}
    metrics = proxy.ask("GET", "/metrics")[1]
    assert f'meshproxy_endpoint_connections_total{{cluster="up",endpoint="{TWO}:{port}"}}' in metrics
    assert "\nmeshproxy_resolutions_failed_total 0\n" not in metrics
    assert proxy.log.read_text().count("name-not-resolved") == 1

    server.fails = False
    poll(lambda: not rows(proxy)[0]["failure"], "resolved again")
    proxy.signal(signal.SIGTERM)
    kept.close()
    assert proxy.exit_code() == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_configuration_is_not_refused_because_of_dns_and_does_not_wait_for_ever(
    start: Start, server: NameServer, port: int, workers: int
) -> None:
    server.addresses = (ONE,)
    proxy = start(config(server, port, workers=workers), hurry={"meshproxy.server.addresses.FIRST_WITHIN": 0.5})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind((ONE, 0))
        changed = config(server, port)
        changed["dns"]["servers"] = ["{}:{}".format(*silent.getsockname())]
        changed["clusters"]["up"]["endpoints"].append(f"silent.test.:{port}")
        begun = time.monotonic()
        status, answer = proxy.put(changed)
        assert status == 200, answer
        assert 0.4 < time.monotonic() - begun < 4
        assert arrivals(proxy) == {ONE}, "what was good stays, whoever is asked now"
        assert [(row["name"], row["address"]) for row in rows(proxy)] == [
            (f"books.test.:{port}", f"{ONE}:{port}"),
            (f"silent.test.:{port}", None),
        ]
