"""A tunnel between two proxies of several workers each: all of them use it, and one has it."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import LONGEST, Running, poll, starting
from tests.e2e.test_workers import pids_of, replaced, say, workers_of
from tests.pki import Pki

MANY = 20
PROTOCOLS = {"tcp": "tunnel", "quic": "quic"}
WORDS = bytes(range(256)) * 500


class Cutter:
    """A server that says half of something, and is gone."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = "{}:{}".format(*self.sock.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.sock.accept()
                sock.sendall(b"half")
                sock.recv(100)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()


@dataclass(frozen=True, slots=True)
class Pair:
    near: Running
    far: Running
    said: dict[str, Any]
    """What the near one is told."""

    def same(self) -> dict[str, Any]:
        """As it may be told while it runs."""
        return {"drain": {"delay": 0}} | {key: value for key, value in self.said.items() if key != "workers"}

    @contextmanager
    def many(self, back: bool = False) -> Iterator[list[socket.socket]]:
        """So many connections that no worker is left out."""
        address = self.far.address("back") if back else self.near.address()
        with ExitStack() as stack:
            yield [stack.enter_context(socket.create_connection(address, LONGEST)) for _ in range(MANY)]

    def answers(self, back: bool = False) -> bool:
        """From all workers."""
        with suppress(ConnectionError), self.many(back) as held:
            return [say(sock, b"?") for sock in held] == [b"?"] * MANY
        return False


@pytest.fixture(params=["tcp"])
def pair(request: pytest.FixtureRequest, tmp_path: Path, echo: Any) -> Iterator[Pair]:
    """Over QUIC, where that is asked for."""
    if request.param == "quic":
        pytest.importorskip("aioquic", reason="aioquic is not installed")
    pki = tmp_path / "pki"
    pki.mkdir()
    ca = Pki(pki).ca()
    own, other = ca.issue("shop/edge"), ca.issue("shop/centre")
    cutter = Cutter()
    with ExitStack() as stack:
        stack.callback(cutter.sock.close)
        begin = []
        for name in ("near", "far"):
            directory = tmp_path / name
            directory.mkdir()
            begin.append(stack.enter_context(starting(directory)))
        protocol = PROTOCOLS[request.param]
        accepting = {"certificate": str(other.certificate), "key": str(other.key), "client_ca": str(ca.root)}
        far = begin[1](
            {
                "workers": 2,
                "listeners": [
                    {"name": "tunnels", "listen": "127.0.0.1:0", "protocol": protocol, "tls": accepting},
                    {"name": "edges", "listen": [], "protocol": "tcp", "transparent": True, "cluster": "there"},
                    {"name": "back", "listen": "127.0.0.3:0", "protocol": "tcp", "cluster": "back"},
                ],
                "clusters": {
                    "there": {"original": True},
                    "back": {"endpoints": ["127.0.0.1:1"], "via": "centre"},
                },
                "tunnels": {"centre": {"accept": ["shop/edge"], "listener": "edges"}},
            }
        )
        tls = {"certificate": str(own.certificate), "key": str(own.key), "ca": str(ca.root), "names": ["shop/centre"]}
        dial = "{}:{}".format(*far.address("tunnels"))
        said = {
            "workers": 2,
            "listeners": [
                {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "echo"},
                {"name": "cut", "listen": "127.0.0.2:0", "protocol": "tcp", "cluster": "cut"},
                {"name": "own", "listen": [], "protocol": "tcp", "cluster": "app"},
            ],
            "clusters": {
                "app": {"endpoints": [echo.address]},
                "echo": {"endpoints": [echo.address], "via": "centre"},
                "cut": {"endpoints": [cutter.address], "via": "centre"},
            },
            "tunnels": {"centre": {"dial": dial, "transport": request.param, "tls": tls, "listener": "own"}},
        }
        made = Pair(begin[0](said), far, said)
        poll(made.answers, "the tunnel")
        yield made


def count(proxy: Running, name: str) -> int:
    text = proxy.ask("GET", "/metrics")[1]
    return int(text.partition(f"\nmeshproxy_tunnel_{name} ")[2].split()[0])


def exchanged(sock: socket.socket) -> bytes:
    """What comes back of what is said, up to its end."""

    def write() -> None:
        sock.sendall(WORDS)
        sock.shutdown(socket.SHUT_WR)

    writer = threading.Thread(target=write)
    writer.start()
    heard = b""
    while piece := sock.recv(65536):
        heard += piece
    writer.join()
    return heard


@pytest.mark.parametrize("pair", ["tcp", "quic"], indirect=True)
def test_all_workers_use_the_tunnel_that_one_has(pair: Pair) -> None:
    near, far = pair.near, pair.far
    before = count(near, 'opened_total{tunnel="centre",end="here"}')
    with pair.many() as held:
        for sock in held:
            assert say(sock, b"hello") == b"hello"
        counts = [row["connections"] for row in workers_of(near)]
        assert min(counts) >= 3, counts
        assert count(near, 'opened_total{tunnel="centre",end="here"}') == before + MANY
        assert (count(near, 'links{tunnel="centre"}'), count(far, 'links{tunnel="centre"}')) == (1, 1)
        for sock in held:
            assert exchanged(sock) == WORDS
    poll(partial(pair.answers, back=True), "the other way")
    for _ in range(MANY // 2):
        with near.connect("cut") as sock:
            assert sock.recv(100) == b"half"
            sock.sendall(b"?")
            with pytest.raises(ConnectionResetError):
                sock.recv(100)


def kill_first(proxy: Running) -> None:
    """And wait for its successor."""
    before = pids_of(proxy)
    os.kill(next(row["pid"] for row in workers_of(proxy) if row["worker"] == 0), signal.SIGKILL)
    poll(partial(replaced, proxy, before), "a successor")


def was_cut(sock: socket.socket) -> bool:
    try:
        assert not sock.recv(1)
    except ConnectionResetError:
        return True
    return False


def test_where_the_one_that_has_it_dies_streams_fail_and_the_next_ones_go_through(pair: Pair) -> None:
    with pair.many() as held:
        for sock in held:
            assert say(sock, b"hello") == b"hello"
        others = next(row["connections"] for row in workers_of(pair.near) if row["worker"] == 1)
        kill_first(pair.near)
        # Those that were its own end with it, as the kernel ends them.
        assert sum(map(was_cut, held)) >= others
    poll(pair.answers, "answers")
    kill_first(pair.far)
    poll(pair.answers, "answers")


def test_what_is_under_way_outlives_a_reload_and_a_drain(pair: Pair) -> None:
    near = pair.near
    pair.said["clusters"]["echo"]["connect_timeout"] = "7s"
    with pair.many() as held:
        for sock in held:
            assert say(sock, b"before") == b"before"
        assert near.put(pair.same())[0] == 200
        assert pair.answers()
        for sock in held[::2]:
            assert exchanged(sock) == WORDS
        with pair.many() as late:
            for sock in late:
                assert say(sock, b"late") == b"late"
            near.signal(signal.SIGTERM)
            poll(lambda: near.ready_state() != "LIVE", "it drains")
            for sock in (*held[1::2], *late):
                assert exchanged(sock) == WORDS
    assert near.exit_code() == 0


def test_after_a_change_of_the_tunnel_all_find_the_new_one(pair: Pair) -> None:
    pair.said["tunnels"]["centre"]["dead"] = "5s"
    assert pair.near.put(pair.same())[0] == 200
    poll(pair.answers, "answers")
    assert count(pair.near, 'links{tunnel="centre"}') == 1
