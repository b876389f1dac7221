"""What must hold between TLS and everything around it: ends, pools, demands, counters."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode, encode
from tests.conftest import FakeClock, Upstream, World
from tests.pki import Ca, Pair, Pki
from tests.relay.conversation import IDENTITY, ended
from tests.relay.test_http_freed import left_by
from tests.relay.tls_peers import TlsPeer, client, server, showing, trusting

Run = Callable[[Coroutine[Any, Any, None]], None]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
GET = b"GET / HTTP/1.1\r\nHost: books.shop\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def inline(pair: Pair) -> dict[str, str]:
    return {"certificate": pair.certificate.read_text(), "key": pair.key.read_text()}


def said(protocol: str, *endpoints: Any, tls: Any = None, **cluster: Any) -> dict[str, Any]:
    listener: dict[str, Any] = {"name": "in", "listen": "127.0.0.1:0", "protocol": protocol}
    listener |= {"routes": "web"} if protocol == "http" else {"cluster": "up"}
    if tls is not None:
        listener["tls"] = tls
    config: dict[str, Any] = {"listeners": [listener], "clusters": {"up": {"endpoints": list(endpoints), **cluster}}}
    if protocol == "http":
        config["routes"] = {"web": [{"cluster": "up"}]}
    return config


def refused(config: dict[str, Any]) -> str:
    with pytest.raises(Invalid) as caught:
        accepted(config)
    return str(caught.value)


def accepted(config: dict[str, Any]) -> Config:
    return combine([Document("a.yaml", decode(Config, config), frozenset(config), lambda _: None)])


async def over(w: World) -> None:
    await w.until(lambda: not w.stats.listeners["in"].connections_active)
    await w.until(lambda: not w.stats.clusters["up"].connections_active)


# Ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("first", ["client", "upstream"])
@pytest.mark.parametrize("words", [b"", b"the last words"])
def test_whoever_ends_first_hears_the_other_out(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, version: ssl.TLSVersion, first: str, words: bytes
) -> None:
    """TLS on both sides of a relay, so that every end is said and heard in TLS."""

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        tls = {"ca": ca.root.read_text(), "sni": "books.shop"}
        config = said("tcp", up.address, tls=inline(books))
        config["clusters"]["up"]["tls"] = tls
        await w.apply(config)
        one = client(await w.connect(), trusting(ca, version=version))
        await one.shake()
        other = server(await up.accept(), showing(books, version=version))
        await other.shake()
        one, other = (one, other) if first == "client" else (other, one)
        await one.send(b"question")
        await one.end()
        assert await other.recv_all() == b"question"
        await other.peer.send((other.say(words) if words else b"") + other.goodbye())
        assert await heard_out(one) == words
        await over(w)
        assert w.closed() == {"done": 1}

    run(scenario())


async def heard_out(peer: TlsPeer) -> bytes:
    """All that comes after our own end, to the other's."""
    got = b""
    while True:
        try:
            piece = await peer.recv()
        except ssl.SSLZeroReturnError:
            return got
        if not piece:
            return got
        got += piece


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "answer", [b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b"Content-Length: 9\r\n\r\nhello", b"\r\nhello"]
)
def test_an_answer_that_an_upstream_cuts_looks_cut(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, version: ssl.TLSVersion, answer: bytes
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("http", up.address, tls=inline(books))
        config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text(), "sni": "books.shop"}
        await w.apply(config)
        asking = client(await w.connect(), trusting(ca))
        await asking.shake()
        await asking.send(GET)
        upstream = server(await up.accept(), showing(books, version=version))
        await upstream.shake()
        await upstream.recv()
        await upstream.send(b"HTTP/1.1 200 OK\r\n" + answer)
        upstream.peer.end()  # of TCP, without a word of TLS
        with pytest.raises((EOFError, ConnectionError)):
            while await asking.recv():
                """What there is of it."""
        await over(w)

    run(scenario())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_relay_that_an_upstream_cuts_looks_cut(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, version: ssl.TLSVersion
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("tcp", up.address)
        config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text(), "sni": "books.shop"}
        await w.apply(config)
        plain = await w.connect()
        upstream = server(await up.accept(), showing(books, version=version))
        await upstream.shake()
        await upstream.send(b"half of")
        assert await plain.recv() == b"half of"
        upstream.peer.end()
        assert not await ended(plain)
        await over(w)
        assert w.closed() == {"reset": 1}

    run(scenario())


# What endpoints have to prove -----------------------------------------------------------------------


