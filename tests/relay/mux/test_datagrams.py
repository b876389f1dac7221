"""Two proxies and datagrams through the tunnel between them, from the configuration to the answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from meshproxy.net.clock import LoopClock
from tests.conftest import World
from tests.pki import Ca
from tests.relay.mux.test_tunnels import tunnel_of
from tests.relay.name_server import Stub
from tests.relay.test_tls_listener import inline
from tests.relay.test_udp import receive
from tests.wire import dns_messages as dns

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
VIA = {"via": "edge-7"}
NAMES = {"books.shop": ["10.0.0.1", "10.0.0.2"]}


class Scene:
    """A centre that has names and an edge that asks for them, each a proxy of its own."""

    def __init__(self, ca: Ca, transport: str = "tcp") -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        self.near, self.far = World(clock), World(clock)
        self.ca = ca
        self.transport = transport

    async def begin(self, *endpoints: Any, **said: Any) -> None:
        """`said` of the edge's listener."""
        protocol = "quic" if self.transport == "quic" else "tunnel"
        tls = {**inline(self.ca.issue("shop/centre")), "client_ca": self.ca.root.read_text()}
        await self.far.apply(
            {
                "listeners": [
                    {"name": "tunnels", "listen": "127.0.0.1:0", "protocol": protocol, "tls": tls},
                    {"name": "dns", "listen": "127.0.0.3:0", "protocol": "dns"},
                    {
                        "name": "flows", "listen": [], "protocol": "udp", "transparent": True,
                        "chains": [{"match": {"destinations": ["127.0.0.0/8"]}, "cluster": "there"}],
                    },
                ],
                "clusters": {"there": {"original": True}},
                "dns": {"names": NAMES, "unknown": "refuse"},
                "tunnels": {"edge-7": {"accept": ["shop/edge-7"], "datagrams": "flows"}},
            }
        )  # fmt: skip
        await self.edge(*(endpoints or (self.names,)), **said)
        await self.near.until(lambda: tunnel_of(self.near).carriers)

    async def edge(
        self, *endpoints: Any, dns: dict[str, Any] | None = None, via: dict[str, str] = VIA, **said: Any
    ) -> None:
        """With a listener of dns where there is a section for that."""
        host, port = self.far.address("tunnels")
        tls = {**inline(self.ca.issue("shop/edge-7")), "ca": self.ca.root.read_text(), "names": ["shop/centre"]}
        listeners = [{"name": "in", "listen": "127.0.0.1:0", "protocol": "udp", "cluster": "far", **said}]
        if dns is not None:
            listeners.append({"name": "dns", "listen": "127.0.0.3:0", "protocol": "dns"})
        await self.near.apply(
            {
                "listeners": listeners,
                "clusters": {"far": {"endpoints": list(endpoints), "lane": "fast", **via}},
                "tunnels": {
                    "edge-7": {
                        "dial": f"{host}:{port}", "tls": tls, "transport": self.transport,
                        "classes": {"bulk": {"tier": 1}, "fast": {"tier": 0}},
                    }
                },
                "dns": dns or {},
            }
        )  # fmt: skip

    @property
    def names(self) -> str:
        return "{}:{}".format(*self.far.address("dns"))

    async def nothing_is_left(self) -> None:
        for end in (self.near, self.far):
            await end.until(lambda end=end: not tunnel_of(end).streams)  # type: ignore[misc]
        for end, listener in ((self.near, "in"), (self.far, "flows")):
            assert end.stats.listeners[listener].connections_active == 0


@pytest.fixture
def opened() -> Iterator[list[Stub | socket.socket]]:
    found: list[Stub | socket.socket] = []
    yield found
    for each in found:
        each.close()


def stub(world: World, opened: list[Any], listener: str = "in") -> Stub:
    opened.append(Stub(world, listener))
    found: Stub = opened[-1]
    return found


