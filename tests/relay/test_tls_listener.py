"""Clients that speak TLS to a listener, in segments of their own making."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.wire import x509
from tests.conftest import Client, FakeClock, Upstream, World
from tests.pki import Ca, Pair, Pki
from tests.relay.conversation import IDENTITY, answered, ended
from tests.relay.tls_peers import TlsPeer, client, server, showing, trusting

Run = Callable[[Coroutine[Any, Any, None]], None]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
GET = b"GET / HTTP/1.1\r\nHost: books.shop\r\n\r\n"
HELLO = b"r" * 32 + b"\x00\x00\x04\x00\x0a\x00\xff\x01\x00"
"""The rest of one, after the version."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def inline(pair: Pair) -> dict[str, str]:
    return {"certificate": pair.certificate.read_text(), "key": pair.key.read_text()}


def http(up: Upstream, tls: Any, **listener: Any) -> dict[str, Any]:
    return {
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web", "tls": tls, **listener}
        ],
        "routes": {"web": [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": [up.address]}},
    }


def tcp(up: Upstream, tls: Any, **listener: Any) -> dict[str, Any]:
    return {
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up", "tls": tls, **listener}
        ],
        "clusters": {"up": {"endpoints": [up.address]}},
    }


def handshakes(w: World) -> dict[str, int]:
    return dict(w.stats.listeners["in"].handshakes)


async def over(w: World) -> None:
    """Everybody has left."""
    await w.until(lambda: not w.stats.listeners["in"].connections_active)
    assert not w.worker.listeners[0].doors or not w.stats.listeners["in"].connections_active


async def served(tls: TlsPeer, up: Upstream, upstream: Any = None) -> Any:
    """One exchange; the connection to the upstream, for the next one."""
    await tls.send(GET)
    upstream = upstream or await up.accept()
    assert IDENTITY.sub(b"", await upstream.recv()) == GET
    await upstream.send(OK)
    assert await tls.recv() == OK
    return upstream


# Handshakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_one_connection_carries_many_requests(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, version: ssl.TLSVersion
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        tls = client(await w.connect(), trusting(ca, version=version))
        await tls.shake()
        assert tls.ssl.selected_alpn_protocol() is None
        upstream = await served(tls, up)
        await served(tls, up, upstream)
        await tls.end()
        assert await tls.recv() == b""
        await over(w)
        assert handshakes(w) == {"full": 1}
        assert w.closed() == {"done": 1}

    run(scenario())


@pytest.mark.parametrize("version", VERSIONS)
def test_a_hello_that_comes_byte_by_byte_and_a_request_that_comes_with_the_last_word(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, version: ssl.TLSVersion
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        plain = await w.connect()
        tls = client(plain, trusting(ca, version=version))
        assert not tls.step()
        for byte in tls.said():
            await plain.send(bytes([byte]))
            await asyncio.sleep(0)
        while not tls.step():
            await tls.flush()
            await tls.hear()
        await plain.send(tls.said() + tls.say(GET))
        upstream = await up.accept()
        assert IDENTITY.sub(b"", await upstream.recv()) == GET
        await upstream.send(OK)
        assert await tls.recv() == OK

    run(scenario())


def test_a_session_is_resumed_also_after_a_reload(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        context = trusting(ca)
        first = client(await w.connect(), context)
        await first.shake()
        await served(first, up)
        await w.apply(http(up, inline(books), timeouts={"idle": "30s"}))
        second = client(await w.connect(), context, session=first.ssl.session)
        await second.shake()
        assert second.ssl.session_reused
        await w.until(lambda: handshakes(w) == {"full": 1, "resumed": 1})
        # With another certificate there is another key for tickets
        await w.apply(http(up, inline(ca.issue("shop/books", dns=["books.shop"]))))
        third = client(await w.connect(), context, session=first.ssl.session)
        await third.shake()
        assert not third.ssl.session_reused

    run(scenario())


def test_who_speaks_plainly_is_told_so_plainly(run: Run, clock: FakeClock, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        plain = await w.connect()
        await plain.send(GET)
        answer = await plain.recv_all()
        assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert answer.endswith(b"\r\nConnection: close\r\n\r\nthis port speaks TLS\n")
        plain.end()
        await over(w)
        assert handshakes(w) == {"plain": 1}
        assert w.stats.listeners["in"].rejected["tls"] == 1

    run(scenario())


def test_who_is_told_so_and_does_not_leave_is_left(run: Run, clock: FakeClock, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        silent, talking = await w.connect(), await w.connect()
        await silent.send(GET)
        await silent.recv()
        await talking.send(GET)
        await w.until(lambda: handshakes(w) == {"plain": 2})
        with pytest.raises(ConnectionError):
            while True:
                await talking.send(bytes(65536))
        clock.advance(2.1)
        await over(w)

    run(scenario())


def test_plain_bytes_where_there_is_no_http_are_answered_with_nothing(run: Run, clock: FakeClock, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, inline(books)))
        plain = await w.connect()
        await plain.send(GET)
        await ended(plain)
        await over(w)
        assert handshakes(w) == {"plain": 1}

    run(scenario())


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", "protocol"),
        (b"\x16\x03\x01\xff\xff" + b"a" * 100, "protocol"),
        (b"\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" + HELLO, "version"),
        (b"\x16\x02\x00\x00\x2f\x01\x00\x00\x2b\x02\x00" + HELLO, "plain"),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"x" * 37, "plain"),
    ],
)
def test_hellos_that_are_none(run: Run, clock: FakeClock, books: Pair, bad: bytes, word: str) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, inline(books)))
        plain = await w.connect()
        await plain.send(bad)
        await w.until(lambda: handshakes(w) or not plain)
        assert handshakes(w) == {word: 1}
        await over(w)

    run(scenario())


