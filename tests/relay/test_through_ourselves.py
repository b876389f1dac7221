"""One meshproxy goes through another, which is a forward proxy, from the configuration to the last byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.net.clock import LoopClock
from tests.conftest import World
from tests.relay.conversation import ended, heard
from tests.relay.test_connect import hashed

ONE_LOOP = True
"""What is shown here is the same on both."""

Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

HERE = "127.0.0.0/8:*"


def forward(through: str, allow: str, *, open_to_all: bool = False) -> dict[str, Any]:
    where = {"allow": [allow], "users": [] if open_to_all else [{"name": "edge", "password": hashed("secret")}]}
    if through == "socks5":
        listener = {"name": "proxy", "listen": "127.0.0.1:0", "protocol": "socks5", "socks5": where}
        return {"listeners": [listener]}
    listener = {"name": "proxy", "listen": "127.0.0.1:0", "protocol": "http", "routes": "outside"}
    return {"listeners": [listener], "routes": {"outside": [{"connect": where}]}}


def client(through: str, proxy: str, endpoint: str, password: str = "secret") -> dict[str, Any]:
    return {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "far"}],
        "clusters": {"far": {"endpoints": [endpoint], "via": "out"}},
        "tunnels": {"out": {"through": through, "server": proxy, "user": "edge", "password": password}},
    }


@pytest.mark.parametrize("through", ["connect", "h2", "socks5"])
def test_a_connection_goes_through_and_ends_at_both_ends(run: Run, upstream: Upstream, through: str) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up = World(clock), World(clock), upstream()
        await far.apply(forward(through, HERE))
        host, port = far.address("proxy")
        await near.apply(client(through, f"{host}:{port}", up.address))
        peer = await near.connect()
        await peer.send(b"hello")
        behind = await up.accept()
        await heard(behind, b"hello")
        await behind.send(b"welcome")
        await heard(peer, b"welcome")
        behind.close()
        assert await ended(peer)
        peer.close()
        await near.until(lambda: near.closed())

    run(scenario())


@pytest.mark.parametrize("through", ["connect", "h2", "socks5"])
@pytest.mark.parametrize(("allow", "password"), [("10.0.0.0/8:*", "secret"), (HERE, "wrong")])
def test_who_is_refused_hears_of_it(run: Run, upstream: Upstream, through: str, allow: str, password: str) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up = World(clock), World(clock), upstream()
        await far.apply(forward(through, allow))
        host, port = far.address("proxy")
        await near.apply(client(through, f"{host}:{port}", up.address, password))
        peer = await near.connect()
        with pytest.raises(ConnectionResetError):
            await peer.recv()
        assert "proxy-refused" in near.logged[0]
        assert "secret" not in near.logged[0]
        assert "wrong" not in near.logged[0]

    run(scenario())
