"""Conversations through a TCP listener: real sockets, a clock that jumps."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import os
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from meshproxy.cluster.cluster import Lease
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dial
from meshproxy.relay.lifespan import Lifespan
from meshproxy.relay.tcp import TcpRelay

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


def config(*endpoints: object, listener: dict[str, Any] | None = None, **cluster: object) -> dict[str, Any]:
    front = {"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}
    return {
        "listeners": [front | (listener or {})],
        "clusters": {"up": {"endpoints": list(endpoints), **cluster}},
    }


def test_bytes_and_ends_pass_both_ways(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = await up.accept()
        await client.send(b"question")
        assert await server.recv() == b"question"
        client.end()
        assert await server.recv() == b""
        await server.send(b"an answer after the client has ended")
        server.end()
        assert await client.recv_all() == b"an answer after the client has ended"
        await w.until(lambda: w.closed() == {"done": 1})
        await w.worker.counted()
        stats = w.stats.listeners["in"]
        assert (stats.bytes_received_total, stats.bytes_sent_total, stats.connections_active) == (8, 36, 0)
        cluster = w.stats.clusters["up"]
        assert (cluster.bytes_sent_total, cluster.bytes_received_total, cluster.connections_active) == (8, 36, 0)
        assert w.clock.pending == 0

    run(scenario())


def test_who_leaves_while_others_are_counted_is_counted_once(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        pairs = []
        for _ in range(3):
            client = await w.connect()
            server = await up.accept()
            await client.send(b"question")
            assert await server.recv() == b"question"
            pairs.append((client, server))
        (state,) = w.worker._guests.states
        steps = state.account()
        next(steps)
        for client, server in pairs:
            client.end()
            assert await server.recv() == b""
            server.end()
        await w.until(lambda: w.closed() == {"done": 3})
        assert list(steps) == [None, None]
        await w.worker.counted()
        assert w.stats.listeners["in"].bytes_received_total == 24

    run(scenario())


def test_early_bytes_wait_for_the_upstream(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(b"early")
        client.end()
        server = await up.accept()
        assert await server.recv_all() == b"early"

    run(scenario())


@pytest.mark.parametrize("size", [100_000, 30_000_000])
def test_bulk_arrives_whole_through_a_slow_reader(run: Run, world: World, upstream: Upstream, size: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = await up.accept()
        data = os.urandom(1 << 16) * (size >> 16)

        async def drink(conn: Any) -> str:
            digest = hashlib.sha256()
            while piece := await conn.recv(200_000):
                digest.update(piece)
                if piece[0] & 15 == 0:
                    await asyncio.sleep(0.001)
            return digest.hexdigest()

        async def pour(conn: Any) -> None:
            await conn.send(data)
            conn.end()

        down, _, upward, _ = await asyncio.gather(drink(client), pour(server), drink(server), pour(client))
        assert down == upward == hashlib.sha256(data).hexdigest()
        await w.until(lambda: w.closed() == {"done": 1})
        assert w.stats.listeners["in"].bytes_sent_total == len(data)

    run(scenario())


def test_memory_for_a_stalled_reader_is_bounded(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        await w.connect()
        server = await up.accept()
        sent = 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                while True:
                    await server.send(bytes(1 << 16))
                    sent += 1 << 16
        await w.worker.counted()
        # The kernel's buffers and one pipe hold what was sent; the process itself holds at most one read.
        received = w.stats.clusters["up"].bytes_received_total
        written = w.stats.listeners["in"].bytes_sent_total
        assert 0 <= received - written <= 1 << 20
        assert sent < 64 << 20

    run(scenario())


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_is_passed_on_as_a_reset(run: Run, world: World, upstream: Upstream, side: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = await up.accept()
        await client.send(b"x")
        await server.recv()
        dying, other = (client, server) if side == "client" else (server, client)
        dying.reset()
        with pytest.raises(ConnectionResetError):
            await other.recv()
        assert w.closed() == {"reset": 1}

    run(scenario())


def test_what_an_upstream_said_before_it_died_still_arrives(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = await up.accept()
        await client.send(b"x" * 100_000)
        await server.recv(10)
        await server.send(b"no, thank you")
        server.close()  # with bytes unread: the kernel sends a reset
        assert await client.recv() == b"no, thank you"

    run(scenario())


async def fill(sender: Any, sink: Conn) -> None:
    """Send until the bytes wait in the proxy, since the reader does not read."""
    while not sink.full:
        try:
            sender.sock.send(bytes(1 << 16))
        except BlockingIOError:
            await asyncio.sleep(0.001)


async def joined(w: Any) -> TcpRelay:
    """The only relay, when it has both its ends."""
    await w.until(lambda: w.stats.clusters["up"].connections_total)
    ((relay,),) = (state.connections for state in w.worker._guests.states)
    assert isinstance(relay, TcpRelay)
    return relay


@pytest.fixture
def alert(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection is watched nearly at once."""
    monkeypatch.setattr("meshproxy.net.alarm.YOUTH", 0.01)