def test_who_stops_in_the_middle_is_waited_for_so_long(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        silent, halfway = await w.connect(), await w.connect()
        tls = client(halfway, trusting(ca))
        assert not tls.step()
        await tls.flush()
        await tls.hear()  # the server's flight, which is not answered
        await w.until(lambda: w.stats.listeners["in"].connections_active == 2)
        clock.advance(9.9)
        assert w.stats.listeners["in"].connections_active == 2
        clock.advance(0.2)
        await over(w)
        assert handshakes(w) == {"timeout": 2}
        await ended(silent)

    run(scenario())


def test_who_goes_away_in_the_middle(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        ending, resetting = await w.connect(), await w.connect()
        for peer in (ending, resetting):
            tls = client(peer, trusting(ca))
            assert not tls.step()
            await tls.flush()
            await tls.hear()
        ending.end()
        resetting.reset()
        await over(w)
        assert handshakes(w) == {"closed": 2}

    run(scenario())


async def halfway(w: World, ca: Ca) -> Any:
    """A client that has its turn, and stops."""
    peer = await w.connect()
    tls = client(peer, trusting(ca))
    assert not tls.step()
    await tls.flush()
    await tls.hear()
    return peer


def test_so_many_handshakes_at_a_time_and_the_others_have_their_turn(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books), max_handshakes=2))
        stuck = [await halfway(w, ca) for _ in range(2)]
        silent = await w.connect()
        waiting = client(await w.connect(), trusting(ca))
        assert not waiting.step()
        await waiting.flush()
        leaving = await w.connect()
        await leaving.send(b"\x16\x03\x01")
        await w.until(lambda: w.stats.listeners["in"].connections_active == 5)
        leaving.close()
        shaken = asyncio.ensure_future(waiting.shake())
        await asyncio.sleep(0.05)
        assert not shaken.done()
        stuck[0].close()
        await shaken
        await served(waiting, up)
        clock.advance(10.1)
        assert await ended(stuck[1]) is not None
        assert await ended(silent) is not None

    run(scenario())


def test_who_stops_in_the_middle_keeps_nobody_out(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books), max_handshakes=2))
        older, newer = await halfway(w, ca), await halfway(w, ca)
        clock.advance(1.1)
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        await served(tls, up)
        assert await ended(older) is not None
        assert handshakes(w) == {"timeout": 1, "full": 1}
        other = client(await w.connect(), trusting(ca))
        await other.shake()
        newer.close()
        await w.until(lambda: handshakes(w) == {"timeout": 1, "full": 2, "closed": 1})

    run(scenario())


