"""Large bodies, which the kernel moves: not a byte is lost or added, and what follows is read as ever.

`>>` is what happens, `<<` what must follow.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from meshproxy.net.conn import SMALL_READ
from meshproxy.net.splice import Pipe, Pipes
from tests.relay.conversation import answered, config, ended, head_of, heard, idle
from tests.relay.test_http_filters import extended

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

SIZE = 5_000_000
CONTENT = random.Random(1).randbytes(SIZE)
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
PUT = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
HI = OK % 2 + b"hi"


class Poured:
    bytes = 0


@pytest.fixture
def poured(monkeypatch: pytest.MonkeyPatch) -> Poured:
    """What has gone through pipes."""
    count, fill = Poured(), Pipe.fill

    def counted(pipe: Pipe, source: int, most: int) -> int:
        size = fill(pipe, source, most)
        count.bytes += size
        return size

    monkeypatch.setattr(Pipe, "fill", counted)
    return count


async def got(peer: Any, size: int = SIZE, *, slowly: bool = False) -> str:
    """The digest of so many bytes; no more are taken."""
    digest = sha256()
    while size:
        piece = await peer.recv(min(size, 200_000))
        assert piece, f"ended where {size} bytes were due"
        size -= len(piece)
        digest.update(piece)
        if slowly and piece[0] & 7 == 0:
            await asyncio.sleep(0.001)
    return digest.hexdigest()


def of(content: bytes) -> str:
    return sha256(content).hexdigest()


async def asked(w: Any, up: Any, request: bytes = GET) -> tuple[Any, Any]:
    client = await w.connect()
    await client.send(request)
    server = await up.accept()
    assert await head_of(server) == request
    return client, server


async def poured_in_part(poured: Poured, source: Any, sink: Any, size: int = 1_000_000) -> None:
    """So much of a body has gone by, and waits for more."""
    await asyncio.gather(source.send(CONTENT[:size]), got(sink, size))
    assert poured.bytes > size // 2


@pytest.mark.parametrize("slowly", [False, True])
def test_an_answer_goes_by_and_another_may_follow(
    run: Run, world: World, upstream: Upstream, poured: Poured, slowly: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up)
        for _ in range(2):
            giving = asyncio.ensure_future(server.send(OK % SIZE + CONTENT))
            assert await head_of(client) == OK % SIZE
            assert await got(client, slowly=slowly) == of(CONTENT)
            await giving
            # >> a small one behind it
            await client.send(GET)
            assert await head_of(server) == GET
            await server.send(HI)
            await heard(client, HI)
            await client.send(GET)
            assert await head_of(server) == GET
        await server.send(HI)
        await heard(client, HI)
        assert poured.bytes > SIZE
        assert answered(w) == {"200": 5}
        assert idle(w) == 1
        (carrier,) = w.worker._http.upstreams
        assert carrier.conn._sink is None, "who waits keeps no client alive"
        await w.worker.counted()
        due = 2 * (len(OK % SIZE) + SIZE) + 3 * len(HI)
        assert w.stats.clusters["up"].bytes_received_total == w.stats.listeners["in"].bytes_sent_total == due

    run(scenario())


@pytest.mark.parametrize("upload", [False, True])
@pytest.mark.parametrize("left", [SMALL_READ - 1, SMALL_READ, SMALL_READ + 1, 40_000])
def test_all_but_the_first_read_goes_by(
    run: Run, world: World, upstream: Upstream, poured: Poured, left: int, upload: bool
) -> None:
    head = PUT if upload else OK
    size = SMALL_READ - len(head % SMALL_READ) + left
    data = CONTENT[:size]

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server: Any = None
        for count in (1, 2):
            if upload:
                client.sock.send(head % size + data)
                server = server or await up.accept()
                assert await head_of(server) == head % size
                assert await got(server, size) == of(data)
                await server.send(HI)
                await heard(client, HI)
            else:
                await client.send(GET)
                server = server or await up.accept()
                assert await head_of(server) == GET
                server.sock.send(head % size + data)
                assert await head_of(client) == head % size
                assert await got(client, size) == of(data)
            assert poured.bytes == (count * left if left >= SMALL_READ else 0)

    run(scenario())


@pytest.mark.parametrize("upload", [False, True])
def test_what_comes_in_small_pieces_is_read(
    run: Run, world: World, upstream: Upstream, poured: Poured, upload: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up, PUT % SIZE if upload else GET)
        source, sink = (client, server) if upload else (server, client)
        if not upload:
            await server.send(OK % SIZE)
            await head_of(client)

        async def trickle() -> None:
            for _ in range(5):
                await source.send(bytes(1000))
                assert await got(sink, 1000) == of(bytes(1000))

        await trickle()
        assert poured.bytes == 0
        await poured_in_part(poured, source, sink)
        await trickle()
        before = poured.bytes
        await trickle()
        assert poured.bytes == before
        await poured_in_part(poured, source, sink)
        assert poured.bytes > before + 500_000

    run(scenario())


def test_what_comes_when_nobody_wants_it_any_more_goes_nowhere(
    run: Run, world: World, upstream: Upstream, poured: Poured
) -> None:
    ask = {"call": "tests.relay.extensions:Ask", "config": {"when": "response", "seconds": 0.2}, "deadline": "9s"}

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=[{"cluster": "up", "filters": [{"extension": ask}]}]))
        client, server = await asked(w, up, PUT % SIZE)
        await poured_in_part(poured, client, server)
        (carrier,) = w.worker._http.upstreams
        await server.send(HI)
        # >> all of the answer before all of the request: that connection is over, and its descriptor is another's
        await w.until(lambda: not w.worker._http.upstreams)
        pairs: list[tuple[socket.socket, socket.socket]] = []
        while not any(each.fileno() == carrier.conn.fd for pair in pairs for each in pair):
            pairs.append(socket.socketpair())
        try:
            await client.send(CONTENT[:500_000])
            assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")
            for each in (each for pair in pairs for each in pair):
                each.setblocking(False)
                with pytest.raises(BlockingIOError):
                    each.recv(1)
        finally:
            for each in (each for pair in pairs for each in pair):
                each.close()

    run(scenario())


@pytest.mark.parametrize("slowly", [False, True])
def test_an_answer_until_the_end(run: Run, world: World, upstream: Upstream, poured: Poured, slowly: bool) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up)

        async def give() -> None:
            await server.send(b"HTTP/1.1 200 OK\r\n\r\n" + CONTENT)
            server.close()

        giving = asyncio.ensure_future(give())
        await head_of(client)
        assert await got(client, slowly=slowly) == of(CONTENT)
        assert await ended(client)
        await giving
        assert poured.bytes > SIZE // 2
        assert answered(w) == {"200": 1}

    run(scenario())


@pytest.mark.parametrize("slowly", [False, True])
def test_a_request_goes_by_and_not_a_byte_of_the_next(
    run: Run, world: World, upstream: Upstream, poured: Poured, slowly: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        # >> three in one stream, of which two are large
        giving = asyncio.ensure_future(client.send((PUT % SIZE + CONTENT) * 2 + GET))
        server = await up.accept()
        for _ in range(2):
            assert await head_of(server) == PUT % SIZE
            assert await got(server, slowly=slowly) == of(CONTENT)
            # << nothing, while the answer is awaited
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await server.recv()
            await server.send(HI)
            await heard(client, HI)
        assert await head_of(server) == GET
        await server.send(HI)
        await heard(client, HI)
        await giving
        assert poured.bytes > SIZE
        assert answered(w) == {"200": 3}
        assert idle(w) == 1
        await w.worker.counted()
        assert w.stats.listeners["in"].bytes_received_total == 2 * (len(PUT % SIZE) + SIZE) + len(GET)

    run(scenario())


def test_between_other_sockets(
    run: Run, world: World, upstream: Upstream, poured: Poured, tmp_path: Path
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream(socket.AF_UNIX, str(tmp_path / "up"))
        await w.apply(config(up.address, listener={"listen": f"unix:{tmp_path}/in"}))
        client = await w.connect()
        giving = asyncio.ensure_future(client.send(PUT % SIZE + CONTENT + GET))
        server = await up.accept()
        assert await head_of(server) == PUT % SIZE
        assert await got(server) == of(CONTENT)
        await giving
        giving = asyncio.ensure_future(server.send(OK % SIZE + CONTENT))
        assert await head_of(client) == OK % SIZE
        assert await got(client) == of(CONTENT)
        await giving
        assert await head_of(server) == GET
        await server.send(HI)
        await heard(client, HI)
        assert poured.bytes > SIZE

    run(scenario())


def test_both_ways_at_once(run: Run, world: World, upstream: Upstream, poured: Poured) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up, PUT % SIZE)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % SIZE

        async def echo() -> None:
            left = SIZE
            while left:
                piece = await server.recv(200_000)
                left -= len(piece)
                await server.send(piece)

        await client.send(CONTENT[:100_000])
        await server.send(OK % SIZE)
        assert await head_of(client) == head
        *_, digest = await asyncio.gather(client.send(CONTENT[100_000:]), echo(), got(client))
        assert digest == of(CONTENT)
        assert poured.bytes > SIZE
        assert answered(w) == {"200": 1}

    run(scenario())


@pytest.mark.parametrize("upload", [False, True])
def test_who_takes_nothing_holds_the_other_and_little_else(
    run: Run, world: World, upstream: Upstream, poured: Poured, upload: bool
) -> None:
    size = 40_000_000

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up, PUT % size if upload else GET)
        source, sink = (client, server) if upload else (server, client)
        if not upload:
            await server.send(OK % size)
            await head_of(client)
        giving = asyncio.ensure_future(source.send(CONTENT * 8))
        done, _ = await asyncio.wait([giving], timeout=0.3)
        assert not done
        await w.worker.counted()
        listener, cluster = w.stats.listeners["in"], w.stats.clusters["up"]
        assert listener.bytes_received_total - cluster.bytes_sent_total <= 1 << 20
        assert cluster.bytes_received_total - listener.bytes_sent_total <= 1 << 20
        # >> it takes
        for _ in range(8):
            assert await got(sink) == of(CONTENT)
        await giving
        if upload:
            await server.send(HI)
            await heard(client, HI)
        assert poured.bytes > size // 2

    run(scenario())


def test_where_no_pipe_is_left_bodies_are_copied(
    run: Run, world: World, upstream: Upstream, poured: Poured, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        take, calls = Pipes.take, 0

        def seldom(pipes: Pipes) -> Pipe | None:
            nonlocal calls
            calls += 1
            return take(pipes) if calls % 3 == 0 else None

        monkeypatch.setattr(Pipes, "take", seldom)
        client, server = await asked(w, up, PUT % SIZE)
        _, digest = await asyncio.gather(client.send(CONTENT), got(server))
        assert digest == of(CONTENT)
        giving = asyncio.ensure_future(server.send(OK % SIZE + CONTENT))
        await head_of(client)
        assert await got(client) == of(CONTENT)
        await giving
        assert 0 < poured.bytes < 2 * SIZE
        assert idle(w) == 1

    run(scenario())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_an_answer_that_is_cut_is_not_a_whole_one(
    run: Run, world: World, upstream: Upstream, poured: Poured, how: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up)
        await server.send(OK % SIZE)
        await head_of(client)
        await poured_in_part(poured, server, client)
        getattr(server, how)()
        assert not await ended(client), "the client sees a reset"
        assert answered(w) == {"200 UPE" if how == "close" else "200 UC": 1}
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


def test_what_follows_an_answer_at_once_is_nobodys(
    run: Run, world: World, upstream: Upstream, poured: Poured
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        # >> the next request is at hand when the answer ends, and the upstream has already answered it
        await client.send(GET + GET)
        server = await up.accept()
        await head_of(server)
        server.sock.send(OK % 100_000 + CONTENT[:100_000] + OK % 4 + b"evil")
        await head_of(client)
        assert await got(client, 100_000) == of(CONTENT[:100_000])
        assert poured.bytes
        # << somebody else is asked
        server = await up.accept()
        assert await head_of(server) == GET
        await server.send(HI)
        await heard(client, HI)

    run(scenario())


@pytest.mark.parametrize("upload", [False, True])
def test_a_client_that_leaves_cancels_what_it_asked_for(
    run: Run, world: World, upstream: Upstream, poured: Poured, upload: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up, PUT % SIZE if upload else GET)
        if upload:
            await poured_in_part(poured, client, server)
        else:
            await server.send(OK % SIZE)
            await head_of(client)
            await poured_in_part(poured, server, client)
        client.reset()
        assert not await ended(server), "the upstream sees a reset"
        assert answered(w) == {"499 DC" if upload else "200 DC": 1}
        assert w.stats.listeners["in"].connections_active == 0

    run(scenario())


def test_half_a_request_does_not_look_whole(run: Run, world: World, upstream: Upstream, poured: Poured) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up, PUT % SIZE)
        await poured_in_part(poured, client, server)
        client.end()
        assert not await ended(server)

    run(scenario())


@pytest.mark.parametrize("full", [False, True])
def test_an_upstream_that_dies_in_the_middle_of_a_request(
    run: Run, world: World, upstream: Upstream, poured: Poured, full: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up, PUT % (8 * SIZE))
        await poured_in_part(poured, client, server)
        giving = asyncio.ensure_future(client.send(CONTENT * 8))
        if full:
            await asyncio.wait([giving], timeout=0.2)
        server.reset()
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        giving.cancel()
        assert answered(w) == {"502 UC": 1}
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


def test_an_answer_before_the_request_has_come(run: Run, world: World, upstream: Upstream, poured: Poured) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up, PUT % SIZE)
        await poured_in_part(poured, client, server)
        await server.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        assert await head_of(client) == (
            b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        # << nobody takes the rest for a whole request, and the client may still send it
        assert not await ended(server)
        before = poured.bytes
        await client.send(CONTENT[:500_000])
        client.end()
        assert await ended(client)
        assert poured.bytes == before
        assert answered(w) == {"413": 1}

    run(scenario())


@pytest.mark.parametrize("upload", [False, True])
def test_silence_is_noticed_and_only_silence(
    run: Run, world: World, upstream: Upstream, poured: Poured, upload: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"timeouts": {"idle": "7s", "request": "60s"}}))
        client, server = await asked(w, up, PUT % SIZE if upload else GET)
        source, sink = (client, server) if upload else (server, client)
        if not upload:
            await server.send(OK % SIZE)
            await head_of(client)
        await poured_in_part(poured, source, sink)
        for at in range(1_000_000, 1_500_000, 100_000):
            w.clock.advance(6)
            before = poured.bytes
            source.sock.send(CONTENT[at : at + 100_000])
            assert await got(sink, 100_000) == of(CONTENT[at : at + 100_000])
            assert poured.bytes > before
        assert answered(w) == {}
        w.clock.advance(7)
        if upload:
            assert (await head_of(client)).startswith(b"HTTP/1.1 408 ")
            assert not await ended(server)
        else:
            assert not await ended(client)
            assert not await ended(server)
        assert answered(w) == {"408 DT" if upload else "200 SI": 1}

    run(scenario())


def test_no_request_takes_longer_than_it_may(run: Run, world: World, upstream: Upstream, poured: Poured) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"timeouts": {"idle": "7s", "request": "8s"}}))
        client, server = await asked(w, up)
        await server.send(OK % SIZE)
        await head_of(client)
        w.clock.advance(6)
        await poured_in_part(poured, server, client)
        w.clock.advance(2)
        assert not await ended(client)
        assert answered(w) == {"200 UT": 1}

    run(scenario())


def test_a_listener_that_goes_lets_a_body_end(run: Run, world: World, upstream: Upstream, poured: Poured) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up)
        await server.send(OK % SIZE)
        await head_of(client)
        await poured_in_part(poured, server, client)
        gone = config(up.address)
        gone["listeners"][0]["name"] = "other"
        await w.apply(gone)
        _, digest = await asyncio.gather(server.send(CONTENT[1_000_000:]), got(client, SIZE - 1_000_000))
        assert digest == of(CONTENT[1_000_000:])
        assert await ended(client)

    run(scenario())


def test_a_body_that_is_not_over_when_its_time_is_ends_as_a_failure(
    run: Run, world: World, upstream: Upstream, poured: Poured
) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up)
        await server.send(OK % SIZE)
        await head_of(client)
        await poured_in_part(poured, server, client)
        await w.apply({"drain": {"timeout": "9s"}, **config(other.address)})
        w.clock.advance(9)
        assert not await ended(client)
        assert not await ended(server)

    run(scenario())


@pytest.mark.parametrize("upload", [False, True])
def test_urgent_bytes_are_no_part_of_a_body(
    run: Run, world: World, upstream: Upstream, poured: Poured, upload: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up, PUT % SIZE if upload else GET)
        source, sink = (client, server) if upload else (server, client)
        if not upload:
            await server.send(OK % SIZE)
            await head_of(client)

        for at in range(0, SIZE, 1_000_000):
            piece = CONTENT[at : at + 1_000_000]

            async def give(piece: bytes = piece) -> None:
                await source.send(piece[:500_000])
                source.sock.send(b"!", socket.MSG_OOB)
                await source.send(piece[500_000:])

            _, digest = await asyncio.gather(give(), got(sink, len(piece)))
            assert digest == of(piece)
        assert poured.bytes > SIZE // 2

    run(scenario())


def test_what_somebody_looks_at_does_not_go_by(run: Run, world: World, upstream: Upstream, poured: Poured) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Shout"))
        client = await w.connect()
        giving = asyncio.ensure_future(client.send(PUT % 300_000 + b"a" * 300_000))
        server = await up.accept()
        await head_of(server)
        taken = b""
        while not taken.endswith(b"\r\n0\r\n\r\n"):
            taken += await server.recv()
        assert taken.count(b"A") == 300_000
        await giving
        giving = asyncio.ensure_future(server.send(OK % 300_000 + b"b" * 300_000))
        await head_of(client)
        taken = b""
        while not taken.endswith(b"\r\n0\r\n\r\n"):
            taken += await client.recv()
        assert taken.count(b"B") == 300_000
        await giving
        assert poured.bytes == 0

    run(scenario())


def test_a_body_does_not_overtake_the_head_that_a_filter_looks_at(
    run: Run, world: World, upstream: Upstream, poured: Poured
) -> None:
    ask = {"call": "tests.relay.extensions:Ask", "config": {"when": "response", "seconds": 0.1}, "deadline": "9s"}

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=[{"cluster": "up", "filters": [{"extension": ask}]}]))
        client, server = await asked(w, up)
        giving = asyncio.ensure_future(server.send(OK % SIZE + CONTENT))
        assert await head_of(client) == OK % SIZE
        assert await got(client) == of(CONTENT)
        await giving
        assert poured.bytes > SIZE // 2

    run(scenario())


def test_what_is_kept_for_another_attempt_does_not_go_by(
    run: Run, world: World, upstream: Upstream, poured: Poured
) -> None:
    small = CONTENT[:60_000]

    async def scenario() -> None:
        w, up = world(), upstream()
        rules = [{"cluster": "up", "retry": {"on": ["reset"], "backoff": 0}}]
        await w.apply(config(up.address, rules=rules))
        client = await w.connect()
        await client.send(PUT % len(small) + small)
        server = await up.accept()
        await head_of(server)
        assert await got(server, len(small)) == of(small)
        server.reset()
        # << all of it again
        server = await up.accept()
        assert await head_of(server) == PUT % len(small)
        assert await got(server, len(small)) == of(small)
        await server.send(HI)
        await heard(client, HI)
        assert poured.bytes == 0
        # >> more than is kept
        giving = asyncio.ensure_future(client.send(PUT % SIZE + CONTENT))
        assert await head_of(server) == PUT % SIZE
        assert await got(server) == of(CONTENT)
        await giving
        assert poured.bytes > SIZE // 2

    run(scenario())


def test_what_has_gone_by_is_not_asked_again(
    run: Run, world: World, upstream: Upstream, poured: Poured, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client, server = await asked(w, up)
        await server.send(HI)
        await heard(client, HI)

        def fails(pipe: Pipe, sink: int) -> int:
            raise ConnectionResetError

        monkeypatch.setattr(Pipe, "drain", fails)
        # >> a connection that was used before takes the head and no more
        client.sock.send(PUT % SIZE + CONTENT[:60_000])
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert poured.bytes
        assert w.stats.clusters["up"].retries_total == 0

    run(scenario())
