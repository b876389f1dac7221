"""What is told of connections that are over: relayed, turned away, or turned into a tunnel."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from meshproxy.observe.metrics.listeners import REJECTED
from meshproxy.relay.turned import MOST, REFUSED
from tests.conftest import FakeClock
from tests.pki import Ca, Pair
from tests.relay.conversation import answered, ended, head_of, heard
from tests.relay.conversation import config as http
from tests.relay.overheard import edges, overheard, why
from tests.relay.test_tcp import config as tcp
from tests.relay.test_tls_listener import http as https
from tests.relay.test_tls_listener import inline
from tests.relay.test_tls_listener import tcp as tls
from tests.relay.test_udp import config as udp
from tests.relay.test_udp import name, receive
from tests.relay.tls_peers import client, trusting

ONE_LOOP = True

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

HERE = "127.0.0.1"


async def refused(w: Any) -> None:
    """Who connects is cut off, perhaps so soon that the loop has not looked before."""
    with suppress(ConnectionError):
        assert not await ended(await w.connect())


def free_port() -> int:
    """Where nobody listens."""
    with socket.socket() as sock:
        sock.bind((HERE, 0))
        port: int = sock.getsockname()[1]
    return port


@pytest.fixture
def datagrams() -> Iterator[Callable[[], socket.socket]]:
    opened = []

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((HERE, 0))
        sock.setblocking(False)
        opened.append(sock)
        return sock

    yield make
    for sock in opened:
        sock.close()


# TCP


def test_a_line_of_a_connection_is_written_though_both_ends_are_closed(
    run: Run, world: World, upstream: Upstream, tmp_path: Path, clock: FakeClock
) -> None:
    async def scenario() -> None:
        w, up, log = world(), upstream(), tmp_path / "access.log"
        await w.apply({**tcp(up.address), "access_log": {"to": {"file": str(log)}}})
        client = await w.connect()
        server = await up.accept()
        await client.send(b"question")
        await heard(server, b"question")
        client.end()
        server.end()
        assert await ended(client)
        await w.until(lambda: w.closed() == {"done": 1})
        clock.advance(2)
        await w.until(lambda: log.exists() and log.read_bytes().endswith(b"\n"))
        line = json.loads(log.read_text())
        assert line["protocol"] == "TCP"
        assert line["downstream_local_address"] == "{}:{}".format(*w.address())
        assert (line["bytes_received"], line["bytes_sent"], line["response_flags"]) == (8, 0, None)
        assert "mqtt_client_id" not in line

    run(scenario())


def test_who_could_not_be_reached_was_asked_as_often_as_it_is_told(run: Run, world: World) -> None:
    async def scenario() -> None:
        w, nobody = world(), f"{HERE}:{free_port()}"
        await w.apply(tcp(nobody))
        told = overheard(w)
        await refused(w)
        (record,) = told
        assert why(record) == ("TCP", "UF", "connect_failed")
        assert (record.endpoint.name, len(record.tried), record.attempts) == (nobody, 1, 0)
        assert edges(w) == {(HERE, nobody): (1, 1, 0, 0)}

    run(scenario())


# UDP


def test_a_session_of_datagrams_is_told_when_it_has_fallen_silent(
    run: Run, world: World, datagrams: Any, clock: FakeClock
) -> None:
    async def scenario() -> None:
        w, server, client = world(), datagrams(), datagrams()
        await w.apply(udp(name(server), timeouts={"idle": "8s"}))
        told = overheard(w)
        client.sendto(b"question", w.address())
        _, source = await receive(server)
        server.sendto(b"an answer", source)
        await receive(client)
        await w.worker.counted()
        assert edges(w) == {(HERE, name(server)): (1, 0, 8, 9)}
        client.sendto(b"more", w.address())
        await receive(server)
        assert not told
        clock.advance(10)
        (record,) = told
        assert why(record) == ("UDP", "", "")
        assert (record.received, record.sent, record.seconds) == (12, 9, 10.0)
        assert (record.origin.remote, record.origin.local) == (name(client), "{}:{}".format(*w.address()))
        assert (record.endpoint.name, record.handling.listener) == (name(server), "in")
        assert edges(w) == {(HERE, name(server)): (1, 0, 12, 9)}

    run(scenario())


def test_datagrams_that_nobody_takes(run: Run, world: World, datagrams: Any) -> None:
    async def scenario() -> None:
        w, client, nobody = world(), datagrams(), f"{HERE}:{free_port()}"
        await w.apply(udp(nobody))
        told = overheard(w)
        client.sendto(b"lost", w.address())
        await w.until(lambda: told)
        assert why(told[0]) == ("UDP", "UF", "connect_failed")
        assert edges(w) == {(HERE, nobody): (1, 1, 4, 0)}
        await w.apply(udp())
        client.sendto(b"lost", w.address())
        await w.until(lambda: w.worker.watch.recent.errors.total == 2)
        assert w.worker.watch.recent.errors.newest(1)[0]["flags"] == ["UH"]

    run(scenario())


# Tunnels

OFFER = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


async def tunnel(w: Any, up: Any) -> tuple[Any, Any]:
    client = await w.connect()
    await client.send(OFFER + b"early")
    server = await up.accept()
    await head_of(server)
    await server.send(AGREED + b"hi")
    assert (await head_of(client)).startswith(b"HTTP/1.1 101 ")
    await heard(client, b"hi")
    await heard(server, b"early")
    return client, server


def test_a_tunnel_is_counted_at_its_beginning_and_told_at_its_end(
    run: Run, world: World, upstream: Upstream, clock: FakeClock
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(http(up.address))
        told = overheard(w)
        client, server = await tunnel(w, up)
        assert answered(w) == {"101": 1}
        assert not told
        clock.advance(60)
        await client.send(b"question")
        await heard(server, b"question")
        client.end()
        server.end()
        await w.until(lambda: told)
        (record,) = told
        assert (record.status, record.flags, record.request.target) == (101, "", b"/chat")
        assert (record.received, record.sent, record.seconds) == (13, 2, 60.0)
        assert record.origin.local == "{}:{}".format(*w.address())
        assert answered(w) == {"101": 1}
        assert w.worker.watch.recent.errors.total == 0

    run(scenario())


@pytest.mark.parametrize(("dies", "flag"), [("client", "DC"), ("server", "UC")])
def test_a_tunnel_that_is_cut_says_by_whom(
    run: Run, world: World, upstream: Upstream, dies: str, flag: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(http(up.address))
        told = overheard(w)
        client, server = await tunnel(w, up)
        (client if dies == "client" else server).reset()
        await w.until(lambda: told)
        assert (told[0].status, told[0].flags) == (101, flag)
        assert answered(w) == {"101": 1}
        assert w.worker.watch.recent.errors.total == 1

    run(scenario())


def test_a_log_has_one_line_for_a_tunnel(
    run: Run, world: World, upstream: Upstream, tmp_path: Path, clock: FakeClock
) -> None:
    async def scenario() -> None:
        w, up, log = world(), upstream(), tmp_path / "access.log"
        said = {"to": {"file": str(log)}, "format": {"text": "%RESPONSE_CODE% %BYTES_RECEIVED% %BYTES_SENT%"}}
        await w.apply({**http(up.address), "access_log": said})
        client, server = await tunnel(w, up)
        client.end()
        server.end()
        await w.until(lambda: w.closed() == {"done": 1})
        clock.advance(2)
        await w.until(lambda: log.exists() and log.read_bytes().endswith(b"\n"))
        assert log.read_text() == "101 5 2\n"

    run(scenario())


# Turned away


def test_every_word_for_who_is_turned_away_has_a_flag() -> None:
    """But those of TLS, where there are more words, and of clusters, which say it themselves."""
    assert set(REJECTED) - set(REFUSED) == {"tls", "no_endpoint", "breaker_open"}


@pytest.mark.parametrize(
    ("listener", "flag", "reason"),
    [
        ({"authorize": [{"identities": ["shop/books"]}]}, "AZ", "authorize"),
        ({"proxy_protocol": {"trusted": ["192.0.2.0/24"]}}, "DPE", "proxy_protocol"),
        ({"filters": [{"rate_limit": {"connections": 1, "per": "1h"}}]}, "RL", "rate_limit"),
        ({"max_connections": 1}, "OM", "limit"),
    ],
)
def test_who_is_turned_away_is_told_of(
    run: Run, world: World, upstream: Upstream, listener: dict[str, Any], flag: str, reason: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(tcp(up.address, listener=listener))
        if flag in ("RL", "OM"):
            await w.connect()
            await up.accept()
        told = overheard(w)
        await refused(w)
        (record,) = told
        assert why(record) == ("TCP", flag, reason)
        assert record.origin.local == "{}:{}".format(*w.address())
        assert w.stats.listeners["in"].rejected[reason] == 1
        assert w.worker.watch.recent.errors.total == 1

    run(scenario())


def test_what_is_no_tls_is_told_of_and_who_says_nothing_is_not(
    run: Run, world: World, upstream: Upstream, books: Pair, clock: FakeClock
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(tls(up, inline(books)))
        told = overheard(w)
        stats = w.stats.listeners["in"]
        probe = await w.connect()
        probe.close()
        await w.until(lambda: stats.handshakes["closed"] == 1)
        assert not told
        client = await w.connect()
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        await w.until(lambda: told)
        late = await w.connect()
        await w.until(lambda: stats.connections_active == 1)
        clock.advance(11)
        await ended(late)
        assert [why(record) for record in told] == [("TCP", "DPE", "tls_plain"), ("TCP", "DT", "tls_timeout")]
        assert told[1].seconds >= 10

    run(scenario())


def test_a_certificate_that_is_missing_is_told_with_the_status_of_the_answer(
    run: Run, world: World, upstream: Upstream, books: Pair, ca: Ca
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(https(up, {**inline(books), "client_ca": ca.root.read_text(), "without_certificate": "403"}))
        told = overheard(w)
        peer = client(await w.connect(), trusting(ca))
        await peer.shake()
        await w.until(lambda: told)
        assert why(told[0]) == ("TCP", "AZ", "tls_no_certificate")
        assert told[0].status == 403

    run(scenario())


def test_of_a_flood_the_first_of_each_second_are_told(run: Run, world: World, clock: FakeClock) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(tcp(f"{HERE}:{free_port()}", listener={"authorize": [{"identities": ["shop/books"]}]}))
        told, stats = overheard(w), w.stats.listeners["in"]
        for _ in range(MOST + 10):
            await refused(w)
        assert stats.rejected["authorize"] == MOST + 10
        assert len(told) == MOST
        clock.advance(1)
        await refused(w)
        assert len(told) == MOST + 1

    run(scenario())