def test_thousands_of_hellos_that_are_none_end_one_after_the_other(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, inline(books), max_handshakes=1))
        stuck = await halfway(w, ca)
        crowd = [await w.connect() for _ in range(400)]
        for peer in crowd:
            await peer.send(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")
        await w.until(lambda: w.stats.listeners["in"].connections_active == 401)
        stuck.close()
        await over(w)
        assert handshakes(w) == {"closed": 1, "protocol": 400}

    run(scenario())


def test_a_handshake_that_is_under_way_ends_with_the_process(run: Run, clock: FakeClock, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books), max_handshakes=1))
        one, other = await w.connect(), await w.connect()
        await w.until(lambda: w.stats.listeners["in"].connections_active == 2)
        state = next(iter(w.worker._guests.states))
        state.drain()
        assert w.stats.listeners["in"].connections_active == 0
        assert w.stats.listeners["in"].rejected["tls"] == 2
        assert not await ended(one)
        assert not await ended(other)

    run(scenario())


# Ends ---------------------------------------------------------------------------------------------


def test_ends_pass_both_ways_one_after_the_other(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, inline(books)))
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        await tls.send(b"question")
        await tls.end()
        upstream = await up.accept()
        assert await upstream.recv_all() == b"question"
        await upstream.send(b"answer")
        upstream.end()
        assert await tls.recv_all() == b"answer"
        await over(w)
        assert w.closed() == {"done": 1}

    run(scenario())


def test_an_end_that_comes_with_the_handshake_is_heard(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, inline(books)))
        plain = await w.connect()
        tls = client(plain, trusting(ca))
        while not tls.step():
            await tls.flush()
            await tls.hear()
        await plain.send(tls.said() + tls.say(b"all of it") + tls.goodbye())
        upstream = await up.accept()
        assert await upstream.recv_all() == b"all of it"
        await upstream.send(b"thanks")
        upstream.end()
        assert await tls.recv_all() == b"thanks"

    run(scenario())


def test_a_connection_that_is_cut_is_no_end(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, inline(books)))
        plain = await w.connect()
        tls = client(plain, trusting(ca))
        await tls.shake()
        await tls.send(b"half of")
        upstream = await up.accept()
        assert await upstream.recv() == b"half of"
        plain.end()  # of TCP, without a word of TLS
        assert not await ended(upstream)
        await over(w)
        assert w.closed() == {"reset": 1}

    run(scenario())


