"""Two proxies and a tunnel between them, from the configuration to the last byte."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.model import Config, decode
from meshproxy.net.clock import LoopClock
from meshproxy.net.doors import Doors
from meshproxy.observe.log import Log
from meshproxy.plan import places
from meshproxy.server.fleet import open_doors
from meshproxy.server.worker import DRAIN_LOOK_EVERY, Worker
from tests.conftest import Client, World
from tests.pki import Ca
from tests.relay.conversation import heard
from tests.relay.test_tls_listener import inline

ONE_LOOP = True
"""What is shown here is the same on both."""

Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]
GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def centre(ca: Ca, **clusters: Any) -> dict[str, Any]:
    """It accepts the tunnel of an edge, and serves its streams; and it has one through it."""
    pair = ca.issue("shop/centre")
    tls = {**inline(pair), "client_ca": ca.root.read_text()}
    listeners = [
        {"name": "tunnels", "listen": "127.0.0.1:0", "protocol": "tunnel", "tls": tls},
        {
            "name": "edges", "listen": [], "protocol": "tcp", "transparent": True, "cluster": "there",
            "chains": [{"match": {"ports": [80]}, "protocol": "http", "routes": "web"}],
        },
        {"name": "back", "listen": "127.0.0.2:0", "protocol": "tcp", "cluster": "edge"},
    ]  # fmt: skip
    return {
        "listeners": listeners,
        "routes": {"web": [{"reply": {"body": "centre"}}]},
        "clusters": {"there": {"original": True}, "edge": {"endpoints": ["127.0.0.1:1"], "via": "edge-7"}, **clusters},
        "tunnels": {"edge-7": {"accept": ["shop/edge-7"], "listener": "edges"}},
    }


def edge(ca: Ca, address: str, identity: str = "shop/edge-7", **clusters: Any) -> dict[str, Any]:
    pair = ca.issue(identity)
    tls = {**inline(pair), "ca": ca.root.read_text(), "names": ["shop/centre"]}
    return {
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "far"},
            {"name": "web", "listen": "127.0.0.2:0", "protocol": "tcp", "cluster": "web"},
            {"name": "own", "listen": [], "protocol": "tcp", "cluster": "app"},
        ],
        "clusters": {**clusters, "web": {"endpoints": ["10.9.9.9:80"], "via": "edge-7", "lane": "fast"}},
        "tunnels": {
            "edge-7": {
                "dial": address, "tls": tls, "listener": "own", "classes": {"bulk": {"tier": 1}, "fast": {"tier": 0}},
            }
        },
    }  # fmt: skip


def tunnel_of(w: World) -> Any:
    snapshot = w.worker.current
    assert snapshot is not None
    (live,) = snapshot.tunnels.by_name.values()
    return live.tunnel


async def begun(
    ca: Ca, said: dict[str, Any] | None = None, identity: str = "shop/edge-7", **clusters: Any
) -> tuple[World, World]:
    """An edge with these clusters, and the centre that it dials."""
    clock: Any = LoopClock(asyncio.get_running_loop())
    near, far = World(clock), World(clock)
    await far.apply(said or centre(ca))
    host, port = far.address("tunnels")
    await near.apply(edge(ca, f"{host}:{port}", identity, **clusters))
    return near, far


async def through_and_back(near: World, far: World, up: Any, app: Any) -> None:
    """What the edge says is heard behind the centre, and the other way, by streams of either end."""
    peer = await near.connect()
    await peer.send(b"hello")
    behind = await up.accept()
    await heard(behind, b"hello")
    await behind.send(b"and back")
    await heard(peer, b"and back")
    peer.end()
    assert not await behind.recv()
    back = await far.connect("back")
    await back.send(b"to the edge")
    await heard(await app.accept(), b"to the edge")


def test_who_comes_before_the_tunnel_is_there_for_the_first_time_waits(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        up = upstream()
        there: Any = {"far": {"endpoints": [up.address], "via": "edge-7"}, "app": {"endpoints": ["127.0.0.1:1"]}}
        near, _far = await begun(ca, **there)
        assert not tunnel_of(near).carriers
        peer = await near.connect()
        await peer.send(b"hello")
        await heard(await up.accept(), b"hello")

    run(scenario())


def test_nobody_waits_for_long_and_not_for_one_that_has_been_there(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up = World(clock), World(clock), upstream()
        there: Any = {
            "far": {"endpoints": [up.address], "via": "edge-7", "connect_timeout": "10ms"},
            "app": {"endpoints": ["127.0.0.1:1"]},
        }
        await near.apply(edge(ca, "127.0.0.1:1", **there))
        tunnel = tunnel_of(near)
        assert tunnel.coming
        with pytest.raises(ConnectionResetError):
            await (await near.connect()).recv()
        assert tunnel.coming
        assert not tunnel.awaited_by
        await far.apply(centre(ca))
        host, port = far.address("tunnels")
        there["far"]["connect_timeout"] = "1h"
        await near.apply(edge(ca, f"{host}:{port}", **there))
        await near.until(lambda: tunnel_of(near).carriers)
        assert tunnel_of(near) is tunnel
        tunnel.close()
        with pytest.raises(ConnectionResetError):
            await (await near.connect()).recv()

    run(scenario())


@pytest.mark.parametrize("identity", ["shop/edge-7", "shop/thief"])
def test_streams_go_through_and_back(run: Run, upstream: Upstream, ca: Ca, identity: str) -> None:
    async def scenario() -> None:
        up, app = upstream(), upstream()
        there: Any = {"far": {"endpoints": [up.address], "via": "edge-7"}, "app": {"endpoints": [app.address]}}
        near, far = await begun(ca, identity=identity, **there)
        if identity != "shop/edge-7":
            await far.until(lambda: far.stats.listeners["tunnels"].closed["error"] >= 1)
            with pytest.raises(ConnectionResetError):
                await (await near.connect()).recv()
            return
        await near.until(lambda: tunnel_of(near).carriers)
        await through_and_back(near, far, up, app)
        web = await near.connect("web")
        await web.send(GET)
        assert (await web.recv()).endswith(b"centre")

    run(scenario())


@pytest.mark.parametrize("place", ["127.0.0.1:15000", "[::ffff:127.0.0.1]:15000", "127.0.0.1:15091"])
def test_the_other_end_does_not_steer_the_proxy(run: Run, upstream: Upstream, ca: Ca, place: str) -> None:
    """It says where its streams go; on loopback there is who believes everybody."""

    async def scenario() -> None:
        app = upstream()
        there: Any = {"far": {"endpoints": [place], "via": "edge-7"}, "app": {"endpoints": [app.address]}}
        fronts = [{"kind": "fsm", "listen": "127.0.0.1:15091", "quit": True}]
        near, far = await begun(ca, {**centre(ca), "fronts": fronts}, **there)
        await near.until(lambda: tunnel_of(near).carriers)
        with pytest.raises(ConnectionResetError):
            await (await near.connect()).recv()
        assert far.stats.listeners["edges"].rejected["loop"] == 1

    run(scenario())


def test_no_stream_is_opened_to_a_unix_socket(run: Run, upstream: Upstream, ca: Ca) -> None:
    """It is of this host: the other end would take it for a fault, and the tunnel with all of its streams would end."""

    async def scenario() -> None:
        app = upstream()
        there: Any = {"far": {"endpoints": ["unix:@nobody"], "via": "edge-7"}, "app": {"endpoints": [app.address]}}
        near, _far = await begun(ca, **there)
        await near.until(lambda: tunnel_of(near).carriers)
        with pytest.raises(ConnectionResetError):
            await (await near.connect()).recv()
        assert not tunnel_of(near).stats.opened["here"]

    run(scenario())


async def another_worker(w: World, said: dict[str, Any]) -> tuple[Worker, Doors]:
    """Of the same proxy, at addresses of its own."""
    config, doors, limits = decode(Config, said), Doors(), w.fleet.limits
    worker = Worker(
        asyncio.get_running_loop(), w.clock, [0, 0], limits.shelves, 1, lambda words: limits.ledger.hear(1, words),
        Log(w.logged.append, clock=w.clock.now), first=w.worker.lead_in,
    )  # fmt: skip
    limits.ledger.join(1, worker.limits.hear)
    open_doors(config, doors)
    await worker.prepare(config, lambda place: doors.share(place, 0), {})
    doors.commit()
    await worker.commit()
    return worker, doors


def test_another_worker_uses_the_tunnel_and_is_waited_for(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up = World(clock), World(clock), upstream()
        await far.apply(centre(ca))
        host, port = far.address("tunnels")
        there: Any = {"far": {"endpoints": [up.address], "via": "edge-7"}, "app": {"endpoints": ["127.0.0.1:1"]}}
        said = edge(ca, f"{host}:{port}", **there)
        await near.apply(said)
        worker, doors = await another_worker(near, said)
        assert worker.current is not None
        tunnel = worker.current.tunnels.by_name["edge-7"].tunnel
        await near.until(lambda: tunnel.session)
        address = doors.local(places(worker.listeners[0].config)[0]).rpartition(":")
        with socket.socket() as sock:
            sock.setblocking(False)
            peer = Client(sock)
            await asyncio.get_running_loop().sock_connect(sock, (address[0], int(address[2])))
            await peer.send(b"hello")
            behind = await up.accept()
            await heard(behind, b"hello")
            ends = asyncio.create_task(near.worker.drain(5))
            assert not (await asyncio.wait([ends], timeout=3 * DRAIN_LOOK_EVERY))[0]
            await behind.send(b"and back")
            await heard(peer, b"and back")
            peer.end()
            behind.end()
            await ends
        assert not worker.stats.tunnels, "it is counted once"
        assert near.stats.tunnels["edge-7"].opened["here"] == 1
        worker.close()
        doors.close()

    run(scenario())


def test_a_site_falls_back_to_another_one_and_returns(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        there = upstream()
        with socket.socket() as here:
            here.setblocking(False)
            here.bind(("127.0.0.1", 0))
            address = "{}:{}".format(*here.getsockname())
            cluster = {"endpoints": [address, {"address": there.address, "priority": 1, "via": "edge-7"}]}
            near, _far = await begun(ca, far=cluster, app={"endpoints": [there.address]})
            await near.until(lambda: tunnel_of(near).carriers)
            await (await near.connect()).send(b"far")
            await heard(await there.accept(), b"far")
            here.listen()
            await near.connect()
            (await asyncio.get_running_loop().sock_accept(here))[0].close()

    run(scenario())
