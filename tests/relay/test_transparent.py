"""Where a connection was made to decides about it: redirected ones, chains of several protocols, and who goes on there.

Redirection is played: `sent_to` says what the kernel would. `test_redirected.py` has the kernel do it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy import plan
from meshproxy.model.address import parse
from meshproxy.net.origdst import original
from meshproxy.relay import entry
from meshproxy.relay.onward import answers
from tests.conftest import FakeClock, World
from tests.pki import Ca, Pair
from tests.relay.tls_peers import client, showing, trusting
from tests.relay.tls_peers import server as tls_server

Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]
GET = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"
OUT = {"original": True}


class Kernel:
    """Sends the connections that come from now on to us, instead of to there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there: tuple[str, int] | None = None
        monkeypatch.setattr(entry, "original", lambda sock: self.there or original(sock))

    def redirects(self, address: str) -> None:
        found = parse(address)
        self.there = (found.host, found.port)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def config(*chains: dict[str, Any], clusters: dict[str, Any], **listener: Any) -> dict[str, Any]:
    front = {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "chains": list(chains)}
    return {"listeners": [front | listener], "routes": {"web": [{"reply": {"body": "web"}}]}, "clusters": clusters}


def at(*ups: Any) -> dict[str, Any]:
    return {"endpoints": [up.address for up in ups]}


async def cut(w: World, first: bytes = b"") -> None:
    """The next one that comes is reset, perhaps before it knows that it is there."""
    with pytest.raises(ConnectionResetError):
        peer = await w.connect()
        if first:
            await peer.send(first)
        await peer.recv()


async def refused(w: World, reason: str, first: bytes = b"") -> None:
    """The next one that comes."""
    rejected = w.stats.listeners["in"].rejected
    before = rejected[reason], sum(rejected.values())
    await cut(w, first)
    assert (rejected[reason], sum(rejected.values())) == (before[0] + 1, before[1] + 1)


async def reaches(w: World, up: Any, words: bytes = b"hello") -> Any:
    """The next one that comes; it stays."""
    peer = await w.connect()
    await peer.send(words)
    behind = await up.accept()
    assert await behind.recv_exactly(len(words)) == words
    return peer, behind


