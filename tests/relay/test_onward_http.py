"""Requests that go on to where their connection was made to, and connections that come back to who has made them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.cluster import original
from tests.conftest import FakeClock, World
from tests.relay import test_transparent
from tests.relay.conversation import head_of, heard
from tests.relay.test_transparent import Kernel, at, config, cut, refused

ONE_LOOP = True
"""What is shown here is the same on both."""

kernel = test_transparent.kernel
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]
OUT = {"original": True}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(host: str) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host.encode()


def known_and_unknown(known: Any, **more: Any) -> dict[str, Any]:
    """One host is served by the mesh, all others are where they are."""
    said = config(
        protocol="http", transparent=True, routes="web", clusters={"known": at(known), "out": {**OUT, **more}}
    )
    return {**said, "routes": {"web": [{"match": {"hosts": ["books.shop"]}, "cluster": "known"}, {"cluster": "out"}]}}


async def asked(peer: Any, up: Any, host: str, behind: Any = None) -> Any:
    """A request is answered by this upstream; on a connection that it has, if one is said."""
    await peer.send(get(host))
    server = behind or await up.accept()
    assert (await head_of(server)).startswith(b"GET / HTTP/1.1\r\nHost: %b\r\n" % host.encode())
    await server.send(OK)
    await heard(peer, OK)
    return server


def test_a_host_that_nobody_knows_is_asked_where_the_client_wanted_to_ask_it(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, known = World(clock), upstream()
        one, other = upstream(), upstream(socket.AF_INET6, ("::1", 0))
        await w.apply(known_and_unknown(known))
        kernel.redirects(one.address)
        peer = await w.connect()
        await asked(peer, known, "books.shop")
        behind = await asked(peer, one, "toys.example")
        await asked(peer, one, "cars.example", behind)
        kernel.redirects(other.address)
        await asked(await w.connect(), other, "toys.example")
        # Who wants to go to the same place finds the way made.
        kernel.redirects(one.address)
        await asked(await w.connect(), one, "toys.example", behind)
        stats = w.stats.clusters["out"]
        assert (list(stats.endpoints), stats.connections_total) == (["original"], 2)

    run(scenario())


def test_nobody_else_is_asked_and_nobody_at_the_listener_itself(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, known, gone = World(clock), upstream(), upstream()
        gone.close()
        await w.apply(known_and_unknown(known))
        kernel.redirects(gone.address)
        peer = await w.connect()
        await peer.send(get("toys.example"))
        assert (await peer.recv()).startswith(b"HTTP/1.1 503 ")
        assert w.stats.clusters["out"].endpoints["original"].connect_failures_total == 1
        kernel.redirects(f"127.0.0.1:{w.address()[1]}")
        await refused(w, "loop")

    run(scenario())


def test_places_are_remembered_as_long_as_there_is_room(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(original, "MOST_ADDRESSES", 1)

    async def scenario() -> None:
        w, known, one, other = World(clock), upstream(), upstream(), upstream()
        await w.apply(known_and_unknown(known))
        kernel.redirects(one.address)
        first = await asked(await w.connect(), one, "toys.example")
        kernel.redirects(other.address)
        await asked(await w.connect(), other, "toys.example")
        assert not await first.recv(), "the one that waited is closed"
        kernel.redirects(one.address)
        await asked(await w.connect(), one, "toys.example")
        await w.until(lambda: w.stats.clusters["out"].connections_active == 1)

    run(scenario())


def test_a_keep_alive_connection_goes_on_over_a_reload_and_ends_with_its_cluster(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, known, up = World(clock), upstream(), upstream()
        said = known_and_unknown(known)
        await w.apply(said)
        kernel.redirects(up.address)
        peer = await w.connect()
        behind = await asked(peer, up, "toys.example")
        await w.apply({**said, "drain": {"timeout": "9s"}})
        await asked(peer, up, "toys.example", behind)
        await w.apply({**known_and_unknown(known, connect_timeout="2s"), "drain": {"timeout": "9s"}})
        await asked(peer, up, "toys.example", behind)
        # Who is spoken to in another way is somebody else.
        await w.apply({**known_and_unknown(known, source="127.0.0.7"), "drain": {"timeout": "9s"}})
        assert not await behind.recv()
        again = await asked(peer, up, "toys.example")
        assert again.sock.getpeername()[0] == "127.0.0.7"

    run(scenario())


# What comes back


@pytest.mark.parametrize("tls", [False, True])
def test_who_is_led_back_to_us_is_refused(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    """The proxy's own connection is redirected: what arrives has the two addresses that this has."""

    async def scenario() -> None:
        w = World(clock)
        secure = {"tls": {"verify": "off"}} if tls else {}
        await w.apply(config(transparent=True, cluster="out", clusters={"out": {**OUT, **secure}}))
        listening = w.address()
        there = ("127.0.0.1", listening[1] ^ 1)
        kernel.redirects(f"{there[0]}:{there[1]}")
        led_back(monkeypatch, there, listening)
        await cut(w)
        rejected = {reason: count for reason, count in w.stats.listeners["in"].rejected.items() if count}
        assert rejected == {"loop": 1}
        assert w.stats.clusters["out"].endpoints["original"].connections_active == 0

    run(scenario())


def test_who_is_led_to_another_listener_is_let_in(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A workload asks one that lives behind the same proxy: what goes out comes in, and does not go out again."""

    async def scenario() -> None:
        w, app = World(clock), upstream()
        said = config(transparent=True, cluster="out", clusters={"out": OUT, "app": at(app)})
        inbound = {"name": "inbound", "listen": "127.0.0.2:0", "protocol": "tcp", "transparent": True, "cluster": "app"}
        said["listeners"].append(inbound)
        await w.apply(said)
        listening = w.address("inbound")
        there = ("127.0.0.1", listening[1] ^ 1)
        kernel.redirects(f"{there[0]}:{there[1]}")
        led_back(monkeypatch, there, listening)
        peer = await w.connect()
        await peer.send(b"hello")
        assert await (await app.accept()).recv_exactly(5) == b"hello"
        # Who would be sent on by the cluster that has made it is refused there as well.
        await w.apply({**said, "listeners": [said["listeners"][0], {**inbound, "cluster": "out"}]})
        await cut(w)
        assert w.stats.listeners["inbound"].rejected["loop"] == 1

    run(scenario())


def led_back(monkeypatch: pytest.MonkeyPatch, there: tuple[str, int], listening: tuple[str, int]) -> None:
    """As rules would: who connects there is connected here, and does not know it."""
    connect, name = socket.socket.connect_ex, socket.socket.getpeername

    class Led(socket.socket):
        def connect_ex(self, address: Any) -> int:
            return connect(self, listening if address == there else address)

        def getpeername(self) -> Any:
            found = name(self)
            return there if found[:2] == listening else found

    monkeypatch.setattr("meshproxy.net.address.socket.socket", Led)
