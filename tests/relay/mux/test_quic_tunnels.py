"""Two proxies and a tunnel over QUIC between them, from the configuration to the last byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.net.clock import LoopClock
from meshproxy.relay.mux.carrier import Carrier
from meshproxy.relay.mux.quic import QuicCarrier
from tests.conftest import World
from tests.pki import Ca
from tests.relay.conversation import heard
from tests.relay.mux.test_tunnels import centre, edge, through_and_back, tunnel_of

pytest.importorskip("aioquic", reason="aioquic is not installed")

ONE_LOOP = True
"""What is shown here is the same on both."""

Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


def quic_centre(ca: Ca) -> dict[str, Any]:
    said = centre(ca)
    return {**said, "listeners": [{**said["listeners"][0], "name": "quic", "protocol": "quic"}, *said["listeners"][1:]]}


def by(transport: str, said: dict[str, Any]) -> dict[str, Any]:
    return {**said, "tunnels": {"edge-7": {**said["tunnels"]["edge-7"], "transport": transport}}}


@pytest.mark.parametrize("identity", ["shop/edge-7", "shop/thief"])
def test_streams_go_through_and_back(run: Run, upstream: Upstream, ca: Ca, identity: str) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up, app = World(clock), World(clock), upstream(), upstream()
        await far.apply(quic_centre(ca))
        host, port = far.address("quic")
        there = {"far": {"endpoints": [up.address], "via": "edge-7"}, "app": {"endpoints": [app.address]}}
        await near.apply(by("quic", edge(ca, f"{host}:{port}", identity, **there)))
        if identity != "shop/edge-7":
            await far.until(lambda: far.stats.listeners["quic"].closed["error"] >= 1)
            assert not tunnel_of(near).carriers
            return
        await near.until(lambda: tunnel_of(near).carriers)
        assert far.stats.listeners["quic"].connections_active == 1
        await through_and_back(near, far, up, app)

    run(scenario())


@pytest.mark.parametrize(("served", "kind"), [("quic", QuicCarrier), ("tunnel", Carrier)])
def test_of_two_ways_the_one_that_is_there_is_taken(
    run: Run, upstream: Upstream, ca: Ca, served: str, kind: type[Any]
) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up = World(clock), World(clock), upstream()
        await far.apply(quic_centre(ca) if served == "quic" else centre(ca))
        host, port = far.address("quic" if served == "quic" else "tunnels")
        there: dict[str, Any] = {
            "far": {"endpoints": [up.address], "via": "edge-7"}, "app": {"endpoints": ["127.0.0.1:1"]}
        }  # fmt: skip
        await near.apply(by("race", edge(ca, f"{host}:{port}", **there)))
        await near.until(lambda: tunnel_of(near).carriers)
        assert [type(each) for each in tunnel_of(near).carriers] == [kind]
        peer = await near.connect()
        await peer.send(b"hello")
        await heard(await up.accept(), b"hello")

    run(scenario())


def test_a_stream_goes_on_where_its_listener_of_quic_is_closed_and_opened_again(
    run: Run, upstream: Upstream, ca: Ca
) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up = World(clock), World(clock), upstream()
        said = quic_centre(ca)
        await far.apply(said)
        host, port = far.address("quic")
        there: dict[str, Any] = {
            "far": {"endpoints": [up.address], "via": "edge-7"}, "app": {"endpoints": ["127.0.0.1:1"]}
        }  # fmt: skip
        await near.apply(by("quic", edge(ca, f"{host}:{port}", **there)))
        await near.until(lambda: tunnel_of(near).carriers)
        peer = await near.connect()
        await peer.send(b"before")
        behind = await up.accept()
        await heard(behind, b"before")
        quic, *rest = said["listeners"]
        await far.apply({**said, "listeners": rest})
        await near.until(lambda: not tunnel_of(near).carriers)
        await peer.send(b"meanwhile")
        await far.apply({**said, "listeners": [{**quic, "listen": f"{host}:{port}"}, *rest]})
        await heard(behind, b"meanwhile")

    run(scenario())