def test_a_body_that_is_cut_is_not_taken_for_a_whole_one(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        plain = await w.connect()
        tls = client(plain, trusting(ca))
        await tls.shake()
        await tls.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        upstream = await up.accept()
        got = b""
        while not got.endswith(b"5\r\nhello\r\n"):
            got += await upstream.recv()
        plain.end()
        assert not await ended(upstream)
        await over(w)
        assert answered(w) == {"('499', 'DC')": 1} or list(answered(w).values()) == [1]

    run(scenario())


def test_the_last_answer_ends_with_a_word(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    """So that a client which reads until the end knows that it has all."""

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        await tls.send(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        upstream = await up.accept()
        await upstream.recv()
        await upstream.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        upstream.end()
        assert (await tls.recv_all()).endswith(b"until the end")

    run(scenario())


def test_an_answer_that_is_cut_ends_without_a_word(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books)))
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        await tls.send(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        upstream = await up.accept()
        await upstream.recv()
        await upstream.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the")
        assert (await tls.recv()).endswith(b"until the")
        upstream.reset()
        with pytest.raises((EOFError, ConnectionError)):
            await tls.recv()

    run(scenario())


# Load ---------------------------------------------------------------------------------------------


def test_large_bodies_both_ways_and_who_does_not_read_is_waited_for(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    size = 32 << 20

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, inline(books)))
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        body = bytes(range(256)) * (size // 256)
        upstream = await up.accept()
        sending = asyncio.ensure_future(tls.send(body))
        await asyncio.sleep(0.05)
        assert not sending.done(), "what is not read is not taken either"
        assert await upstream.recv_exactly(size) == body
        await sending
        answering = asyncio.ensure_future(upstream.send(body))
        await asyncio.sleep(0.05)
        assert not answering.done()
        got = bytearray()
        while len(got) < size:
            got += await tls.recv()
        assert got == body
        await answering
        relay = next(iter(next(iter(w.worker._guests.states)).connections))
        assert not relay._down.full  # type: ignore[attr-defined]

    run(scenario())


def test_slowed_down_and_secure(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, inline(books), filters=[{"bandwidth": {"up": "64KiB"}}]))
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        await tls.send(bytes(100_000))
        upstream = await up.accept()
        began, got = clock.now(), 0
        async with asyncio.timeout(5):
            while got < 100_000:
                reading = asyncio.ensure_future(upstream.recv())
                while not reading.done():
                    await asyncio.sleep(0.001)
                    clock.advance(0.01)
                got += len(await reading)
        assert clock.now() - began > 0.9 * (100_000 - 65536) / 65536

    run(scenario())


# Who is asked for a certificate -------------------------------------------------------------------


@pytest.mark.parametrize("status", ["400", "403"])
def test_who_has_no_certificate_may_be_told_so_in_http(
    run: Run, clock: FakeClock, pki: Pki, ca: Ca, books: Pair, status: str
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        tls = {**inline(books), "client_ca": ca.root.read_text(), "without_certificate": status}
        await w.apply(http(up, tls))
        without = client(await w.connect(), trusting(ca))
        await without.shake()
        await without.send(GET)
        answer = await without.recv_all()
        assert answer.startswith(b"HTTP/1.1 " + status.encode())
        assert answer.endswith(b"a client certificate is required\n")
        assert handshakes(w) == {"no_certificate": 1}
        having = client(await w.connect(), trusting(ca, books))
        await having.shake()
        await served(having, up)
        # One that is wrong is refused by an alert all the same
        foreign = client(await w.connect(), trusting(ca, pki.ca().issue("shop/books")))
        with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
            await foreign.shake()
            await foreign.recv()
        await w.until(lambda: handshakes(w) == {"no_certificate": 1, "full": 1, "unknown_ca": 1})

    run(scenario())


def test_who_must_show_a_certificate_depends_on_where_it_comes_from(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        strict = {**inline(books), "client_ca": ca.root.read_text()}
        chains = [{"match": {"sources": ["127.0.0.2"]}, "tls": strict}]
        await w.apply(http(up, inline(books), chains=chains))
        plain = socket.socket()
        plain.bind(("127.0.0.2", 0))
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, w.address())
        elsewhere = client(Client(plain), trusting(ca))
        with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
            await elsewhere.shake()
            await elsewhere.recv()
        here = client(await w.connect(), trusting(ca))
        await here.shake()
        await served(here, up)

    run(scenario())


@pytest.mark.parametrize("shows", [True, False])
def test_a_reload_that_asks_for_certificates_ends_who_has_none(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, shows: bool
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        asked = {**inline(books), "client_ca": ca.root.read_text()}
        await w.apply(http(up, {**asked, "client": "optional"}))
        tls = client(await w.connect(), trusting(ca, books if shows else None))
        await tls.shake()
        upstream = await served(tls, up)
        await w.apply(http(up, asked))
        if shows:
            await served(tls, up, upstream)
        else:
            await tls.send(GET)
            assert await tls.recv() == b""

    run(scenario())


BY_NAME = [
    {"match": {"identities": ["shop/web"]}, "reply": {"status": 201}},
    {"match": {"identities": ["web.shop.cluster.local"]}, "reply": {"status": 202}},
    {"reply": {"status": 203}},
]


@pytest.mark.parametrize(("by", "statuses"), [("san", [201, 202, 203]), ("cn", [202, 203, 203])])
def test_which_name_of_a_certificate_counts(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, by: str, statuses: list[int]
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        said = http(up, {**inline(books), "client_ca": ca.root.read_text(), "identity": by})
        said["routes"]["web"] = BY_NAME
        await w.apply(said)
        certificates = [
            ca.issue("shop/web", name="Web.shop.cluster.local"),
            ca.issue(dns=["web.shop.cluster.local"]),
            ca.issue(dns=["other.shop"], name="web.shop.cluster"),
        ]
        found = []
        for shown in certificates:
            tls = client(await w.connect(), trusting(ca, shown))
            await tls.shake()
            await tls.send(GET)
            found.append(int((await tls.recv()).split()[1]))
            await tls.end()
        assert found == statuses

    run(scenario())


@pytest.mark.parametrize("by", ["san", "cn"])
def test_a_reload_that_looks_at_another_name_ends_who_was_known_by_the_first(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, by: str
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        asked = {**inline(books), "client_ca": ca.root.read_text()}
        await w.apply(http(up, asked))
        tls = client(await w.connect(), trusting(ca, books))
        await tls.shake()
        upstream = await served(tls, up)
        await w.apply(http(up, {**asked, "identity": by}))
        if by == "san":
            await served(tls, up, upstream)
        else:
            await tls.send(GET)
            assert await tls.recv() == b""

    run(scenario())


def test_a_reload_that_brings_tls_ends_who_is_plain_and_the_other_way_round(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, []))
        plain = await w.connect()
        await plain.send(GET)
        upstream = await up.accept()
        await upstream.recv()
        await upstream.send(OK)
        assert await plain.recv() == OK
        await w.apply(http(up, inline(books)))
        await plain.send(GET)
        await ended(plain)
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        await served(tls, up, upstream)
        await w.apply(http(up, []))
        await tls.send(GET)
        assert await tls.recv() == b""

    run(scenario())


# One port for many ----------------------------------------------------------------------------------


def test_the_certificate_is_chosen_by_the_name_that_is_asked_for(
    run: Run, clock: FakeClock, ca: Ca, books: Pair
) -> None:
    toys = ca.issue("shop/toys", dns=["toys.shop", "*.toys.shop"])
    rest = ca.issue("shop/rest", dns=["rest.shop"])

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        several = [inline(books), {**inline(toys), "min_version": "1.3"}, {**inline(rest), "sni": ["*.elsewhere"]}]
        await w.apply(http(up, several))

        async def shown(name: str | None, **also: Any) -> Any:
            context = trusting(None, **also)
            tls = client(await w.connect(), context, name)
            await tls.shake()
            return x509.read(tls.ssl.getpeercert(binary_form=True) or b"").dns[0]

        assert await shown("books.shop") == "books.shop"
        assert await shown("TOYS.shop") == "toys.shop"
        assert await shown("a.toys.shop") == "toys.shop"
        assert await shown("a.elsewhere") == "rest.shop"
        assert await shown("rest.shop") == "books.shop", "the first is for all others"
        assert await shown(None) == "books.shop"
        assert await shown("books.shop", version=VERSIONS[0]) == "books.shop"
        with pytest.raises((ssl.SSLError, EOFError, ConnectionError)):
            await shown("toys.shop", version=VERSIONS[0])

    run(scenario())


def test_plain_and_secure_on_one_port(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books), permissive=True))
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        upstream = await served(tls, up)
        plain = await w.connect()
        for _ in range(2):
            await plain.send(GET)
            assert IDENTITY.sub(b"", await upstream.recv()) == GET
            await upstream.send(OK)
            assert await plain.recv() == OK
            await w.apply(http(up, inline(books), permissive=True, timeouts={"idle": "30s"}))
        await w.apply(http(up, inline(books)))
        await plain.send(GET)
        await ended(plain)
        await served(tls, up, upstream)

    run(scenario())


def test_who_says_nothing_at_all_is_not_waited_for_for_ever(run: Run, clock: FakeClock, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, inline(books), permissive=True))
        silent, half = await w.connect(), await w.connect()
        await half.send(b"\x16\x03\x01")
        await w.until(lambda: w.stats.listeners["in"].connections_active == 2)
        clock.advance(10.1)
        await over(w)
        assert w.stats.listeners["in"].rejected["tls"] == 2
        assert not await ended(silent)

    run(scenario())


def test_what_passes_through_goes_by_the_name_and_the_protocol(run: Run, clock: FakeClock, ca: Ca) -> None:
    async def scenario() -> None:
        w, one, other, rest = World(clock), Upstream(), Upstream(), Upstream()
        await w.apply(
            {
                "listeners": [
                    {
                        "name": "in",
                        "listen": "127.0.0.1:0",
                        "protocol": "tls",
                        "chains": [
                            {"match": {"sni": ["books.shop"]}, "cluster": "one"},
                            {"match": {"alpn": ["mqtt"]}, "cluster": "other"},
                            {"match": {"sni": ["*.shop"]}, "cluster": "rest"},
                        ],
                    }
                ],
                "clusters": {
                    "one": {"endpoints": [one.address]},
                    "other": {"endpoints": [other.address]},
                    "rest": {"endpoints": [rest.address]},
                },
            }
        )

        async def reaches(up: Upstream, name: str, **also: Any) -> None:
            pair = ca.issue(dns=[name])
            tls = client(await w.connect(), trusting(ca, **also), name)
            shaking = asyncio.ensure_future(tls.shake())
            behind = server(await up.accept(), showing(pair))
            await asyncio.gather(shaking, behind.shake())
            await tls.send(b"through")
            assert await behind.recv() == b"through"

        await reaches(one, "books.shop")
        await reaches(one, "books.shop", alpn=["mqtt"])
        await reaches(other, "toys.shop", alpn=["x", "mqtt"])
        await reaches(rest, "toys.shop", alpn=["x"])
        nobody = client(await w.connect(), trusting(None), "elsewhere")
        with pytest.raises((EOFError, ConnectionError)):
            await nobody.shake()
        plain = await w.connect()
        await plain.send(GET)
        await ended(plain)
        assert handshakes(w) == {"plain": 1}
        assert w.stats.listeners["in"].rejected["no_chain"] == 1

    run(scenario())


def test_after_a_proxy_header_comes_a_hello(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        for permissive in (False, True):
            trusted = {"trusted": ["127.0.0.1"]}
            await w.apply(http(up, inline(books), proxy_protocol=trusted, permissive=permissive))
            plain = await w.connect()
            tls = client(plain, trusting(ca))
            assert not tls.step()
            await plain.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n" + tls.said())
            await tls.shake()
            await tls.send(GET)
            if not permissive:
                upstream = await up.accept()
            assert b"X-Forwarded-For: 192.0.2.7\r\n" in await upstream.recv()
            await upstream.send(OK)
            assert await tls.recv() == OK

    run(scenario())


def test_what_the_protocol_says_of_itself_is_answered(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    """A ticket of the server reaches the client, and ALPN is agreed on."""

    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, {**inline(books), "alpn": ["b", "a"]}))
        tls = client(await w.connect(), trusting(ca, alpn=["a", "b"]))
        await tls.shake()
        assert tls.ssl.selected_alpn_protocol() == "b"
        upstream = await up.accept()
        await upstream.send(b"first word")
        assert await tls.recv() == b"first word"
        assert tls.ssl.session is not None
        assert tls.ssl.session.has_ticket

    run(scenario())


# Rotation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drains", [True, False])
def test_who_was_let_in_by_a_certificate_that_is_replaced_goes_on_or_is_drained(
    run: Run, clock: FakeClock, ca: Ca, books: Pair, drains: bool
) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(http(up, {**inline(books), "drain": drains}))
        waiting = client(await w.connect(), trusting(ca))
        await waiting.shake()
        upstream = await served(waiting, up)
        asking = client(await w.connect(), trusting(ca))
        await asking.shake()
        await asking.send(GET)
        assert IDENTITY.sub(b"", await upstream.recv()) == GET
        await w.apply(http(up, {**inline(books), "drain": drains}, timeouts={"idle": "30s"}))
        newer = ca.issue("shop/books", dns=["books.shop"])
        await w.apply(http(up, {**inline(newer), "drain": drains}))
        await upstream.send(OK)
        answer = await asking.recv()
        assert (b"Connection: close\r\n" in answer) == drains
        if drains:
            assert await waiting.recv() == b""
            assert await asking.recv() == b""
        else:
            await served(waiting, up, upstream)
            await served(asking, up, upstream)
        fresh = client(await w.connect(), trusting(ca))
        await fresh.shake()
        assert fresh.ssl.getpeercert(binary_form=True) == ssl.PEM_cert_to_DER_cert(newer.certificate.read_text())

    run(scenario())


def test_who_is_drained_and_does_not_leave_is_ended(run: Run, clock: FakeClock, ca: Ca, books: Pair) -> None:
    async def scenario() -> None:
        w, up = World(clock), Upstream()
        await w.apply(tcp(up, {**inline(books), "drain": True}))
        tls = client(await w.connect(), trusting(ca))
        await tls.shake()
        await tls.send(b"hello")
        upstream = await up.accept()
        assert await upstream.recv() == b"hello"
        await w.apply(tcp(up, {**inline(ca.issue(dns=["books.shop"])), "drain": True}))
        clock.advance(29.9)
        await tls.send(b"still here")
        assert await upstream.recv() == b"still here"
        clock.advance(0.2)
        assert not await ended(upstream)
        assert w.closed() == {"drain": 1}

    run(scenario())
