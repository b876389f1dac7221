"""TLS under load: many hellos at once, certificates that change under way, clients that do not play by the rules."""

from __future__ import annotations

import http.client
import json
import os
import random
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import process
from benchmarks.gateways import GREETING, Origin
from meshproxy.wire import x509
from tests.e2e.conftest import LONGEST, Start, poll
from tests.e2e.tls_tools import CORES, counted, descriptors, handshakes, inline, wrapped
from tests.pki import Ca, Pair, Pki
from tests.relay.tls_peers import trusting

LATEST = 1.0
"""Seconds, where several processes share the cores; alone it takes some ms."""
WARM = 16
"""Connections after which each worker has had some, and has made what it makes once."""
GET = b"GET / HTTP/1.1\r\nHost: books.shop\r\n\r\n"


@pytest.fixture
def papers(tmp_path: Path) -> SimpleNamespace:
    directory = tmp_path / "pki"
    directory.mkdir()
    ca = Pki(directory).ca()
    return SimpleNamespace(ca=ca, books=ca.issue("shop/books", dns=["books.shop"]))


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    if reason := Origin.missing():
        pytest.skip(reason)
    with Origin(CORES.load) as peer:
        yield f"127.0.0.1:{peer.port}"


def config(origin: str, tls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web", "tls": tls, **more}
        ],
        "routes": {"web": [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": [origin]}},
    }


class Steady:
    """A client that asks on one connection, 10 ms after each answer, and takes the time that each one takes."""

    def __init__(self, address: tuple[str, int], ca: Ca) -> None:
        self.times: list[float] = []
        self._over = threading.Event()
        self._connection = http.client.HTTPSConnection(*address, timeout=LONGEST, context=trusting(ca))
        self._connection.sock = wrapped(address, trusting(ca))
        self._ask()
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()

    def _ask(self) -> None:
        self._connection.request("GET", "/")
        assert self._connection.getresponse().read().decode() == GREETING

    def _go_on(self) -> None:
        while not self._over.wait(0.01):
            began = time.monotonic()
            self._ask()
            self.times.append(time.monotonic() - began)

    def leave(self) -> list[float]:
        self._over.set()
        self._thread.join()
        self._connection.close()
        return sorted(self.times)


@pytest.mark.parametrize(("workers", "short", "long"), [(1, 600, 2000), (2, 400, 1000)])
def test_many_hellos_at_once(
    start: Start, papers: Any, origin: str, often: Callable[[int, int], int], workers: int, short: int, long: int
) -> None:
    most = often(short, long)
    proxy = start({"workers": workers, **config(origin, inline(papers.books))})
    host, port = proxy.address()
    steady = Steady((host, port), papers.ca)
    crowd = process.module("tests.e2e.tls_crowd", host, port, papers.ca.root, "books.shop", most)
    said = json.loads(subprocess.run(crowd, capture_output=True, check=True, cwd=process.ROOT, text=True).stdout)
    times = steady.leave()
    assert (said["served"], said["lost"], said["left"]) == (most, 0, 0), said
    poll(lambda: handshakes(proxy) == {"full": most + 1}, "all are counted")
    poll(lambda: proxy.ask("GET", "/listeners?format=json")[1][0]["connections"] == 0, "all have left")
    assert times[int(len(times) * 0.99)] < LATEST, "the others are served in between"


# Rotation -----------------------------------------------------------------------------------------


class Load:
    """Clients on connections that they keep, on new ones, and on sessions that they resume: nothing may go wrong."""

    def __init__(self, address: tuple[str, int], ca: Ca) -> None:
        self._address, self._ca = address, ca
        self._over = threading.Event()
        self.problems: list[str] = []
        self.served: Counter[str] = Counter()
        kinds = (self._keep, self._keep, self._anew, self._anew, self._resume)
        self._threads = [threading.Thread(target=self._run, args=(kind,)) for kind in kinds]
        for thread in self._threads:
            thread.start()

    def _run(self, kind: Callable[[ssl.SSLContext], None]) -> None:
        context = trusting(self._ca)
        while not self._over.is_set():
            try:
                kind(context)
            except Exception as error:  # whatever it is, it is what we look for
                self.problems.append(f"{kind.__name__}: {error!r}")
                time.sleep(0.01)

    def _ask(self, sock: ssl.SSLSocket, kind: str) -> None:
        sock.sendall(GET)
        answer = b""
        while not answer.endswith(GREETING.encode()):
            piece = sock.recv(65536)
            assert piece, "ended too early"
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200 ")
        self.served[kind] += 1

    def _keep(self, context: ssl.SSLContext) -> None:
        with wrapped(self._address, context) as sock:
            while not self._over.wait(0.002):
                self._ask(sock, "kept")

    def _anew(self, context: ssl.SSLContext) -> None:
        with wrapped(self._address, context) as sock:
            self._ask(sock, "anew")

    def _resume(self, context: ssl.SSLContext) -> None:
        session = None
        while not self._over.is_set():
            with wrapped(self._address, context, session=session) as sock:
                self._ask(sock, "resumed" if sock.session_reused else "begun")
                session = sock.session

    def leave(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def put_in_place(source: Pair, certificate: Path, key: Path) -> None:
    """As tools do: a file takes the place of another, one after the other."""
    for path, data in ((certificate, source.certificate.read_bytes()), (key, source.key.read_bytes())):
        beside = path.with_suffix(".new")
        beside.write_bytes(data)
        beside.rename(path)


def in_use(address: tuple[str, int], ca: Ca, pair: Pair) -> bool:
    """By all workers, as far as several connections can tell."""
    return {shown(address, ca) for _ in range(8)} == {digest(pair)}


def shown(address: tuple[str, int], ca: Ca) -> str:
    """The digest of the certificate that a new connection sees."""
    with wrapped(address, trusting(ca)) as sock:
        return x509.read(sock.getpeercert(binary_form=True) or b"").sha256


def digest(pair: Pair) -> str:
    return x509.read(x509.blocks(pair.certificate.read_text(), "CERTIFICATE")[0]).sha256


@pytest.mark.parametrize("workers", [1, 2])
def test_certificates_change_under_load_and_nobody_notices(
    start: Start, tmp_path: Path, papers: Any, origin: str, workers: int
) -> None:
    pair = Pair(tmp_path / "books.pem", tmp_path / "books.key")
    put_in_place(papers.books, pair.certificate, pair.key)
    on_disk = {"certificate": str(pair.certificate), "key": str(pair.key)}
    proxy = start({"workers": workers, **config(origin, on_disk)}, hurry={"meshproxy.server.process.WATCH_EVERY": 0.1})
    address = proxy.address()
    load = Load(address, papers.ca)
    try:
        for _ in range(workers):
            following = papers.ca.issue("shop/books", dns=["books.shop"])
            put_in_place(following, pair.certificate, pair.key)
            poll(partial(in_use, address, papers.ca, following), "it is in use")
        for turn in range(6):
            following = papers.ca.issue("shop/books", dns=["books.shop"], key="rsa" if turn % 2 else "ec")
            status, said = proxy.put(config(origin, inline(following)))
            assert status == 200, said
            assert in_use(address, papers.ca, following)
        # What is no pair is refused, and the one before it goes on
        bad = {**inline(following), "key": papers.books.key.read_text()}
        assert proxy.put(config(origin, bad))[0] == 422
        assert in_use(address, papers.ca, following)
        before = load.served.total()
        poll(lambda: load.served.total() > before + 100, "the load goes on")
    finally:
        load.leave()
    assert not load.problems, Counter(load.problems)
    assert set(load.served) >= {"kept", "anew", "begun", "resumed"}, load.served


# Abuse --------------------------------------------------------------------------------------------


def hello(name: str = "books.shop", more: bytes = b"") -> bytes:
    """A ClientHello of OpenSSL, with more extensions, in records of 16 KiB."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    record = outgoing.read()
    if not more:
        return record
    body = record[9:]
    at = 34
    at += 1 + body[at]  # the session
    at += 2 + struct.unpack_from("!H", body, at)[0]  # ciphers
    at += 1 + body[at]  # compressions
    extensions = body[at + 2 :] + more
    body = body[:at] + struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + len(body).to_bytes(3, "big") + body
    pieces = [message[start : start + 16384] for start in range(0, len(message), 16384)]
    return b"".join(b"\x16\3\1" + struct.pack("!H", len(piece)) + piece for piece in pieces)


def unknown_extension(size: int) -> bytes:
    return struct.pack("!HH", 0x4A4A, size) + bytes(size)


def gone(sock: socket.socket) -> bytes:
    """All that it says until it is closed or reset."""
    said = b""
    with suppress(ConnectionError):
        while piece := sock.recv(65536):
            said += piece
    return said


@pytest.mark.parametrize(("workers", "permissive"), [(1, False), (2, True)], ids=["only TLS", "permissive"])
def test_who_does_not_play_by_the_rules_leaves_nothing_behind(
    start: Start, papers: Any, origin: str, workers: int, permissive: bool
) -> None:
    said = {
        "workers": workers,
        **config(origin, inline(papers.books), permissive=permissive, timeouts={"handshake": "500ms"}),
    }
    said["clusters"]["up"]["pool"] = {"max_idle": 0}
    proxy = start(said)
    address = proxy.address()
    pids = process.family(proxy.process.pid)
    for _ in range(WARM):
        ask_once(address, papers.ca)
    idle(proxy)
    before = sum(map(descriptors, pids))
    times = 10
    expected = {"full": WARM + times, "timeout": 4 * times, "closed": 3 * times, "protocol": times}
    crowd: list[socket.socket] = []

    def begin(data: bytes) -> socket.socket:
        sock = socket.create_connection(address, LONGEST)
        crowd.append(sock)
        if data:
            sock.sendall(data)
        return sock

    for _ in range(times):
        # They stop before a word, after five bytes, in the middle, and after our first answer
        for data in (b"", hello()[:5], hello()[:100], hello()):
            begin(data)
        # They are gone as soon as they have begun
        for data in (hello()[:50], hello()):
            begin(data).close()
        # They change their minds
        sock = begin(hello())
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        # What follows the hello is none of it
        sock = begin(hello() + b"\x16\3\3\0\x30" + os.urandom(48))
        gone(sock)
        # They establish it, and go on with something else
        garbage = wrapped(address, trusting(papers.ca))
        garbage.sendall(GET)
        assert garbage.recv(65536).startswith(b"HTTP/1.1 200 ")
        with socket.socket(fileno=garbage.detach()) as plain:
            plain.settimeout(LONGEST)
            plain.sendall(b"\x17\3\3\1\0" + random.randbytes(256))
            assert gone(plain), "an alert"
    for sock in crowd:
        if sock.fileno() >= 0:
            gone(sock)
        sock.close()
    idle(proxy)
    poll(lambda: sum(map(descriptors, pids)) <= before, "no descriptor is left")
    assert handshakes(proxy) == expected
    assert counted(proxy, "meshproxy_listener_rejected_total") == {'listener="in",reason="tls"': 80}
    ask_once(address, papers.ca)


def ask_once(address: tuple[str, int], ca: Ca) -> None:
    with wrapped(address, trusting(ca)) as sock:
        sock.sendall(GET)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


def idle(proxy: Any) -> None:
    poll(lambda: proxy.ask("GET", "/listeners?format=json")[1][0]["connections"] == 0, "all have left")


@pytest.mark.parametrize("permissive", [False, True], ids=["only TLS", "permissive"])
def test_hellos_of_all_sizes(start: Start, papers: Any, origin: str, permissive: bool) -> None:
    """OpenSSL takes 128 KiB; where we look first, it is 16 KiB."""
    proxy = start(config(origin, inline(papers.books), permissive=permissive))
    for size in (1000, 14_000, 30_000, 60_000):
        with proxy.connect() as sock, suppress(ConnectionError):
            sock.sendall(hello(more=unknown_extension(size)))
            assert sock.recv(1) == (b"" if permissive and size > 14_000 else b"\x16")
    idle(proxy)
    assert handshakes(proxy) == ({"closed": 2, "too_long": 2} if permissive else {"closed": 4})


@pytest.mark.parametrize("workers", [1, 2])
def test_who_says_nothing_keeps_nobody_waiting(start: Start, papers: Any, origin: str, workers: int) -> None:
    proxy = start({"workers": workers, **config(origin, inline(papers.books), max_handshakes=4)})
    silent = [socket.create_connection(proxy.address(), LONGEST) for _ in range(40)]
    began = time.monotonic()
    for _ in range(10):
        ask_once(proxy.address(), papers.ca)
    assert time.monotonic() - began < 5, "and not only when these have had their time"
    for sock in silent:
        sock.close()
