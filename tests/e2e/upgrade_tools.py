"""Clients of every kind, which notice if a proxy is not there for them for a moment, and the servers behind it."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from meshproxy.net.address import words

LONGEST = 20.0
REQUEST = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
CONNECT = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a"
CONNACK, PING, PONG = b"\x20\x02\x00\x00", b"\xc0\x00", b"\xd0\x00"
Address = tuple[str, int]


class Broker(socketserver.BaseRequestHandler):
    """It welcomes everybody, and is there."""

    def handle(self) -> None:
        asked = b""
        while piece := self.request.recv(4096):
            asked += piece
            if asked.startswith(b"\x10") and len(asked) >= 2 + asked[1]:
                asked = asked[2 + asked[1] :]
                self.request.sendall(CONNACK)
            while asked.startswith(PING):
                asked = asked[2:]
                self.request.sendall(PONG)


class Echo(socketserver.BaseRequestHandler):
    """Of datagrams."""

    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(data, self.client_address)


@contextmanager
def behind() -> Iterator[dict[str, str]]:
    """What stands behind the proxy, by what is spoken."""
    servers: dict[str, socketserver.TCPServer] = {
        "mqtt": socketserver.ThreadingTCPServer(("127.0.0.1", 0), Broker),
        "udp": socketserver.ThreadingUDPServer(("127.0.0.1", 0), Echo),
    }
    for server in servers.values():
        server.daemon_threads = True  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield {name: words(server.socket.getsockname()) for name, server in servers.items()}
    finally:
        for server in servers.values():
            server.shutdown()
            server.server_close()


class Lost(Exception):
    """A connection was there and is no more, which every client has to live with; it may ask again at once."""


class Load:
    """Each kind goes on until it is told to leave."""

    def __init__(self, addresses: dict[str, Address], trust: ssl.SSLContext) -> None:
        self.addresses = addresses
        self.trust = trust
        self.problems: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._over = threading.Event()
        kinds: dict[str, Callable[[], None]] = {
            "new": self._new,
            "kept": self._kept,
            "tls": self._tls,
            "udp": self._udp,
            "mqtt": self._mqtt,
        }
        self._threads = [
            threading.Thread(target=self._repeat, args=(kind, act)) for kind, act in kinds.items() for _ in range(2)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def gone_on(self, since: Counter[str], times: int) -> bool:
        """Whether each kind has done that much more."""
        return all(self.done[kind] >= since[kind] + times for kind in ("new", "kept", "tls", "udp", "mqtt"))

    def _repeat(self, kind: str, act: Callable[[], None]) -> None:
        while not self._over.is_set():
            try:
                act()
            except Lost:
                self.lost[kind] += 1
            except OSError as error:
                self.problems[f"{kind}: {error!r}"] += 1

    def _did(self, kind: str) -> None:
        self.done[kind] += 1
        self._over.wait(0.004)

    def _connected(self, kind: str) -> socket.socket:
        return socket.create_connection(self.addresses[kind], LONGEST)

    def _new(self) -> None:
        with self._connected("http") as sock:
            while_it_lasts(lambda: ask(sock))
        self._did("new")

    def _tls(self) -> None:
        with self.trust.wrap_socket(self._connected("tls"), server_hostname="shop.local") as sock:
            while_it_lasts(lambda: ask(sock))
        self._did("tls")

    def _kept(self) -> None:
        with self._connected("http") as sock:
            goes_on = True
            while goes_on and not self._over.is_set():
                goes_on = while_it_lasts(lambda: ask(sock))
                self._did("kept")

    def _mqtt(self) -> None:
        """As good as idle."""
        with self._connected("mqtt") as sock:
            while_it_lasts(lambda: said(sock, CONNECT, CONNACK))
            self._did("mqtt")
            while not self._over.is_set():
                while_it_lasts(lambda: said(sock, PING, PONG))
                self._did("mqtt")
                self._over.wait(0.05)

    def _udp(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(self.addresses["udp"])
            sock.settimeout(2.0)
            while not self._over.is_set():
                sock.send(b"x")
                try:
                    sock.recv(16)
                except TimeoutError:
                    raise Lost from None
                self._did("udp")


def ask(sock: Any) -> bool:
    """Whether the connection goes on after the answer."""
    sock.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\nserved"):
        if not (piece := sock.recv(4096)):
            raise ConnectionAbortedError(f"it ends after {answer!r}")
        answer += piece
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return b"connection: close" not in answer.lower()


def said(sock: socket.socket, words: bytes, answer: bytes) -> bool:
    sock.sendall(words)
    if sock.recv(len(answer)) != answer:
        raise ConnectionAbortedError("it ends without an answer")
    return True


def while_it_lasts(act: Callable[[], bool]) -> bool:
    try:
        return act()
    except ConnectionError:
        raise Lost from None
