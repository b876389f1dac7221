"""Conversations through a UDP listener."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

World = Callable[[], Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


def config(*endpoints: str, **listener: object) -> dict[str, Any]:
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "udp", "cluster": "up", **listener}],
        "clusters": {"up": {"endpoints": list(endpoints)}},
    }


@pytest.fixture
def udp() -> Iterator[Callable[[], socket.socket]]:
    opened = []

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        opened.append(sock)
        return sock

    yield make
    for sock in opened:
        sock.close()


def name(sock: socket.socket) -> str:
    return "{}:{}".format(*sock.getsockname())


async def receive(sock: socket.socket) -> tuple[bytes, Any]:
    """What comes next; polled, since loops differ in what they offer for datagrams."""
    while True:
        try:
            return sock.recvfrom(65535)
        except BlockingIOError:
            await asyncio.sleep(0.001)


def test_each_source_has_a_session_of_its_own(run: Run, world: World, udp: Callable[[], socket.socket]) -> None:
    async def scenario() -> None:
        w, server, clients = world(), udp(), [udp(), udp()]
        await w.apply(config(name(server)))
        for index, client in enumerate(clients):
            for _ in range(2):
                client.sendto(b"from %d" % index, w.address())
        heard = [await receive(server) for _ in range(4)]
        by_source = {source for _, source in heard}
        assert len(by_source) == 2
        for data, source in heard[::2]:
            server.sendto(data + b" back", source)
        answers = {(await receive(client))[0] for client in clients}
        assert answers == {b"from 0 back", b"from 1 back"}
        stats = w.stats.listeners["in"]
        assert (stats.connections_active, stats.datagrams_received_total, stats.datagrams_sent_total) == (2, 4, 2)
        assert (stats.bytes_received_total, stats.bytes_sent_total) == (24, 22)

    run(scenario())


def test_a_silent_session_ends(run: Run, world: World, udp: Callable[[], socket.socket]) -> None:
    async def scenario() -> None:
        w, server, client = world(), udp(), udp()
        await w.apply(config(name(server)))
        client.sendto(b"x", w.address())
        _, before = await receive(server)
        w.clock.advance(59)
        client.sendto(b"x", w.address())
        assert (await receive(server))[1] == before
        w.clock.advance(100)
        assert w.closed() == {"idle": 1}
        client.sendto(b"x", w.address())
        assert (await receive(server))[1] != before
        assert w.stats.listeners["in"].connections_total == 2

    run(scenario())


def test_sessions_are_bounded(run: Run, world: World, udp: Callable[[], socket.socket]) -> None:
    async def scenario() -> None:
        w, server = world(), udp()
        await w.apply(config(name(server), max_connections=3))
        clients = [udp() for _ in range(5)]
        for client in clients:
            client.sendto(b"x", w.address())
        await w.until(lambda: w.stats.listeners["in"].rejected["limit"] == 2)
        assert w.stats.listeners["in"].connections_active == 3

    run(scenario())


def test_an_endpoint_that_is_gone_ends_the_session(run: Run, world: World, udp: Callable[[], socket.socket]) -> None:
    async def scenario() -> None:
        w, server, gone, client = world(), udp(), udp(), udp()
        address = name(gone)
        gone.close()
        await w.apply(config(address, name(server)))
        client.sendto(b"lost", w.address())
        await w.until(lambda: w.closed() == {"reset": 1})
        client.sendto(b"found", w.address())
        assert (await receive(server))[0] == b"found"
        assert w.stats.clusters["up"].endpoints[address].connect_failures_total == 1

    run(scenario())


def test_a_session_goes_on_over_a_reload(run: Run, world: World, udp: Callable[[], socket.socket]) -> None:
    async def scenario() -> None:
        w, server, client = world(), udp(), udp()
        await w.apply(config(name(server)))
        client.sendto(b"x", w.address())
        _, before = await receive(server)
        await w.apply(config(name(server), max_connections=7))
        client.sendto(b"y", w.address())
        assert await receive(server) == (b"y", before)

    run(scenario())


@pytest.mark.parametrize("how", ["moved", "removed"])
def test_sessions_end_with_their_door(run: Run, world: World, udp: Callable[[], socket.socket], how: str) -> None:
    async def scenario() -> None:
        w, server, client = world(), udp(), udp()
        await w.apply(config(name(server)))
        client.sendto(b"x", w.address())
        await receive(server)
        stats = w.stats.listeners["in"]
        after = config(name(server), listen="127.0.0.2:0")
        await w.apply(after if how == "moved" else {**after, "listeners": []})
        await w.until(lambda: stats.closed["drain"] == 1)
        assert stats.connections_active == 0
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


def test_replies_that_nobody_gets_are_no_movement(run: Run, world: World, udp: Callable[[], socket.socket]) -> None:
    async def scenario() -> None:
        w, server, client = world(), udp(), udp()
        await w.apply(config(name(server)))
        client.sendto(b"x", w.address())
        _, source = await receive(server)
        assert w.worker.current is not None
        door = w.worker.current.listeners[0].doors[0].live
        door.reply = lambda data, source: False
        for _ in range(5):
            w.clock.advance(15)
            before = w.stats.clusters["up"].bytes_received_total
            server.sendto(b"tick", source)
            await w.until(lambda before=before: w.stats.clusters["up"].bytes_received_total > before or w.closed())
        assert w.closed() == {"idle": 1}

    run(scenario())


def test_what_the_endpoint_cannot_take_is_dropped(run: Run, world: World, udp: Callable[[], socket.socket]) -> None:
    async def scenario() -> None:
        w, server = world(), udp()
        await w.apply(config(name(server), listen="[::1]:0"))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.sendto(b"before", w.address())
            _, source = await receive(server)
            client.sendto(bytes(65_527), w.address())
            client.sendto(b"after", w.address())
            assert await receive(server) == (b"after", source)
        assert w.closed() == {}
        assert w.stats.clusters["up"].connect_failures_total == 0

    run(scenario())


def test_a_reply_comes_from_the_address_that_was_spoken_to(
    run: Run, world: World, udp: Callable[[], socket.socket]
) -> None:
    async def scenario() -> None:
        w, server, client = world(), udp(), udp()
        await w.apply(config(name(server), listen="0.0.0.0:0"))
        _, port = w.address()
        for host in ("127.0.0.2", "127.0.0.3"):
            client.sendto(host.encode(), (host, port))
            data, source = await receive(server)
            server.sendto(data, source)
            assert await receive(client) == (host.encode(), (host, port))
        assert w.stats.listeners["in"].connections_active == 2
        client.sendto(b"again", ("127.0.0.2", port))
        await receive(server)
        assert w.stats.listeners["in"].connections_total == 2

    run(scenario())


def test_a_wildcard_of_ipv6_replies(run: Run, world: World, udp: Callable[[], socket.socket]) -> None:
    async def scenario() -> None:
        w, server = world(), udp()
        await w.apply(config(name(server), listen="[::]:0"))
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(("::1", w.address()[1]))
            client.send(b"x")
            data, source = await receive(server)
            server.sendto(data, source)
            assert (await receive(client))[0] == b"x"

    run(scenario())