@pytest.mark.parametrize("change", ["tls", "ca", "names", "identity", "nothing"])
def test_a_connection_in_the_pool_has_proved_what_is_asked_now(
    run: Run, clock: FakeClock, pki: Pki, ca: Ca, books: Pair, change: str
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        demand = {"ca": ca.root.read_text(), "sni": "books.shop"}
        own = inline(ca.issue("shop/web"))
        other = {
            "tls": demand,
            "ca": {**demand, "ca": pki.ca().root.read_text()},
            "names": {**demand, "names": ["shop/toys"]},
            "identity": demand,
            "nothing": {**demand, **own},
        }[change]
        before = {} if change == "tls" else {"tls": demand}
        endpoint = {"address": up.address, "identity": "shop/toys"} if change == "identity" else up.address

        async def apply(at: Any, cluster: dict[str, Any]) -> None:
            config = said("http", at)
            config["clusters"]["up"] |= cluster
            await w.apply(config)

        async def exchange(upstream: Any) -> None:
            await asking.send(GET)
            assert IDENTITY.sub(b"", await upstream.recv()) == GET
            await upstream.send(OK)
            assert (await asking.recv()).startswith(b"HTTP/1.1 200 OK")

        await apply(up.address, before)
        asking = await w.connect()
        await asking.send(GET)
        upstream: Any = await up.accept()
        if before:
            upstream = server(upstream, showing(books))
            await upstream.shake()
        assert IDENTITY.sub(b"", await upstream.recv()) == GET
        await upstream.send(OK)
        assert (await asking.recv()).startswith(b"HTTP/1.1 200 OK")
        counted = w.stats.clusters["up"].endpoints[up.address]
        await apply(endpoint, {"tls": other})
        assert w.stats.clusters["up"].endpoints[up.address] is counted
        if change == "nothing":
            await exchange(upstream)
            return
        await asking.send(GET)
        renewed = server(await up.accept(), showing(books))
        if change == "tls":
            await renewed.shake()
            assert IDENTITY.sub(b"", await renewed.recv()) == GET
        else:
            with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
                await renewed.shake()
                assert not await renewed.recv()
                raise EOFError

    run(scenario())


def test_a_refused_configuration_leaves_the_counters_of_endpoints(run: Run, clock: FakeClock, ca: Ca) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(said("http", up.address))
        counted = w.stats.clusters["up"].endpoints[up.address]
        config = said("http", up.address, tls={"certificate": "-----BEGIN x", "key": "-----BEGIN x"})
        config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text(), "sni": "books.shop"}
        with pytest.raises(Invalid):
            await w.apply(config)
        w.fleet.abort()
        assert w.stats.clusters["up"].endpoints == {up.address: counted}

    run(scenario())


@pytest.mark.parametrize("version", VERSIONS)
def test_who_revokes_a_ca_revokes_what_is_below_it(
    run: Run, clock: FakeClock, pki: Pki, ca: Ca, books: Pair, version: ssl.TLSVersion
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        below, other = ca.below("below"), ca.below("other")
        ours, revoked = below.issue("shop/web"), other.issue("shop/web")
        above = pki.write("other.pem", revoked.certificate.read_bytes().partition(b"-----END CERTIFICATE-----\n")[2])
        lists = "".join(
            each.read_text() for each in (ca.crl([Pair(above, above)]), below.crl([]), other.crl([]))
        )
        tls = {**inline(books), "client_ca": ca.root.read_text(), "crl": lists}
        await w.apply(said("tcp", up.address, tls=tls))
        good = client(await w.connect(), trusting(ca, ours, version=version))
        await good.shake()
        bad = client(await w.connect(), trusting(ca, revoked, version=version))
        with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
            await bad.shake()
            await bad.recv()
        await w.until(lambda: w.stats.listeners["in"].handshakes == {"full": 1, "revoked": 1})

    run(scenario())


def test_an_endpoint_whose_name_ends_in_a_dot_is_verified_without_it(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("http", f"books.shop.:{up.address.rpartition(':')[2]}", tls=None)
        config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text()}
        w.worker._rim.known["books.shop."] = ("127.0.0.1",)
        await w.apply(config)
        asking = await w.connect()
        await asking.send(GET)
        upstream = server(await up.accept(), showing(books))
        await upstream.shake()
        assert IDENTITY.sub(b"", await upstream.recv()) == GET

    run(scenario())


def test_who_has_two_ids_is_neither(run: Run, clock: FakeClock, ca: Ca) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("http", up.address)
        config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text(), "names": ["shop/books"]}
        await w.apply(config)
        asking = await w.connect()
        await asking.send(GET)
        two = ca.issue("shop/toys", uris=["spiffe://cluster.local/ns/shop/sa/books"])
        upstream = server(await up.accept(), showing(two))
        with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
            await upstream.shake()
            assert not await upstream.recv()
            raise EOFError
        assert w.stats.clusters["up"].handshakes == {"wrong_name": 1}

    run(scenario())


