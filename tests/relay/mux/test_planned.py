"""What is changed on purpose: there is another connection of a tunnel before the one that is there is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.net.clock import LoopClock
from meshproxy.relay.mux import dialler, tunnel
from tests.conftest import World
from tests.pki import Ca
from tests.relay.conversation import heard
from tests.relay.mux.test_tunnels import centre, edge, tunnel_of

ONE_LOOP = True
"""What is shown here is the same on both."""

Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel, "LINGERS", 0.01)


class Sites:
    """An edge, a centre with two ways in, and a stream between them."""

    def __init__(self, ca: Ca, upstream: Upstream) -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        self.near, self.far, self.up = World(clock), World(clock), upstream()
        self.ca = ca
        said = centre(ca)
        one, *rest = said["listeners"]
        self.ways = [one, {**one, "name": "other", "listen": "127.0.0.2:0"}]
        self.centre = {**said, "listeners": [*self.ways, *rest]}
        self.rest = rest
        self.fewest = 1
        """Connections at any time since the first."""

    async def begin(self, *dialled: int) -> None:
        await self.far.apply(self.centre)
        self.addresses = ["{}:{}".format(*self.far.address(way["name"])) for way in self.ways]
        await self.dials(*dialled)
        await self.near.until(lambda: self.carriers)
        self.tunnel = tunnel_of(self.near)
        changed = self.tunnel.on_change

        def change() -> None:
            self.fewest = min(self.fewest, len(self.carriers))
            changed()

        self.tunnel.on_change = change
        self.peer = await self.near.connect()
        await self.peer.send(b"before")
        self.behind = await self.up.accept()
        await heard(self.behind, b"before")

    async def dials(self, *ways: int, **said: Any) -> None:
        there: dict[str, Any] = {
            "far": {"endpoints": [self.up.address], "via": "edge-7"}, "app": {"endpoints": ["127.0.0.1:1"]}
        }  # fmt: skip
        document = edge(self.ca, "", **there)
        document["tunnels"]["edge-7"] |= {"dial": [self.addresses[way] for way in ways], **said}
        await self.near.apply(document)

    @property
    def carriers(self) -> list[Any]:
        return list(tunnel_of(self.near).carriers)

    @property
    def reached(self) -> list[str]:
        return ["{}:{}".format(*carrier.conn.sock.getpeername()) for carrier in self.carriers]

    async def came(self, times: int) -> None:
        await self.near.until(lambda: self.tunnel.stats.attached_total == times)

    async def goes_on(self) -> None:
        """The stream is the same, and was never without a connection."""
        assert tunnel_of(self.near) is self.tunnel
        await self.peer.send(b"after")
        await heard(self.behind, b"after")
        await self.behind.send(b"and back")
        await heard(self.peer, b"and back")
        assert self.fewest == 1
        assert self.tunnel.stats.lost_total == 0


def test_another_way_is_gone_before_the_old_one_is_left(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        sites = Sites(ca, upstream)
        await sites.begin(0)
        await sites.dials(1)
        await sites.near.until(lambda: sites.reached == sites.addresses[1:])
        await sites.far.until(lambda: len(tunnel_of(sites.far).carriers) == 1)
        await sites.goes_on()

    run(scenario())


def test_where_the_new_way_leads_nowhere_the_old_one_is_kept(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        sites = Sites(ca, upstream)
        await sites.begin(0)
        sites.addresses.append("127.0.0.1:1")
        await sites.dials(2)
        await sites.near.until(lambda: sites.carriers[0].link.leaving)
        await sites.goes_on()
        assert sites.reached == sites.addresses[:1]
        await sites.dials(1)
        await sites.near.until(lambda: sites.reached == sites.addresses[1:2])
        await sites.goes_on()

    run(scenario())


def test_who_closes_a_listener_has_its_tunnels_come_by_another_one(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        sites = Sites(ca, upstream)
        await sites.begin(0, 1)
        (before,) = sites.reached
        kept = sites.ways[1 - sites.addresses.index(before)]
        await sites.far.apply({**sites.centre, "listeners": [kept, *sites.rest]})
        await sites.near.until(lambda: sites.reached and before not in sites.reached)
        await sites.goes_on()

    run(scenario())


def test_fewer_and_more_connections_are_the_same_tunnel(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        sites = Sites(ca, upstream)
        await sites.begin(0)
        await sites.dials(0, links=3)
        await sites.near.until(lambda: len(sites.carriers) == 3)
        await sites.dials(0, links=1)
        await sites.near.until(lambda: len(sites.carriers) == 1)
        await sites.goes_on()

    run(scenario())


def test_who_may_be_there_no_more_is_not_there_any_more(run: Run, upstream: Upstream, ca: Ca) -> None:
    async def scenario() -> None:
        sites = Sites(ca, upstream)
        await sites.begin(0)
        other = {"edge-7": {**sites.centre["tunnels"]["edge-7"], "accept": ["shop/another"]}}
        before = tunnel_of(sites.far)
        await sites.far.apply({**sites.centre, "tunnels": other})
        assert tunnel_of(sites.far) is not before

    run(scenario())


def test_who_is_let_in_and_thrown_out_again_comes_back_slowly(
    monkeypatch: pytest.MonkeyPatch, run: Run, upstream: Upstream, ca: Ca
) -> None:
    waits: list[float] = []

    class Watched(LoopClock):
        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(loop)
            later = self.after

            def after(seconds: float, action: Callable[[], None]) -> Any:
                if getattr(action, "__func__", None) is dialler.Dialler._try:
                    waits.append(seconds)
                return later(seconds, action)

            self.after = after  # type: ignore[assignment]

    async def scenario() -> None:
        sites = Sites(ca, upstream)
        watched: Any = Watched(asyncio.get_running_loop())
        sites.near = World(watched)
        await sites.begin(0)
        waits.clear()
        for count in range(3):
            (carrier,) = tunnel_of(sites.far).carriers
            carrier.lost()
            await sites.came(count + 2)
        again = [wait for wait in waits if wait != dialler.BESIDE]
        assert again[0] >= dialler.FIRST_AGAIN
        assert again[2] > again[0]

    run(scenario())
