"""Chains that match what is spoken, and headers that may be there: what is known of a connection by its first bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.wire.preface import PREFACE
from tests.conftest import FakeClock, World
from tests.pki import Ca, Pair
from tests.relay.conversation import heard
from tests.relay.test_tls_listener import inline
from tests.relay.test_transparent import at, config, cut, refused
from tests.relay.tls_peers import client, trusting

ONE_LOOP = True
"""What is shown here is the same on both."""

Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]
GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
PING = b"*1\r\n$4\r\nPING\r\n"
CONNECT = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"


def told(**clusters: Any) -> dict[str, Any]:
    """A chain for each of these, by the protocol that it is called like; `tcp` takes the rest."""
    chains = [{"match": {"speaks": [name]}, "cluster": name} for name in clusters if name != "tcp"]
    rest = {"cluster": "tcp"} if "tcp" in clusters else {}
    return config(*chains, clusters={name: at(up) for name, up in clusters.items()}, **rest)


@pytest.mark.parametrize("whole", [True, False])
def test_each_goes_where_its_protocol_goes(run: Run, clock: FakeClock, upstream: Upstream, whole: bool) -> None:
    async def scenario() -> None:
        w = World(clock)
        ups = {name: upstream() for name in ("http1", "http2", "mqtt", "redis", "tcp")}
        await w.apply(told(**ups))
        words = {"http1": GET, "http2": PREFACE, "mqtt": CONNECT, "redis": PING, "tcp": b"EHLO me\r\n"}
        for name, said in words.items():
            peer = await w.connect()
            for piece in [said] if whole else [said[i : i + 1] for i in range(len(said))]:
                await peer.send(piece)
                await asyncio.sleep(0)
            await heard(await ups[name].accept(), said)
        assert sum(stats.connections_total for stats in w.stats.clusters.values()) == len(ups)

    run(scenario())


def test_tls_is_told_from_what_is_plain_and_each_has_its_chain(
    run: Run, clock: FakeClock, upstream: Upstream, ca: Ca, books: Pair
) -> None:
    """A service that is being moved to TLS: whoever speaks it is served with it, everybody else as before."""

    async def scenario() -> None:
        w, plain = World(clock), upstream()
        secure = {"match": {"speaks": ["tls"]}, "protocol": "http", "routes": "web", "tls": inline(books)}
        before = {"match": {"speaks": ["http1"]}, "cluster": "plain"}
        await w.apply(config(secure, before, clusters={"plain": at(plain)}))
        tls = client(await w.connect(), trusting(ca), "books.shop")
        await tls.shake()
        await tls.send(GET)
        assert (await tls.recv()).endswith(b"web")
        peer = await w.connect()
        await peer.send(GET)
        await heard(await plain.accept(), GET)
        await refused(w, "no_chain", PING)

    run(scenario())


@pytest.mark.parametrize("said", [b"", b"GE", b"*1\r"])
def test_who_says_nothing_or_too_little_in_time_is_somebody_else(
    run: Run, clock: FakeClock, upstream: Upstream, said: bytes
) -> None:
    async def scenario() -> None:
        w, http, rest = World(clock), upstream(), upstream()
        await w.apply(told(http1=http, other=rest))
        peer = await w.connect()
        if said:
            await peer.send(said)
        await w.until(lambda: w.stats.listeners["in"].connections_active == 1)
        await asyncio.sleep(0.01)
        clock.advance(2.9)
        assert w.stats.clusters["other"].connections_total == 0
        clock.advance(0.2)
        behind = await rest.accept()
        await behind.send(b"220 the server speaks first\r\n")
        await heard(peer, b"220 the server speaks first\r\n")
        if said:
            await heard(behind, said)
        await peer.send(b"more")
        await heard(behind, b"more")

    run(scenario())


def test_half_a_hello_is_nobody(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, secure, rest = World(clock), upstream(), upstream()
        await w.apply(told(tls=secure, other=rest))
        peer = await w.connect()
        await peer.send(b"\x16\x03\x01\x02\x00\x01")
        await w.until(lambda: w.stats.listeners["in"].connections_active == 1)
        await asyncio.sleep(0.01)
        clock.advance(3.1)
        with pytest.raises(ConnectionResetError):
            await peer.recv()
        assert w.stats.listeners["in"].rejected["tls"] == 1
        assert w.stats.listeners["in"].handshakes == {"timeout": 1}

    run(scenario())


def test_only_those_wait_of_whom_somebody_wants_to_know(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, http, rest = World(clock), upstream(), upstream()
        chain = {"match": {"sources": ["192.0.2.0/24"], "speaks": ["http1"]}, "cluster": "http"}
        await w.apply(config(chain, cluster="rest", clusters={"http": at(http), "rest": at(rest)}))
        await w.connect()
        await rest.accept()

    run(scenario())


# A PROXY header that may be there

HEADER = b"PROXY TCP4 192.0.2.7 10.2.0.7 4711 443\r\n"


def optional(up: Any, *trusted: str) -> dict[str, Any]:
    chain = {"match": {"sources": ["192.0.2.7"]}, "cluster": "told"}
    said = {"trusted": list(trusted), "optional": True}
    clusters = {"told": at(up[0]), "rest": at(up[1])}
    return config(chain, cluster="rest", proxy_protocol=said, clusters=clusters)


def test_a_header_that_is_there_counts_and_one_that_is_not_is_not_missed(
    run: Run, clock: FakeClock, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, ups = World(clock), (upstream(), upstream())
        await w.apply(optional(ups, "127.0.0.1"))
        for said, up, rest in ((HEADER + GET, ups[0], GET), (GET, ups[1], GET), (b"PROX", ups[1], None)):
            peer = await w.connect()
            await peer.send(said)
            if rest is not None:
                await heard(await up.accept(), rest)
                continue
            # It has begun like one, and is one that never ends.
            await w.until(lambda: w.stats.listeners["in"].connections_active == 3)
            await asyncio.sleep(0.01)
            clock.advance(5.1)
            with pytest.raises(ConnectionResetError):
                await peer.recv()
            assert w.stats.listeners["in"].rejected["proxy_protocol"] == 1

    run(scenario())


def test_who_says_nothing_is_let_in_when_the_time_for_a_header_is_over(
    run: Run, clock: FakeClock, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, ups = World(clock), (upstream(), upstream())
        await w.apply(optional(ups, "127.0.0.1"))
        peer = await w.connect()
        await w.until(lambda: w.stats.listeners["in"].connections_active == 1)
        clock.advance(5.1)
        await (await ups[1].accept()).send(b"hello")
        await heard(peer, b"hello")

    run(scenario())


def test_of_who_is_not_trusted_no_header_is_looked_for(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    """What looks like one goes to whom it would have gone to without it, who will not like it."""

    async def scenario() -> None:
        w, ups = World(clock), (upstream(), upstream())
        await w.apply(optional(ups, "192.0.2.1"))
        peer = await w.connect()
        await peer.send(HEADER)
        await heard(await ups[1].accept(), HEADER)

    run(scenario())


def test_a_header_that_is_malformed_is_refused_all_the_same(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, ups = World(clock), (upstream(), upstream())
        await w.apply(optional(ups, "127.0.0.1"))
        await cut(w, b"PROXY TCP4 nonsense\r\n")
        assert w.stats.listeners["in"].rejected["proxy_protocol"] == 1

    run(scenario())