def test_an_upstream_that_stops_in_the_middle_is_a_timeout(run: Run, clock: FakeClock, ca: Ca) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("http", up.address)
        config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text(), "sni": "books.shop"}
        await w.apply(config)
        asking = await w.connect()
        await asking.send(GET)
        upstream = await up.accept()
        await upstream.recv()
        clock.advance(60)
        assert (await asking.recv()).startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        stats = w.stats.clusters["up"]
        assert (stats.connect_timeouts_total, stats.handshakes) == (1, {"timeout": 1})

    run(scenario())


# Configuration --------------------------------------------------------------------------------------


def test_certificates_on_one_port_ask_the_same_of_clients(ca: Ca, books: Pair) -> None:
    """Else a client would get in by the name of the one that asks for less."""
    strict = {**inline(books), "client_ca": ca.root.read_text()}
    toys = inline(ca.issue("shop/toys", dns=["toys.shop"]))
    said_of_it = refused(said("tcp", "127.0.0.1:1", tls=[strict, toys]))
    assert "listeners[0].tls[1].client_ca: `client_ca` must be as in `tls[0]`" in said_of_it
    assert "`client` must" in refused(said("http", "127.0.0.1:1", tls=[strict, {**strict, "client": "optional"}]))
    chains = [{"match": {"sni": ["toys.shop"]}, "tls": toys}]
    config = said("tcp", "127.0.0.1:1", tls=strict)
    config["listeners"][0]["chains"] = chains
    accepted(config)


def test_a_private_key_stands_nowhere_but_in_key(books: Pair) -> None:
    both = inline(books)
    certificate, key = both["certificate"], both["key"]
    for wrong in (
        {"certificate": certificate + key, "key": key},
        {"certificate": key, "key": key},
        {**both, "client_ca": certificate + key},
        {**both, "key": "'" + key.replace("\n", " ")},  # on one line it could be a path
    ):
        told = refused(said("tcp", "127.0.0.1:1", tls=wrong))
        assert "PRIVATE KEY" not in told
        assert key.splitlines()[1] not in told
    config = accepted(said("tcp", "127.0.0.1:1", tls=both))
    assert key.splitlines()[1] not in str(encode(config, redact=True)) + repr(config)


def test_an_endpoint_without_a_name_needs_one_to_be_verified(ca: Ca) -> None:
    tls = {"ca": ca.root.read_text()}
    config = said("tcp", "unix:/run/books")
    config["clusters"]["up"]["tls"] = tls
    assert "endpoint unix:/run/books has no name to verify" in refused(config)
    for more in ({"sni": "books.shop"}, {"names": ["shop/books"]}, {"verify": "chain"}):
        config["clusters"]["up"]["tls"] = {**tls, **more}
        accepted(config)
    config["clusters"]["up"] = {"endpoints": [{"address": "unix:/run/books", "identity": "shop/books"}], "tls": tls}
    accepted(config)


def test_no_name_is_longer_than_a_hello_can_say(ca: Ca) -> None:
    config = said("tcp", "127.0.0.1:1")
    config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text(), "sni": "x" * 64 + ".shop"}
    assert "`sni` must be a host name" in refused(config)


def test_a_name_is_the_same_in_large_letters(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("http", up.address)
        config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text(), "names": ["Books.SHOP"]}
        await w.apply(config)
        asking = await w.connect()
        await asking.send(GET)
        upstream = server(await up.accept(), showing(books))
        await upstream.shake()
        assert IDENTITY.sub(b"", await upstream.recv()) == GET

    run(scenario())


