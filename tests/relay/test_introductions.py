"""Proxies that tell each other what they stand for: where both have proved who they are, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.observe.graph import graph
from meshproxy.observe.window import Window
from meshproxy.wire.introduction import KEYS
from tests.conftest import Client, FakeClock, Upstream, World
from tests.pki import Ca, Pair
from tests.relay.conversation import head_of
from tests.relay.tls_peers import TlsPeer, client, server, showing, trusting

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]
WEB = "spiffe://cluster.local/ns/shop/sa/web"
NODE = {"service": "web", "namespace": "shop", "zone": "a", "labels": {"version": "v1"}}
OTHER = {"service": "books", "namespace": "shop", "zone": "b", "labels": {"version": "v2"}}
LINE = b"X-Meshproxy-Peer: service=web;namespace=shop;version=v1;zone=a\r\n"
SAID = {"service": "web", "namespace": "shop", "version": "v1", "zone": "a"}
ITS_LINE = b"X-Meshproxy-Peer: service=books;namespace=shop;version=v2;zone=b\r\n"
IT_SAID = {"service": "books", "namespace": "shop", "version": "v2", "zone": "b"}
GET = b"GET / HTTP/1.1\r\nHost: books.shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def inline(pair: Pair) -> dict[str, str]:
    return {"certificate": pair.certificate.read_text(), "key": pair.key.read_text()}


def asking(ca: Ca, address: str, *, shown: bool = True, more: Any = None, rule: Any = None, **tls: Any) -> Any:
    """A proxy that asks another; it shows a certificate, or none."""
    own = inline(ca.issue("shop/web")) if shown else {}
    said = {"ca": ca.root.read_text(), "sni": "books.shop", **own, **tls}
    return {
        "node": NODE,
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web"}],
        "routes": {"web": [rule or {"cluster": "up"}]},
        "clusters": {"up": {"endpoints": [address], "tls": said, **(more or {})}},
    }


def asked(ca: Ca, books: Pair, up: Upstream, client: str = "required") -> dict[str, Any]:
    """A proxy that is asked."""
    return {
        "node": OTHER,
        "listeners": [
            {
                "name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web",
                "tls": {**inline(books), "client_ca": ca.root.read_text(), "client": client},
            }
        ],
        "routes": {"web": [{"match": {"path": {"exact": "/own"}}, "reply": {"status": 201}}, {"cluster": "up"}]},
        "clusters": {"up": {"endpoints": [up.address]}},
    }  # fmt: skip


def known(w: World, source: str = "", endpoint: str = "") -> Any:
    """What is told of the ends of an edge."""
    return list(w.worker._rim.peers.among([("in", "up", source, endpoint)]).values())


async def shown(w: World, node: str) -> dict[str, str]:
    """What its graph knows of a node, beside its traffic."""
    nodes = graph(Window(await w.fleet.history(2), 2), {})["nodes"]
    (found,) = (each for each in nodes if each["id"] == node)
    return {key: value for key, value in found.items() if key in KEYS}


async def reached(up: Upstream, books: Pair, ca: Ca | None, *alpn: str) -> TlsPeer:
    peer = server(await up.accept(), showing(books, ca, **({"alpn": [*alpn]} if alpn else {})))
    await peer.shake()
    return peer


async def came(w: World, ca: Ca, shown: Pair | None, *alpn: str) -> TlsPeer:
    tls = client(await w.connect(), trusting(ca, shown, **({"alpn": [*alpn]} if alpn else {})))
    await tls.shake()
    return tls


async def exchange(asking: Any, up: Any, request: bytes = GET, answer: bytes = OK) -> tuple[bytes, bytes]:
    """What the endpoint heard, and what whoever asked did."""
    await asking.send(request)
    heard = await head_of(up)
    await up.send(answer)
    told = await head_of(asking)
    await asking.recv(2)
    return heard, told


def test_the_first_request_of_a_connection_says_who_we_are_and_its_answer_who_that_is(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(asking(ca, up.address))
        client = await w.connect()
        await client.send(GET)
        peer = await reached(up, books, ca)
        heard = await head_of(peer)
        assert heard == GET.replace(b"\r\n", b"\r\n" + LINE, 1)
        await peer.send(OK.replace(b"\r\n", b"\r\n" + ITS_LINE, 1))
        assert await client.recv() == OK, "the line is for us alone"
        assert known(w, endpoint=up.address) == [IT_SAID]
        heard, told = await exchange(client, peer, answer=OK.replace(b"\r\n", b"\r\n" + LINE, 1))
        assert heard == GET
        assert told + b"ok" == OK
        assert known(w, endpoint=up.address) == [IT_SAID], "only the first answer is listened to"

    run(scenario())


def test_every_connection_is_told_once_whatever_becomes_of_it(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    """It is lost before it answers: another one is asked, and is told too."""

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        rule = {"cluster": "up", "retry": {"attempts": 2, "on": ["reset"], "backoff": "1ms"}}
        await w.apply(asking(ca, up.address, rule=rule))
        client = await w.connect()
        await client.send(GET)
        first = await reached(up, books, ca)
        assert LINE in await head_of(first)
        await first.end()
        first.peer.close()
        await w.until(lambda: w.stats.clusters["up"].retries_total)
        clock.advance(1)
        second = await reached(up, books, ca)
        assert (await head_of(second)).count(LINE) == 1
        await second.send(OK)
        assert await client.recv() == OK
        assert known(w, endpoint=up.address) == [], "it has not said anything"

    run(scenario())


@pytest.mark.parametrize(
    "changed",
    [{"shown": False}, {"verify": "off"}, {"metrics": {"peers": False}}, {"node": {}}],
    ids=["no certificate", "unverified", "off", "nobody"],
)
def test_nobody_else_is_told_anything_or_believed(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, changed: dict[str, Any]
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        of_cluster = {key: value for key, value in changed.items() if key in ("shown", "verify")}
        of_proxy = {key: value for key, value in changed.items() if key not in of_cluster}
        await w.apply({**asking(ca, up.address, **of_cluster), **of_proxy})
        client = await w.connect()
        await client.send(GET)
        peer = await reached(up, books, None if "shown" in changed else ca)
        assert await head_of(peer) == GET
        await peer.send(OK.replace(b"\r\n", b"\r\n" + ITS_LINE, 1))
        assert await client.recv() == OK, "and what it claims goes on to nobody"
        assert known(w, endpoint=up.address) == []

    run(scenario())


def test_a_plain_cluster_is_told_nothing_in_place_of_one_that_is_not(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    """By a fallback, and by a mirror."""

    async def scenario() -> None:
        w, up, plain = World(clock), Upstream(), Upstream()
        rule = {"cluster": "up", "fallback": {"cluster": "plain"}, "mirror": {"cluster": "plain"}}
        said = asking(ca, up.address, rule=rule)
        said["clusters"]["plain"] = {"endpoints": [plain.address]}
        await w.apply(said)
        client = await w.connect()
        await client.send(GET)
        peer = await reached(up, books, ca)
        assert LINE in await head_of(peer)
        mirrored = await plain.accept()
        assert b"x-meshproxy-peer" not in (await head_of(mirrored)).lower()
        peer.peer.reset()
        up.close()
        instead = await plain.accept()
        assert await head_of(instead) == GET
        await instead.send(OK.replace(b"\r\n", b"\r\n" + ITS_LINE, 1))
        assert await client.recv() == OK
        assert w.worker._rim.peers.among([("in", "plain", "", plain.address)]) == {}

    run(scenario())


def test_a_client_that_has_proved_who_it_is_is_heard_and_answered_once(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(asked(ca, books, up))
        tls = await came(w, ca, ca.issue("shop/web"))
        await tls.send(GET.replace(b"\r\n", b"\r\n" + LINE, 1))
        endpoint = await up.accept()
        assert await head_of(endpoint) == GET
        await endpoint.send(OK.replace(b"\r\n", b"\r\n" + LINE, 1))
        assert await tls.recv() == OK.replace(b"\r\n\r\n", b"\r\n" + ITS_LINE + b"\r\n", 1)
        assert known(w, source=WEB) == [SAID]
        again = GET.replace(b"\r\n", b"\r\n" + LINE.replace(b"web", b"evil"), 1)
        heard, told = await exchange(tls, endpoint, again)
        assert (heard, told + b"ok") == (GET, OK)
        assert known(w, source=WEB) == [SAID]

    run(scenario())


def test_an_answer_of_our_own_introduces_us_as_well(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w = World(clock)
        await w.apply(asked(ca, books, Upstream()))
        tls = await came(w, ca, ca.issue("shop/web"))
        own = GET.replace(b" / ", b" /own ")
        await tls.send(own.replace(b"\r\n", b"\r\n" + LINE, 1))
        assert ITS_LINE in await head_of(tls)
        await tls.send(own)
        assert ITS_LINE not in await head_of(tls)
        assert known(w, source=WEB) == [SAID]

    run(scenario())


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        LINE + LINE,
        LINE.replace(b"v1", b"v" * 256),
        b"X-Meshproxy-Peer: nonsense\r\n",
        b"X-Meshproxy-Peer: service=%00\r\n",
    ],
    ids=["none", "two", "long", "malformed", "control"],
)
def test_what_is_no_introduction_is_neither_kept_nor_answered_nor_passed_on(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, lines: bytes
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(asked(ca, books, up))
        tls = await came(w, ca, ca.issue("shop/web"))
        await tls.send(GET.replace(b"\r\n", b"\r\n" + lines, 1))
        endpoint = await up.accept()
        assert await head_of(endpoint) == GET
        await endpoint.send(OK)
        assert await tls.recv() == OK
        assert known(w, source=WEB) == known(w, source="127.0.0.1") == []

    run(scenario())


@pytest.mark.parametrize("shown", ["nameless", "nothing", "plain"])
def test_who_has_proved_nothing_is_not_believed(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, shown: str
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        said = asked(ca, books, up, client="optional")
        if shown == "plain":
            del said["listeners"][0]["tls"]
        await w.apply(said)
        own = ca.issue(ips=["127.0.0.1"]) if shown == "nameless" else None
        peer: TlsPeer | Client = await w.connect() if shown == "plain" else await came(w, ca, own)
        await peer.send(GET.replace(b"\r\n", b"\r\n" + LINE, 1))
        endpoint = await up.accept()
        assert await head_of(endpoint) == GET
        await endpoint.send(OK)
        assert await peer.recv() == OK
        assert known(w, source="127.0.0.1") == []

    run(scenario())


def test_over_http2_the_first_stream_says_it(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    pytest.importorskip("h2", reason="the h2 library is not installed")
    from tests.relay.h2_peer import H2Peer

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(asking(ca, up.address, more={"http": {"version": "h2"}}))
        clients = [await w.connect() for _ in range(3)]
        for each in clients[:2]:
            await each.send(GET)
        peer = await H2Peer(await reached(up, books, ca, "h2")).begin()
        name, _, value = LINE.strip().lower().partition(b": ")
        first, head = await peer.asked()
        assert head[name] == value
        second, head = await peer.asked()
        assert name not in head, "who has waited for the same connection says nothing any more"
        its_value = ITS_LINE.strip().decode().partition(": ")[2]
        for stream in (first, second):
            await peer.answer(stream, fields=[(name.decode(), its_value)])
        for each in clients[:2]:
            assert name not in (await head_of(each)).lower()
        assert known(w, endpoint=up.address) == [IT_SAID]
        await clients[2].send(GET)
        _, head = await peer.asked()
        assert name not in head

    run(scenario())


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_two_proxies_get_to_know_each_other(run: Run, clock: FakeClock, ca: Ca, books: Pair, version: str) -> None:
    async def scenario() -> None:
        near, far, up = World(clock), World(clock), Upstream()
        for w in (near, far):
            w.worker.seconds.begin()
        await far.apply(asked(ca, books, up))
        host, port = far.address()
        await near.apply(asking(ca, f"{host}:{port}", more={"http": {"version": version}}))
        client = await near.connect()
        await client.send(GET)
        endpoint = await up.accept()
        assert await head_of(endpoint) == GET
        await endpoint.send(OK)
        assert (await client.recv()).lower() == OK.lower()
        heard, told = await exchange(client, endpoint)
        assert (heard, (told + b"ok").lower()) == (GET, OK.lower())
        clock.advance(1)
        assert await shown(near, f"endpoint:up/{host}:{port}") == await shown(near, "service:up") == IT_SAID
        assert await shown(far, f"source:{WEB}") == SAID
        assert await shown(far, f"endpoint:up/{up.address}") == {}
        await far.apply({**asked(ca, books, up), "metrics": {"peers": False}})
        assert known(far, source=WEB) == [], "what is not wanted any more is forgotten"

    run(scenario())