@pytest.mark.parametrize("transport", ["tcp", "quic"])
def test_names_are_asked_for_through_a_tunnel(run: Run, ca: Ca, opened: list[Any], transport: str) -> None:
    if transport == "quic":
        pytest.importorskip("aioquic", reason="aioquic is not installed")

    async def scenario() -> None:
        scene = Scene(ca, transport)
        await scene.begin()
        clients = [stub(scene.near, opened) for _ in range(3)]
        answers = [await client.ask("books.shop", id=number) for number, client in enumerate(clients)]
        assert [answer.id for answer in answers] == [0, 1, 2]
        assert all(len(answer.answers) == 2 for answer in answers)
        assert len(tunnel_of(scene.far).streams) == 3
        assert {stream.klass for stream in tunnel_of(scene.near).session._streams.values()} == {1}
        stats = scene.near.stats.tunnels["edge-7"]
        tunnel_of(scene.near).account()
        assert (stats.datagrams_sent_total, stats.datagrams_received_total) == (3, 3)
        assert not any(stats.datagrams_dropped.values())
        heard = scene.far.stats.listeners["flows"]
        assert (heard.connections_active, heard.datagrams_received_total, heard.datagrams_sent_total) == (3, 3, 3)
        # A listener of dns asks by the same way.
        here = "{}:{}".format(*scene.near.address("in"))
        await scene.edge(scene.names, dns={"servers": [here]})
        answer = await stub(scene.near, opened, "dns").ask("books.shop")
        assert len(answer.answers) == 2

    run(scenario())


def test_a_session_that_is_silent_ends_at_both_ends(run: Run, ca: Ca, opened: list[Any]) -> None:
    async def scenario() -> None:
        scene = Scene(ca)
        await scene.begin(timeouts={"idle": "100ms"})
        client = stub(scene.near, opened)
        await client.ask("books.shop")
        await scene.far.until(lambda: scene.far.closed("flows"))
        assert (scene.near.closed(), scene.far.closed("flows")) == ({"idle": 1}, {"done": 1})
        await scene.nothing_is_left()
        await client.ask("books.shop")
        assert scene.near.stats.listeners["in"].connections_total == 2

    run(scenario())


def test_sessions_end_with_their_listener(run: Run, ca: Ca, opened: list[Any]) -> None:
    async def scenario() -> None:
        scene = Scene(ca)
        await scene.begin()
        await stub(scene.near, opened).ask("books.shop")
        await scene.edge(scene.names, listen="127.0.0.2:0")
        await scene.far.until(lambda: scene.far.closed("flows"))
        assert (scene.near.closed(), scene.far.closed("flows")) == ({"drain": 1}, {"done": 1})
        await scene.nothing_is_left()

    run(scenario())


@pytest.mark.parametrize(
    ("where", "turned_away"),
    [("127.0.0.1:1", {}), ("10.9.9.9:53", {"no_chain": 1})],
    ids=["nobody is there", "nobody may go there"],
)
def test_what_cannot_be_reached_ends_the_session(
    run: Run, ca: Ca, opened: list[Any], where: str, turned_away: dict[str, int]
) -> None:
    async def scenario() -> None:
        scene = Scene(ca)
        await scene.begin(where)
        stub(scene.near, opened).send("books.shop")
        await scene.near.until(lambda: scene.near.closed())
        assert scene.near.closed() == {"reset": 1}
        assert scene.near.stats.clusters["far"].endpoints[where].connect_failures_total == 1
        rejected = scene.far.stats.listeners["flows"].rejected
        assert {reason: count for reason, count in rejected.items() if count} == turned_away
        await scene.nothing_is_left()

    run(scenario())


def test_an_endpoint_may_be_here_and_another_there(run: Run, ca: Ca, opened: list[Any]) -> None:
    async def scenario() -> None:
        scene = Scene(ca)
        here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        here.bind(("127.0.0.1", 0))
        here.setblocking(False)
        opened.append(here)
        await scene.begin()
        await scene.edge("{}:{}".format(*here.getsockname()), {"address": scene.names, **VIA}, via={})
        clients = [stub(scene.near, opened) for _ in range(2)]
        for client in clients:
            client.send("books.shop")
        heard, source = await receive(here)
        assert heard == dns.query("books.shop", dns.A)
        here.sendto(dns.message(7, dns.question("books.shop", dns.A)), source)
        answers = [await client.receive() for client in clients]
        assert sorted(len(answer.answers) for answer in answers) == [0, 2]

    run(scenario())