def test_chains_match_the_port_and_the_address_that_a_connection_was_made_to(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, a, b = World(clock), upstream(), upstream()
        await w.apply(
            config(
                {"match": {"ports": [3306], "destinations": ["10.1.0.0/16", "fd00::/8"]}, "cluster": "a"},
                {"match": {"destinations": ["10.2.0.7"]}, "cluster": "b"},
                transparent=True, clusters={"a": at(a), "b": at(b)},
            )
        )
        for address, up in (("10.1.2.3:3306", a), ("[fd00::9]:3306", a), ("10.2.0.7:1", b), ("10.2.0.7:3306", b)):
            kernel.redirects(address)
            await reaches(w, up)
        for address in ("10.1.2.3:3307", "10.2.0.8:3306", "[fe80::1]:3306"):
            kernel.redirects(address)
            await refused(w, "no_chain")

    run(scenario())


def test_who_was_not_redirected_was_sent_to_the_listener_itself(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = World(clock), upstream()
        matches: list[Any] = [{"ports": [80]}, {"destinations": ["127.9.0.0/16"]}]
        chains = ({"match": match, "cluster": "up"} for match in matches)
        await w.apply(config(*chains, transparent=True, listen="0.0.0.0:0", clusters={"up": at(up)}))
        await refused(w, "no_chain")
        with socket.create_connection(("127.9.9.9", w.address()[1])):
            await up.accept()

    run(scenario())


def test_without_redirection_the_local_address_is_matched(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a, b = World(clock), upstream(), upstream()
        await w.apply(
            config(
                {"match": {"destinations": ["127.0.0.2"]}, "cluster": "a"}, listen=["127.0.0.2:0", "127.0.0.3:0"],
                cluster="b", clusters={"a": at(a), "b": at(b)},
            )
        )
        for index, up in enumerate((a, b)):
            await w.connect(index=index)
            await up.accept()

    run(scenario())


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.7 10.2.0.7 4711 443\r\n", b"PROXY UNKNOWN\r\n"])
def test_a_header_knows_more_than_the_kernel_if_it_knows_anything(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream, header: bytes
) -> None:
    async def scenario() -> None:
        w, told, seen = World(clock), upstream(), upstream()
        await w.apply(
            config(
                {"match": {"ports": [443], "destinations": ["10.2.0.0/16"]}, "cluster": "told"},
                {"match": {"ports": [80], "destinations": ["10.1.0.0/16"]}, "cluster": "seen"},
                transparent=True, proxy_protocol={"trusted": ["127.0.0.1"]},
                clusters={"told": at(told), "seen": at(seen)},
            )
        )
        kernel.redirects("10.1.2.3:80")
        peer = await w.connect()
        await peer.send(header + b"hello")
        assert await (await (told if b"TCP4" in header else seen).accept()).recv() == b"hello"

    run(scenario())


# Several protocols behind one listener


def test_each_chain_speaks_its_own_protocol_and_nobody_waits_for_a_hello_in_vain(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream, books: Pair, ca: Ca
) -> None:
    async def scenario() -> None:
        w, mysql, secure = World(clock), upstream(), upstream()
        await w.apply(
            config(
                {"match": {"ports": [80]}, "protocol": "http", "routes": "web"},
                {"match": {"ports": [443], "sni": ["books.shop"]}, "protocol": "tls", "cluster": "secure"},
                {"match": {"ports": [444]}, "protocol": "tls", "cluster": "secure"},
                {"match": {"ports": [445], "sni": ["*.shop"]}, "protocol": "tls", "cluster": "secure"},
                {"match": {"ports": [445]}, "cluster": "mysql"},
                {"match": {"ports": [3306]}, "cluster": "mysql"},
                transparent=True, clusters={"mysql": at(mysql), "secure": at(secure)},
            )
        )
        kernel.redirects("10.1.2.3:80")
        web = await w.connect()
        await web.send(GET)
        assert (await web.recv()).endswith(b"web")

        kernel.redirects("10.1.2.3:3306")
        silent = await w.connect()
        behind = await mysql.accept()
        await behind.send(b"a server that speaks first")
        assert await silent.recv() == b"a server that speaks first"

        for port in (443, 444, 445):
            kernel.redirects(f"10.1.2.3:{port}")
            tls = client(await w.connect(), trusting(ca), "books.shop")
            shaking = asyncio.ensure_future(tls.shake())
            await asyncio.gather(shaking, tls_server(await secure.accept(), showing(books)).shake())

        # A plain connection is none for a chain of TLS, and goes where one is asked for that takes anything.
        for port in (443, 444):
            kernel.redirects(f"10.1.2.3:{port}")
            await refused(w, "tls", GET)
        assert w.stats.listeners["in"].handshakes == {"plain": 2}
        kernel.redirects("10.1.2.3:445")
        await reaches(w, mysql, GET)

    run(scenario())


def test_where_nothing_else_matches_a_plain_connection_to_a_chain_of_tls_is_refused(
    run: Run, clock: FakeClock, upstream: Upstream, ca: Ca
) -> None:
    """Though a chain before it is not of TLS, and would have liked to see a name."""

    async def scenario() -> None:
        w, one, rest = World(clock), upstream(), upstream()
        chains = ({"match": {"sni": ["one.shop"]}, "cluster": "one"}, {"protocol": "tls", "cluster": "rest"})
        await w.apply(config(*chains, clusters={"one": at(one), "rest": at(rest)}))
        await refused(w, "tls", GET)
        for name, up in (("one.shop", one), ("two.shop", rest)):
            peer = await w.connect()
            tls = client(peer, trusting(ca), name)
            assert not tls.step()
            hello = tls.said()
            await peer.send(hello)
            assert await (await up.accept()).recv_exactly(len(hello)) == hello

    run(scenario())


def test_tls_ends_for_one_chain_and_passes_for_another(
    run: Run, clock: FakeClock, upstream: Upstream, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), upstream()
        pair = {"certificate": books.certificate.read_text(), "key": books.key.read_text()}
        web = {"match": {"sni": ["books.shop"]}, "protocol": "http", "routes": "web", "tls": pair}
        await w.apply(config(web, protocol="tls", cluster="up", clusters={"up": at(up)}))
        ended = client(await w.connect(), trusting(ca, alpn=["http/1.1"]), "books.shop")
        await ended.shake()
        assert ended.ssl.selected_alpn_protocol() == "http/1.1"
        await ended.send(GET)
        assert (await ended.recv()).endswith(b"web")
        passed = client(await w.connect(), trusting(ca), "other.shop")
        assert not passed.step()
        hello = passed.said()
        await passed.peer.send(hello)
        assert await (await up.accept()).recv() == hello
        await refused(w, "tls", GET)

    run(scenario())


def test_who_speaks_plainly_to_a_chain_of_http_is_told_so(run: Run, clock: FakeClock, books: Pair) -> None:
    async def scenario() -> None:
        w = World(clock)
        pair = {"certificate": books.certificate.read_text(), "key": books.key.read_text()}
        await w.apply(config({"protocol": "http", "routes": "web", "tls": pair}, clusters={}))
        peer = await w.connect()
        await peer.send(GET)
        assert (await peer.recv()).startswith(b"HTTP/1.1 400 ")

    run(scenario())


# On to where the client wanted to go


def test_each_goes_on_to_where_it_was_made_to(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w = World(clock)
        a, b = upstream(), upstream(socket.AF_INET6, ("::1", 0))
        await w.apply(config(transparent=True, cluster="out", clusters={"out": {**OUT, "source": "127.0.0.6"}}))
        for up, source in ((a, "127.0.0.6"), (b, "::1")):
            kernel.redirects(up.address)
            _, behind = await reaches(w, up)
            assert behind.sock.getpeername()[0] == source, "of the other family no such source is known"
        stats = w.stats.clusters["out"]
        assert list(stats.endpoints) == ["original"]
        row = stats.endpoints["original"]
        assert (row.connections_total, row.connections_active, stats.connections_active) == (2, 2, 2)

    run(scenario())


def test_a_header_is_told_where_it_was_made_to(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = World(clock), upstream()
        await w.apply(config(transparent=True, cluster="out", clusters={"out": {**OUT, "proxy_protocol": "v1"}}))
        kernel.redirects(up.address)
        peer = await w.connect()
        host, port = peer.sock.getsockname()
        where, _, there = up.address.partition(":")
        assert await (await up.accept()).recv() == f"PROXY TCP4 {host} {where} {port} {there}\r\n".encode()

    run(scenario())


def test_nobody_else_is_tried(run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, gone = World(clock), upstream()
        gone.close()
        await w.apply(config(transparent=True, cluster="out", clusters={"out": OUT}))
        kernel.redirects(gone.address)
        await cut(w)
        row = w.stats.clusters["out"].endpoints["original"]
        assert (row.connect_failures_total, row.connections_active, w.closed()) == (1, 0, {"connect": 1})

    run(scenario())


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0"])
def test_who_would_be_sent_to_the_listener_itself_is_refused(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream, listen: str
) -> None:
    async def scenario() -> None:
        w = World(clock)
        await w.apply(config(transparent=True, listen=listen, cluster="out", clusters={"out": OUT}))
        port = w.address()[1]
        await refused(w, "loop")
        kernel.redirects(f"127.0.0.1:{port}")
        await refused(w, "loop")
        if listen.startswith("0"):
            kernel.redirects(f"127.8.8.8:{port}")
            await refused(w, "loop")
        assert w.stats.clusters["out"].connections_total == 0
        # The same port elsewhere is somebody else's.
        up = upstream(socket.AF_INET6, ("::1", port))
        kernel.redirects(f"[::1]:{port}")
        await reaches(w, up)

    run(scenario())


def test_a_header_that_tells_of_no_destination_leads_to_the_listener(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        w = World(clock)
        header = {"trusted": ["127.0.0.1"]}
        await w.apply(config(proxy_protocol=header, cluster="out", clusters={"out": OUT}))
        await refused(w, "loop", b"PROXY UNKNOWN\r\n")

    run(scenario())


def test_where_a_listener_answers() -> None:
    listening = [parse(text) for text in ("10.0.0.1:80", "0.0.0.0:81", "[::]:82", "[fe80::9%lo]:83")]
    mapped, zoned = ("::ffff:10.0.0.1", 80), ("fe80::9%1", 83)
    here = [("10.0.0.1", 80), mapped, ("0.0.0.0", 80), ("127.7.7.7", 81), ("::1", 82), zoned]
    elsewhere = [("10.0.0.1", 81), ("127.0.0.1", 80), ("127.0.0.1", 82), ("::1", 81), ("192.0.2.1", 81), ("::2", 82)]
    assert [answers(listening, each) for each in here] == [True] * 6
    assert [answers(listening, each) for each in elsewhere] == [False] * 6


def test_who_is_on_the_way_stays_for_a_reload_that_does_not_concern_it_and_is_drained_with_the_cluster(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = World(clock), upstream()
        said = config(transparent=True, cluster="out", clusters={"out": OUT, "up": at(up)})
        await w.apply(said)
        kernel.redirects(up.address)
        peer, behind = await reaches(w, up)
        await w.apply({**said, "drain": {"timeout": "9s"}})
        clock.advance(60)
        await peer.send(b"still here")
        assert await behind.recv() == b"still here"
        await w.apply(config(transparent=True, cluster="up", clusters={"up": at(up)}) | {"drain": {"timeout": "9s"}})
        clock.advance(8)
        await peer.send(b"not yet")
        assert await behind.recv() == b"not yet"
        clock.advance(2)
        await w.until(lambda: w.closed() == {"drain": 1})

    run(scenario())


# So many in a time


def test_a_chain_has_a_rate_of_its_own_that_stays_with_what_it_matches(
    run: Run, clock: FakeClock, kernel: Kernel, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = World(clock), upstream()
        rate = {"rate_limit": {"connections": 1, "per": "10s", "burst": 2}}
        limited = {"match": {"ports": [80]}, "cluster": "up", "filters": [rate]}
        await w.apply(config(limited, transparent=True, cluster="up", clusters={"up": at(up)}))
        kernel.redirects("10.1.2.3:80")
        await reaches(w, up)
        await reaches(w, up)
        await refused(w, "rate_limit")
        kernel.redirects("10.1.2.3:81")
        await reaches(w, up)
        kernel.redirects("10.1.2.3:80")
        other = {"match": {"ports": [82]}, "cluster": "up", "filters": [rate]}
        await w.apply(config(other, limited, transparent=True, cluster="up", clusters={"up": at(up)}))
        await refused(w, "rate_limit")
        clock.advance(10.1)
        await reaches(w, up)
        await refused(w, "rate_limit")
        kernel.redirects("10.1.2.3:82")
        await reaches(w, up)

    run(scenario())


class Owner:
    """Of a limit, who takes time to answer."""

    def __init__(self) -> None:
        self.told: list[Callable[[bool], None]] = []

    def take(self) -> bool:
        return False

    def ask(self, told: Callable[[bool], None]) -> None:
        self.told.append(told)


@pytest.mark.parametrize("drained", [False, True])
def test_who_waits_for_the_owner_of_a_limit(
    run: Run, clock: FakeClock, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, drained: bool
) -> None:
    async def scenario() -> None:
        w, up, owner = World(clock), upstream(), Owner()
        monkeypatch.setattr(plan, "_rate_of_chain", lambda *_: owner)
        await w.apply(config({"cluster": "up"}, clusters={"up": at(up)}))
        peers = [await w.connect() for _ in range(2)]
        stats = w.stats.listeners["in"]
        await w.until(lambda: len(owner.told) == 2)
        assert stats.connections_active == 2
        if drained:
            await w.apply({"clusters": {"up": at(up)}, "drain": {"timeout": "3s"}})
            clock.advance(4)
            assert (stats.rejected["rate_limit"], stats.connections_active) == (2, 0)
        owner.told[0](True)
        owner.told[1](False)
        if drained:
            for peer in peers:
                with pytest.raises(ConnectionResetError):
                    await peer.recv()
            assert (stats.rejected["rate_limit"], stats.connections_active) == (2, 0)
            assert w.stats.clusters["up"].connections_total == 0, "the answer came too late"
        else:
            await (await up.accept()).send(b"in")
            assert await peers[0].recv() == b"in"
            with pytest.raises(ConnectionResetError):
                await peers[1].recv()
            assert (stats.rejected["rate_limit"], stats.connections_active) == (1, 1)

    run(scenario())


def test_a_rate_counts_neither_hellos_nor_requests(run: Run, clock: FakeClock, books: Pair, ca: Ca) -> None:
    """It is asked before a handshake is made, and not again by what follows on the connection."""

    async def scenario() -> None:
        w = World(clock)
        rate = {"rate_limit": {"connections": 1, "per": "10s"}}
        pair = {"certificate": books.certificate.read_text(), "key": books.key.read_text()}
        chain = {"protocol": "http", "routes": "web", "tls": pair, "filters": [rate]}
        await w.apply(config(chain, clusters={}))
        tls = client(await w.connect(), trusting(ca), "books.shop")
        await tls.shake()
        for turn in range(2):
            await tls.send(GET)
            assert (await tls.recv()).endswith(b"web")
            if not turn:
                changed = config(chain, clusters={}, timeouts={"idle": "50s"})
                await w.apply(changed)
        await refused(w, "rate_limit")

    run(scenario())


# Where connections come from


def test_a_source_below_tls(run: Run, clock: FakeClock, upstream: Upstream, books: Pair, ca: Ca) -> None:
    async def scenario() -> None:
        w, up = World(clock), upstream()
        tls = {"ca": ca.root.read_text(), "sni": "books.shop"}
        await w.apply(config(cluster="up", clusters={"up": {**at(up), "source": "127.0.0.6", "tls": tls}}))
        peer = await w.connect()
        behind = tls_server(await up.accept(), showing(books))
        await behind.shake()
        assert behind.peer.sock.getpeername()[0] == "127.0.0.6"
        await peer.send(b"hello")
        assert await behind.recv() == b"hello"

    run(scenario())


@pytest.mark.parametrize("protocol", ["tcp", "http"])
def test_a_source(run: Run, clock: FakeClock, upstream: Upstream, protocol: str) -> None:
    async def scenario() -> None:
        w, up = World(clock), upstream()
        said = config(
            {"protocol": protocol, **({"routes": "web"} if protocol == "http" else {"cluster": "up"})},
            clusters={"up": {**at(up), "source": "127.0.0.6"}},
        )
        said["routes"] = {"web": [{"cluster": "up"}]}
        await w.apply(said)
        peer = await w.connect()
        await peer.send(GET)
        behind = await up.accept()
        assert behind.sock.getpeername()[0] == "127.0.0.6"
        assert await behind.recv()
        if protocol == "http":
            await behind.send(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert await peer.recv()
            # What waits to be used again came from somewhere else.
            said["clusters"]["up"]["source"] = "127.0.0.8"
            await w.apply(said)
            await peer.send(GET)
            assert (await up.accept()).sock.getpeername()[0] == "127.0.0.8"

    run(scenario())


def test_a_source_that_this_host_does_not_have(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = World(clock), upstream()
        await w.apply(config(cluster="up", clusters={"up": {**at(up), "source": "192.0.2.1"}}))
        await cut(w)
        assert w.closed() == {"connect": 1}
        assert w.stats.clusters["up"].connect_failures_total == 1

    run(scenario())