@pytest.mark.usefixtures("alert")
@pytest.mark.parametrize("upstream_writes", [False, True], ids=["silent upstream", "echo"])
def test_a_reset_is_heard_while_nobody_reads(
    run: Run, world: World, upstream: Upstream, upstream_writes: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = await up.accept()
        relay = await joined(w)
        assert relay._up is not None
        await fill(client, relay._up)
        if upstream_writes:
            await fill(server, relay._down)
        del relay
        client.reset()
        await w.until(lambda: w.closed() == {"reset": 1})
        with pytest.raises(ConnectionResetError):
            await server.recv_all()

    run(scenario())


@pytest.mark.usefixtures("alert")
@pytest.mark.parametrize("size", [5, 50_000])
def test_a_reset_right_behind_the_last_bytes_is_heard(
    run: Run, world: World, upstream: Upstream, size: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = await up.accept()
        await joined(w)
        server.sock.send(bytes(size))
        server.reset()  # and the proxy learns both in one turn
        assert await client.recv_exactly(size) == bytes(size)
        with pytest.raises(ConnectionResetError):
            await client.recv()
        assert w.closed() == {"reset": 1}

    run(scenario())


@pytest.mark.usefixtures("alert")
def test_a_peer_that_has_ended_and_then_fails_is_heard(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = await up.accept()
        client.end()
        assert await server.recv() == b""
        client.reset()
        await w.until(lambda: w.closed() == {"reset": 1})

    run(scenario())


@pytest.mark.parametrize("ends", [False, True])
def test_urgent_bytes_stop_nothing(run: Run, world: World, upstream: Upstream, ends: bool) -> None:
    """They are no part of the stream; whatever stands around them is."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        server = await up.accept()
        relay = await joined(w)
        assert relay._up is not None
        # What waits is spliced, and so is what follows.
        await fill(client, relay._up)
        before = relay._down.received

        async def pour() -> None:
            for _ in range(10):
                await client.send(b"x" * 200_000)
                client.sock.send(b"!", socket.MSG_OOB)
                await client.send(b"x" * 200_000)
            if ends:
                client.end()

        async def drink() -> None:
            heard = 0
            while heard < 4_000_000:
                piece = await server.recv(1 << 18)
                assert piece
                heard += piece.count(b"x")
            if ends:
                assert not (await server.recv_all()).strip(b"!")

        await asyncio.gather(pour(), drink())
        assert relay._down.received > before + 4_000_000

    run(scenario())


@pytest.mark.parametrize("side", ["client", "server"])
def test_silence_with_bytes_on_their_way_is_a_failure(run: Run, world: World, upstream: Upstream, side: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"timeouts": {"idle": "100s"}}))
        client = await w.connect()
        server = await up.accept()
        relay = await joined(w)
        assert relay._up is not None
        if side == "client":
            await fill(server, relay._down)
        else:
            await fill(client, relay._up)
        w.clock.advance(200)
        assert w.closed() == {"idle": 1}
        with pytest.raises(ConnectionResetError):
            await (client if side == "client" else server).recv_all()

    run(scenario())


def test_an_address_that_cannot_even_be_tried_is_a_failed_attempt(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        nowhere = "[fe80::1%nope]:80"
        await w.apply(config({"address": nowhere, "weight": 100}, up.address))
        client = await w.connect()
        server = await up.accept()
        await client.send(b"x")
        assert await server.recv() == b"x"
        assert w.stats.clusters["up"].endpoints[nowhere].connect_failures_total == 1

    run(scenario())


def test_the_next_endpoint_is_tried(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, gone = world(), upstream(), upstream()
        gone.close()
        await w.apply(config({"address": gone.address, "weight": 100}, up.address))
        client = await w.connect()
        server = await up.accept()
        await client.send(b"x")
        assert await server.recv() == b"x"
        endpoints = w.stats.clusters["up"].endpoints
        assert endpoints[gone.address].connect_failures_total == 1
        assert endpoints[up.address].connections_total == 1
        assert endpoints[gone.address].connections_active == 0

    run(scenario())


def test_when_nobody_answers_the_client_is_reset(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, gone = world(), [upstream() for _ in range(2)]
        for server in gone:
            server.close()
        await w.apply(config(*(server.address for server in gone)))
        with pytest.raises(ConnectionResetError):
            await (await w.connect()).recv()
        assert w.closed() == {"connect": 1}
        assert w.stats.clusters["up"].connect_failures_total == 2
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


def test_a_connect_timeout_leads_to_the_next_endpoint(
    run: Run, world: World, upstream: Upstream, tmp_path: Path
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        # A queue of length 0 that is full leaves a SYN unanswered.
        stuck = socket.create_server(("127.0.0.1", 0), backlog=0)
        crowd = [socket.socket() for _ in range(3)]
        for sock in crowd:
            sock.setblocking(False)
            assert sock.connect_ex(stuck.getsockname()) == errno.EINPROGRESS
        address = f"127.0.0.1:{stuck.getsockname()[1]}"
        await w.apply(config({"address": address, "weight": 100}, up.address))
        client = await w.connect()
        await w.until(lambda: w.stats.clusters["up"].connections_active)
        w.clock.advance(1.1)
        server = await up.accept()
        await client.send(b"x")
        assert await server.recv() == b"x"
        assert w.stats.clusters["up"].connect_timeouts_total == 1
        for sock in (*crowd, stuck):
            sock.close()

    run(scenario())


@pytest.mark.parametrize("where", ["listener", "cluster"])
def test_limits(run: Run, world: World, upstream: Upstream, where: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        limit = {"listener": {"max_connections": 2}} if where == "listener" else {"breaker": {"max_connections": 2}}
        await w.apply(config(up.address, **limit))
        clients = [await w.connect() for _ in range(2)]
        servers = [await up.accept() for _ in range(2)]
        with pytest.raises(ConnectionResetError):
            await (await w.connect()).recv()
        assert w.stats.listeners["in"].rejected["limit"] == 1
        clients[0].close()
        servers[0].close()
        await w.until(lambda: w.stats.listeners["in"].connections_active == 1)
        await w.connect()
        await up.accept()

    run(scenario())


def test_an_empty_cluster_serves_nobody(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(config({"address": "127.0.0.1:1", "weight": 0}))
        with pytest.raises(ConnectionResetError):
            await (await w.connect()).recv()
        assert w.stats.listeners["in"].rejected["no_endpoint"] == 1

    run(scenario())


def test_silence_ends_a_connection_and_traffic_keeps_it(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"timeouts": {"idle": "100s"}}))
        client = await w.connect()
        server = await up.accept()
        await w.until(lambda: w.stats.clusters["up"].connections_total)
        for _ in range(5):
            w.clock.advance(90)
            await client.send(b"x")
            assert await server.recv() == b"x"
        w.clock.advance(99)
        assert w.closed() == {}
        w.clock.advance(30)
        assert w.closed() == {"idle": 1}
        assert await client.recv() == b""
        assert await server.recv() == b""

    run(scenario())


def test_a_lifetime_ends_even_a_busy_connection(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"timeouts": {"lifetime": "10s", "idle": 0}}))
        client = await w.connect()
        server = await up.accept()
        await w.until(lambda: w.stats.clusters["up"].connections_total)
        w.clock.advance(9.9)
        await client.send(b"x")
        assert await server.recv() == b"x"
        w.clock.advance(0.2)
        assert w.closed() == {"lifetime": 1}
        with pytest.raises(ConnectionResetError):
            await client.recv()

    run(scenario())


@pytest.mark.parametrize("kind", ["ipv6", "unix", "abstract"])
def test_other_families(run: Run, world: World, upstream: Upstream, kind: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        w = world()
        if kind == "ipv6":
            up, listen = upstream(socket.AF_INET6, ("::1", 0)), "[::1]:0"
        else:
            up = upstream(socket.AF_UNIX, str(tmp_path / "up"))
            listen = f"unix:{tmp_path}/in" if kind == "unix" else f"unix:@meshproxy-test-{os.getpid()}"
        await w.apply(config(up.address, listener={"listen": listen}))
        client = await w.connect()
        server = await up.accept()
        await client.send(b"over " + kind.encode())
        assert await server.recv() == b"over " + kind.encode()
        client.end()
        server.end()
        await w.until(lambda: w.closed() == {"done": 1})
        w.end()
        assert not (tmp_path / "in").exists()

    run(scenario())


def test_a_stale_socket_file_is_replaced_and_a_live_one_is_not(
    run: Run, world: World, upstream: Upstream, tmp_path: Path
) -> None:
    async def scenario() -> None:
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(tmp_path / "in"))
        stale.close()
        said = config("127.0.0.1:1", listener={"listen": f"unix:{tmp_path}/in"})
        first = world()
        await first.apply(said)
        with pytest.raises(Exception, match="in use"):
            await world().apply(said)

    run(scenario())


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_proxy_headers_are_read_and_sent(run: Run, world: World, upstream: Upstream, version: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        listener = {"proxy_protocol": {"trusted": ["127.0.0.0/8"]}}
        await w.apply(config(up.address, listener=listener, proxy_protocol=version))
        client = await w.connect()
        header = b"PROXY TCP4 10.1.2.3 10.3.2.1 1234 443\r\n"
        for cut in range(len(header)):
            await client.send(header[cut : cut + 1])
            await asyncio.sleep(0)
        await client.send(b"payload")
        server = await up.accept()
        expected = {
            "v1": header,
            "v2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x03\x02\x01\x04\xd2\x01\xbb",
        }[version]
        assert await server.recv_exactly(len(expected) + 7) == expected + b"payload"

    run(scenario())


def test_without_an_inbound_header_the_real_addresses_are_sent(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, proxy_protocol="v1"))
        client = await w.connect()
        server = await up.accept()
        source, destination = client.sock.getsockname()[1], client.sock.getpeername()[1]
        expected = f"PROXY TCP4 127.0.0.1 127.0.0.1 {source} {destination}\r\n".encode()
        assert await server.recv_exactly(len(expected)) == expected

    run(scenario())


@pytest.mark.parametrize(
    ("trusted", "sent"),
    [("10.0.0.0/8", b"PROXY UNKNOWN\r\n"), ("127.0.0.1/32", b"GET / HTTP/1.1\r\n"), ("127.0.0.1/32", None)],
    ids=["untrusted", "no header", "silence"],
)
def test_without_a_header_from_a_trusted_source_nobody_comes_in(
    run: Run, world: World, upstream: Upstream, trusted: str, sent: bytes | None
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, listener={"proxy_protocol": {"trusted": [trusted]}}))
        with pytest.raises(ConnectionResetError):
            client = await w.connect()
            if sent is not None:
                await client.send(sent)
            else:
                await w.until(lambda: w.stats.listeners["in"].connections_active)
                w.clock.advance(5.1)
            await client.recv()
        assert w.stats.listeners["in"].rejected["proxy_protocol"] == 1
        assert w.stats.listeners["in"].connections_active == 0
        assert w.clock.pending == 0

    run(scenario())


def test_chains_by_source_and_port(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        chains = [
            {"match": {"sources": ["10.0.0.0/8"]}, "cluster": "a"},
            {"match": {"sources": ["192.0.2.0/24"], "ports": [443]}, "cluster": "b"},
        ]
        await w.apply(
            {
                "listeners": [
                    {
                        "name": "in",
                        "listen": "127.0.0.1:0",
                        "protocol": "tcp",
                        "chains": chains,
                        "proxy_protocol": {"trusted": ["127.0.0.1/32"]},
                    }
                ],
                "clusters": {"a": {"endpoints": [a.address]}, "b": {"endpoints": [b.address]}},
            }
        )
        for source, port, server in (("10.9.9.9", 80, a), ("192.0.2.7", 443, b)):
            client = await w.connect()
            await client.send(f"PROXY TCP4 {source} 10.0.0.1 1 {port}\r\n{source}".encode())
            assert await (await server.accept()).recv() == source.encode()
        stranger = await w.connect()
        await stranger.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 80\r\n")
        with pytest.raises(ConnectionResetError):
            await stranger.recv()
        assert w.stats.listeners["in"].rejected["no_chain"] == 1

    run(scenario())


def test_no_connection_leaves_a_cycle_behind(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))

        async def exchange(how: str) -> None:
            client = await w.connect()
            server = await up.accept()
            await client.send(bytes(300_000))
            await server.recv_exactly(300_000)
            if how == "reset":
                client.reset()
            else:
                client.close()
            server.close()
            await w.until(lambda: not w.stats.listeners["in"].connections_active)

        await exchange("done")
        gc.collect()
        gc.disable()
        try:
            for how in ("done", "reset", "done"):
                await exchange(how)
            await asyncio.sleep(0)
            left = [o for o in gc.get_objects() if isinstance(o, TcpRelay | Conn | Lifespan | Dial | Lease)]
            assert left == []
        finally:
            gc.enable()

    run(scenario())


def test_a_rate_of_connections_is_held_and_comes_back_with_time(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rate = {"rate_limit": {"connections": 10, "per": "1s", "burst": 3}}
        await w.apply(config(up.address, listener={"filters": [rate]}))
        stats = w.stats.listeners["in"]

        async def come(most: int) -> int:
            """How many of them get in."""
            before = stats.connections_total
            seen = before + stats.rejected["rate_limit"]
            clients = [socket.create_connection(w.address()) for _ in range(most)]
            await w.until(lambda: stats.connections_total + stats.rejected["rate_limit"] == seen + most)
            for client in clients:
                client.close()
            return int(stats.connections_total - before)

        assert await come(5) == 3
        w.clock.advance(0.2)
        assert await come(5) == 2
        w.clock.advance(60)
        assert await come(5) == 3

    run(scenario())