@pytest.mark.parametrize("label", ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"])
def test_a_certificate_by_another_name_is_refused_in_words(
    run: Run, clock: FakeClock, books: Pair, label: str
) -> None:
    """OpenSSL reads it, and we do not."""

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        tls = inline(books)
        tls["certificate"] = tls["certificate"].replace(" CERTIFICATE-", f" {label}-")
        with pytest.raises(Invalid, match="there are only other PEM blocks in it"):
            await w.apply(said("tcp", up.address, tls=tls))

    run(scenario())


# What is left -----------------------------------------------------------------------------------


def test_an_exchange_over_tls_leaves_nothing_for_the_collector(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("http", up.address, tls=inline(books), pool={"max_idle": 0})
        config["clusters"]["up"]["tls"] = {"ca": ca.root.read_text(), "sni": "books.shop"}
        await w.apply(config)

        async def exchange() -> None:
            asking = client(await w.connect(), trusting(ca))
            await asking.shake()
            await asking.send(GET)
            upstream = server(await up.accept(), showing(books))
            await upstream.shake()
            await upstream.recv()
            await upstream.send(OK)
            assert await asking.recv() == OK
            asking.peer.close()
            upstream.peer.close()

        assert not await left_by(w, exchange)

    run(scenario())


# Counters -----------------------------------------------------------------------------------------


def test_a_turn_that_comes_by_an_end_is_not_counted_twice(run: Run, clock: FakeClock, books: Pair) -> None:
    """Whom it is given to is something else when its own end comes."""

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("http", up.address, tls=inline(books))
        config["listeners"][0]["max_handshakes"] = 1
        await w.apply(config)
        stats = w.stats.listeners["in"]
        silent = await w.connect()
        await w.until(lambda: stats.connections_active == 1)
        waiting = [await w.connect() for _ in range(12)]
        for each in waiting:
            await each.send(GET)
        await w.until(lambda: stats.connections_active == 13)
        state = next(iter(w.worker._guests.states))
        state.drain()
        assert stats.connections_active == len(state.connections)
        for each in (silent, *waiting):
            each.close()
        clock.advance(2.1)
        await over(w)
        assert sum(stats.closed.values()) == 13

    run(scenario())


@pytest.mark.parametrize("seed", range(10))
def test_whatever_happens_in_whatever_order_everybody_is_counted_out_once(
    run: Run, clock: FakeClock, pki: Pki, ca: Ca, books: Pair, seed: int
) -> None:
    chance = Random(seed)
    contexts = [trusting(ca), trusting(ca, books), trusting(pki.ca())]
    asked: dict[str, Any] = {"client_ca": ca.root.read_text(), "without_certificate": chance.choice(["alert", "403"])}

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        config = said("http", up.address, tls={**inline(books), **(asked if seed % 2 else {})})
        config["listeners"][0] |= {"permissive": chance.random() < 0.5, "max_handshakes": 2}
        await w.apply(config)
        stats, state = w.stats.listeners["in"], next(iter(w.worker._guests.states))
        peers: list[TlsPeer] = []

        async def come() -> None:
            peers.append(client(await w.connect(), chance.choice(contexts)))

        async def speak() -> None:
            peer = chance.choice(peers)
            with suppress(BlockingIOError):
                peer.incoming.write(peer.peer.sock.recv(65536))
            if peer.step():
                peer.say(GET)
            peer.peer.sock.send(peer.said())

        async def speak_in_part() -> None:
            peer = chance.choice(peers)
            with suppress(ssl.SSLWantReadError):
                peer.ssl.do_handshake()
            peer.peer.sock.send(peer.said()[: chance.choice([5, 100])])

        async def disturb() -> None:
            bad = chance.choice([GET, b"\x16\x03\x01", b"\x15\x03\x01\x00\x02\x02\x28", b"junk" * 5000])
            chance.choice(peers).peer.sock.send(bad)

        async def go() -> None:
            peer = peers.pop(chance.randrange(len(peers))).peer
            chance.choice([peer.close, peer.reset])()

        async def end() -> None:
            chance.choice(peers).peer.end()

        async def wait() -> None:
            clock.advance(chance.choice([0.1, 1, 3, 11]))

        async def leave() -> None:
            state.leave()

        async def drain() -> None:
            state.drain()

        events = [come] * 8 + [speak] * 8 + [speak_in_part, disturb, disturb, go, end, wait, wait, leave, drain]
        for _ in range(120):
            with suppress(OSError, IndexError, ValueError):  # of the network, and of nobody being there
                await chance.choice(events)()
            await asyncio.sleep(chance.choice([0, 0, 0.002]))
            assert stats.connections_active == len(state.connections)
        for peer in peers:
            peer.peer.close()
        await asyncio.sleep(0.01)
        state.drain()
        clock.advance(20)
        await over(w)
        assert sum(stats.closed.values()) == stats.connections_total
        held: dict[Any, Any] = w.worker._table._held
        turns = next(kept.value for key, kept in held.items() if key[0] == "handshakes")
        assert not turns._under_way
        assert all(each.over for each in turns._waiting)

    run(scenario())
