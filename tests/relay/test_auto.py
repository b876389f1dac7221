"""One port for several protocols: each is told by its first bytes, and nothing is lost or doubled on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from meshproxy import plan
from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode
from meshproxy.net.conn import Conn
from meshproxy.relay.auto import AutoService
from meshproxy.relay.origin import Origin
from meshproxy.wire.mqtt import looks_like_connect
from meshproxy.wire.preface import PREFACE
from tests.conftest import FakeClock, Upstream
from tests.conftest import World as TheWorld
from tests.peers import BOOKBUYER, BOOKTHIEF, Proof, peer
from tests.pki import Ca, Pair
from tests.relay.conversation import IDENTITY, ended, head_of, heard
from tests.relay.test_tls_listener import inline
from tests.relay.tls_peers import client, trusting

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET / HTTP/1.1\r\nHost: books.shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def config(web: Upstream, rest: Upstream | None, **listener: Any) -> dict[str, Any]:
    """HTTP for one, all else for the other."""
    clusters = {"web": {"endpoints": [web.address]}}
    front = {"name": "in", "listen": "127.0.0.1:0", "protocol": "auto", "routes": "web"}
    if rest is not None:
        front["cluster"] = "rest"
        clusters["rest"] = {"endpoints": [rest.address]}
    return {"listeners": [front | listener], "routes": {"web": [{"cluster": "web"}]}, "clusters": clusters}


async def asked(peer: Any, web: Upstream, pieces: list[bytes]) -> None:
    """A request that comes in these pieces is answered."""
    for piece in pieces:
        await peer.send(piece)
        await asyncio.sleep(0)
    server = await web.accept()
    assert await head_of(server) == b"".join(pieces)
    await server.send(OK)
    await heard(peer, OK)


def rejected(w: Any) -> dict[str, int]:
    return {reason: count for reason, count in w.stats.listeners["in"].rejected.items() if count}


def in_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("pieces", [[GET], in_bytes(GET), [b"GE", GET[2:]], [b"GET ", GET[4:]]])
def test_http(run: Run, world: World, pieces: list[bytes]) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        await asked(peer, web, pieces)
        peer.end()
        await ended(peer)
        await w.until(lambda: w.closed() == {"done": 1})
        assert w.stats.clusters["rest"].connections_total == 0

    run(scenario())


@pytest.mark.parametrize("cut", [0, 1, 4, 15, 23])
def test_http2(run: Run, world: World, cut: int) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        begins = PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
        await peer.send(begins[:cut])
        await asyncio.sleep(0.01)
        await peer.send(begins[cut:] + b"\x00\x00\x08\x06\x00\x00\x00\x00\x00pingpong")
        got = b""
        async with asyncio.timeout(5):
            while not got.endswith(b"\x00\x00\x08\x06\x01\x00\x00\x00\x00pingpong"):
                got += await peer.recv()

    run(scenario())


STRANGERS = [
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"HELO me\r\n",
    b"\x10\x0b\x00\x04MQTT\x04\x02\x00\x3c\x00",
    b"\x10\x0c\x00\x06MQTT??",
    b"\x16\x03\x01\x02\x00\x01",
    b"get / http/1.1\r\n\r\n",
    b"GET\r\n",
    b"\x00",
    b"A" * 40,
    b"G" * 100_000,
    bytes(200_000),
]


@pytest.mark.parametrize("data", STRANGERS, ids=range(len(STRANGERS)))
@pytest.mark.parametrize("whole", [True, False])
def test_all_else_goes_on_as_it_is(run: Run, world: World, data: bytes, whole: bool) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        for piece in [data] if whole else [*in_bytes(data[:50]), data[50:]]:
            await peer.send(piece)
            await asyncio.sleep(0)
        server = await rest.accept()
        await heard(server, data)
        await server.send(b"welcome")
        await heard(peer, b"welcome")
        peer.end()
        assert await ended(server)
        server.end()
        assert await ended(peer)
        await w.until(lambda: w.closed() == {"done": 1})
        assert w.stats.clusters["web"].connections_total == 0
        assert w.clock.pending == 0

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"G", b"GET", b"GET ", b"GET http:/"])
def test_who_says_too_little_in_time_is_taken_for_tcp(run: Run, world: World, said: bytes) -> None:
    """The server may be the one that speaks first."""

    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        await peer.send(said)
        await w.until(lambda: w.stats.listeners["in"].connections_active)
        await asyncio.sleep(0.01)
        w.clock.advance(2.9)
        assert w.stats.clusters["rest"].connections_total == 0
        w.clock.advance(0.2)
        server = await rest.accept()
        await server.send(b"220 welcome\r\n")
        await heard(peer, b"220 welcome\r\n")
        await peer.send(b" /more")
        await heard(server, said + b" /more")

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"G", b"GET"])
def test_who_ends_before_it_is_known_ends_there_too(run: Run, world: World, said: bytes) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        await peer.send(said)
        peer.end()
        server = await rest.accept()
        await heard(server, said)
        assert await ended(server)
        await server.send(b"nothing?")
        server.end()
        await heard(peer, b"nothing?")
        assert await ended(peer)
        await w.until(lambda: w.closed() == {"done": 1})
        assert w.clock.pending == 0

    run(scenario())


def test_each_has_the_patience_of_its_protocol(run: Run, world: World) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        stranger = await w.connect()
        await stranger.send(b"\x00")
        server = await rest.accept()
        await heard(server, b"\x00")
        peer = await w.connect()
        await asked(peer, web, [GET])
        w.clock.advance(100)
        await ended(peer)
        await server.send(b"still there")
        await heard(stranger, b"still there")

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"GET"])
def test_the_time_is_the_listeners(run: Run, world: World, said: bytes) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest, timeouts={"detect": "200ms"}))
        peer = await w.connect()
        await peer.send(said)
        await w.until(lambda: w.stats.listeners["in"].connections_active)
        await asyncio.sleep(0.01)
        w.clock.advance(0.25)
        await heard(await rest.accept(), said)

    run(scenario())


@pytest.mark.parametrize(
    ("said", "over"), [(b"", "time"), (b"GET", "time"), (b"", "end"), (b"G", "end"), (b"ssh-", ""), (b"\x10", "")]
)
def test_where_there_is_no_cluster_all_else_is_refused(run: Run, world: World, said: bytes, over: str) -> None:
    async def scenario() -> None:
        w, web = world(), Upstream()
        await w.apply(config(web, None))
        peer = await w.connect()
        await peer.send(said)
        await w.until(lambda: w.stats.listeners["in"].connections_total)
        if over == "end":
            peer.end()
        elif over == "time":
            await asyncio.sleep(0.01)
            assert not rejected(w)
            w.clock.advance(3)
        assert not await ended(peer)
        assert rejected(w) == {"protocol": 1}
        assert w.stats.listeners["in"].connections_active == 0
        assert w.clock.pending == 0
        await asked(await w.connect(), web, [GET])

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"GE"])
def test_who_fails_meanwhile_is_forgotten(run: Run, world: World, said: bytes) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        await peer.send(said)
        await w.until(lambda: w.stats.listeners["in"].connections_active)
        peer.reset()
        await w.until(lambda: not w.stats.listeners["in"].connections_active)
        assert w.stats.clusters["rest"].connections_total == 0

    run(scenario())


def test_who_is_still_being_told_is_drained(run: Run, world: World) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest, timeouts={"detect": "1m"}))
        peer = await w.connect()
        await peer.send(b"GE")
        stats = w.stats.listeners["in"]
        await w.until(lambda: stats.connections_active)
        await w.apply({})
        w.clock.advance(31)
        assert not await ended(peer)
        assert stats.rejected["protocol"] == 1

    run(scenario())


@pytest.mark.parametrize("alpn", [None, ["http/1.1"], ["h2"], ["mqtt"]])
def test_within_tls(run: Run, clock: FakeClock, ca: Ca, books: Pair, alpn: list[str] | None) -> None:
    async def scenario() -> None:
        w, web, rest = TheWorld(clock), Upstream(), Upstream()
        await w.apply(config(web, rest, tls=inline(books)))
        tls = client(await w.connect(), trusting(ca, alpn=alpn))
        await tls.shake()
        agreed = tls.ssl.selected_alpn_protocol()
        assert agreed == (None if alpn == ["mqtt"] else alpn and alpn[0])
        if agreed == "h2":
            await tls.send(PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
            assert (await tls.recv())[3:4] == b"\x04"
            return
        for piece in in_bytes(GET):
            await tls.send(piece)
        server = await web.accept()
        assert IDENTITY.sub(b"", await head_of(server)) == GET
        await server.send(OK)
        assert await tls.recv() == OK
        other = client(await w.connect(), trusting(ca))
        await other.shake()
        for piece in (b"G", b"ET", b"\r\n", b"x"):
            await other.send(piece)
        server = await rest.accept()
        await heard(server, b"GET\r\nx")
        await server.send(b"welcome")
        assert await other.recv() == b"welcome"
        silent = client(await w.connect(), trusting(ca))
        await silent.shake()
        await silent.send(b"GE")
        await silent.end()
        server = await rest.accept()
        await heard(server, b"GE")
        assert await ended(server)

    run(scenario())


def test_plain_tls_and_all_protocols_on_one_port(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, web, rest = TheWorld(clock), Upstream(), Upstream()
        await w.apply(config(web, rest, tls=inline(books), permissive=True))
        await asked(await w.connect(), web, in_bytes(GET))
        peer = await w.connect()
        await peer.send(b"SSH-2.0-x")
        await heard(await rest.accept(), b"SSH-2.0-x")
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        await tls.send(b"SSH-2.0-y")
        await heard(await rest.accept(), b"SSH-2.0-y")

    run(scenario())


def test_a_chain_tells_them_apart_and_a_connection_of_http_outlives_a_reload(run: Run, world: World) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        said = config(web, rest)
        chain = {"protocol": "auto", "routes": "web"}
        said["listeners"][0] = {
            "name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "rest", "chains": [chain]
        }  # fmt: skip
        await w.apply(said)
        peer = await w.connect()
        await peer.send(GET)
        server = await web.accept()
        for idle in ("20s", "30s"):
            assert await head_of(server) == GET
            await server.send(OK)
            await heard(peer, OK)
            chain["timeouts"] = {"idle": idle}  # type: ignore[assignment]
            await w.apply(said)
            await peer.send(GET)
        stranger = await w.connect()
        await stranger.send(b"\x00")
        await heard(await rest.accept(), b"\x00")

    run(scenario())


def test_who_is_let_in_is_asked_of_all_of_them(run: Run, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        proof = Proof(monkeypatch)
        await w.apply(config(web, rest, authorize=[{"identities": [BOOKBUYER]}]))
        proof.peer = peer(BOOKBUYER)
        buyer = await w.connect()
        await buyer.send(GET)
        server = await web.accept()
        assert await head_of(server) == GET
        await server.send(OK)
        await heard(buyer, OK)
        stranger = await w.connect()
        await stranger.send(b"\x00")
        await heard(await rest.accept(), b"\x00")
        proof.peer = peer(BOOKTHIEF)
        with suppress(ConnectionError):  # so soon that the loop has not looked at it before
            assert not await ended(await w.connect())
        assert rejected(w) == {"authorize": 1}
        # Who was let in stays, as long as he would be.
        await w.apply(config(web, rest, authorize=[{"identities": [BOOKBUYER, BOOKTHIEF]}]))
        await buyer.send(GET)
        assert await head_of(server) == GET
        await server.send(OK)
        await heard(buyer, OK)
        await w.apply(config(web, rest, authorize=[{"identities": [BOOKTHIEF]}]))
        with suppress(ConnectionError):
            await buyer.send(GET)
        await ended(buyer)

    run(scenario())


# MQTT


class Brokers:
    """Takes what is MQTT, and says with what it began."""

    def __init__(self) -> None:
        self.began: list[bytes] = []
        self.state: Any = None

    def behind(self, origin: Origin) -> None:
        """What was begun goes on as it was."""

    def start(self, conn: Conn, origin: Origin) -> None:
        data, end = origin.early, origin.early[1] + 2 if len(origin.early) > 1 else 99
        assert not conn.closed

        def take(more: bytes) -> None:
            nonlocal data
            data += more
            if len(data) >= end:
                self.began.append(data)
                conn.abort()
                self.state.rejected("limit")

        conn.read_to(take)
        take(b"")
        conn.start()


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    """Beside HTTP on every listener of `auto`."""
    found = Brokers()

    def service(state: Any, clock: Any, within: float, told: Any, tcp: Any) -> AutoService:
        found.state = state
        return AutoService(state, clock, within, (*told, (looks_like_connect, found)), tcp)

    monkeypatch.setattr(plan, "AutoService", service)
    return found


CONNECTS = [
    b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04boat",
    b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x04boat",
    b"\x10\x12\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x04boat",
]


@pytest.mark.parametrize("connect", CONNECTS)
@pytest.mark.parametrize("cut", [None, 1, 4, 7])
def test_mqtt(run: Run, world: World, brokers: Brokers, connect: bytes, cut: int | None) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        for piece in in_bytes(connect) if cut is None else [connect[:cut], connect[cut:]]:
            await peer.send(piece)
            await asyncio.sleep(0)
        await w.until(lambda: brokers.began)
        assert brokers.began == [connect]
        await asked(await w.connect(), web, in_bytes(GET))

    run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        b"\x10\x10\x00\x04MQTU\x04",
        b"\x10\x10\x00\x05MQTT\x04",
        b"\x10\xff\xff\xff\xff\x01\x00\x04MQTT",
        b"\x11\x10\x00\x04MQTT\x04",
        b"\x20\x02\x00\x00",
        b"\x10\x10\x00\x06MQIsdq",
        b"\xc0\x00",
    ],
)
def test_what_only_looks_like_mqtt_is_not(run: Run, world: World, brokers: Brokers, data: bytes) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        for piece in in_bytes(data):
            await peer.send(piece)
            await asyncio.sleep(0)
        await heard(await rest.accept(), data)
        assert not brokers.began

    run(scenario())


@pytest.mark.parametrize("said", [b"\x10", CONNECTS[0][:7]])
def test_half_a_connect_is_taken_for_tcp(run: Run, world: World, brokers: Brokers, said: bytes) -> None:
    async def scenario() -> None:
        w, web, rest = world(), Upstream(), Upstream()
        await w.apply(config(web, rest))
        peer = await w.connect()
        await peer.send(said)
        await w.until(lambda: w.stats.listeners["in"].connections_active)
        await asyncio.sleep(0.01)
        w.clock.advance(3)
        await heard(await rest.accept(), said)

    run(scenario())


# What makes no sense


def problems(**listener: Any) -> list[str]:
    said = {
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "auto", **listener}],
        "routes": {"web": [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": ["127.0.0.1:1"]}},
    }
    try:
        config = decode(Config, said)
        combine([Document("test", config, frozenset(said), lambda _: None)])
    except Invalid as why:
        return [f"{problem.path}: {problem.message}" for problem in why.problems]
    return []


@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        ({"routes": "web"}, []),
        ({"routes": "web", "cluster": "up"}, []),
        ({"routes": "web", "cluster": "up", "http": {"versions": ["h1"]}}, []),
        ({}, ["listeners[0]: listener `in` needs `routes` or `chains`"]),
        ({"cluster": "up"}, ["listeners[0]: listener `in` needs `routes` or `chains`"]),
        ({"routes": "wob"}, ["listeners[0].routes: no table of routes `wob`; did you mean `web`?"]),
        (
            {"routes": "web", "chains": [{"protocol": "udp", "cluster": "up"}]},
            ["listeners[0].chains[0].protocol: `protocol` udp needs a listener of its own"],
        ),
        (
            {"protocol": "tcp", "cluster": "up", "chains": [{"protocol": "auto"}]},
            ["listeners[0].chains[0]: the chain needs `routes`, for its listener has none"],
        ),
        (
            {"routes": "web", "authorize": [{"identities": ["a/b"]}]},
            ["listeners[0].authorize: `authorize` needs `tls` with `client_ca`: nobody could prove who they are"],
        ),
        (
            {"cluster": "up", "chains": [{"protocol": "http", "routes": "web"}]},
            ["listeners[0]: listener `in` needs `routes`: `cluster` alone leaves nothing to be told apart"],
        ),
    ],
)
def test_what_fits_together(listener: dict[str, Any], expected: list[str]) -> None:
    assert problems(**listener) == expected
