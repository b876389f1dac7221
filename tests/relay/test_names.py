"""Endpoints by name: the addresses of a name change, and only the connections to those that are gone are concerned."""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, decode
from meshproxy.server.addresses import FIRST_WITHIN
from tests.names import Names, resolved_by
from tests.relay.conversation import answered, ended, head_of, heard, idle
from tests.relay.conversation import config as http

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

ONE, TWO, THREE = "127.0.0.1", "127.0.0.2", "127.0.0.3"
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    resolved_by(lambda _: found, monkeypatch)
    return found


def tcp(*endpoints: object, protocol: str = "tcp", listen: str = "127.0.0.1:0", **cluster: object) -> dict[str, Any]:
    return {
        "drain": {"timeout": "10s"},
        "listeners": [{"name": "in", "listen": listen, "protocol": protocol, "cluster": "up"}],
        "clusters": {"up": {"endpoints": list(endpoints), **cluster}},
    }


def on_one_port(make: Callable[[str, int], Any], *hosts: str) -> tuple[int, list[Any]]:
    """What `make` binds at each of the hosts, all of them at a port that is free there."""
    while True:
        made = [make(hosts[0], 0)]
        port = made[0].sock.getsockname()[1]
        try:
            made += [make(host, port) for host in hosts[1:]]
        except OSError:
            for each in made:
                each.sock.close()
            continue
        return port, made


async def served_by(w: Any, upstreams: list[Any]) -> Any:
    """A connection, both its ends, and the number of the upstream at which it has arrived."""
    client = await w.connect()
    tasks = [asyncio.create_task(upstream.accept()) for upstream in upstreams]
    done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        task.cancel()
    (first,) = done
    return client, first.result(), tasks.index(first)


def endpoints(w: Any) -> dict[str, int]:
    """How many connections each was given; by address."""
    return {name: stats.connections_total for name, stats in w.stats.clusters["up"].endpoints.items()}


def test_tcp_goes_to_each_address_in_turn_and_counts_by_address(
    run: Run, world: World, upstream: Upstream, names: Names
) -> None:
    async def scenario() -> None:
        port, ups = on_one_port(lambda *address: upstream(address=address), ONE, TWO)
        names.have("books.shop", ONE, TWO)
        w = world()
        await w.apply(tcp(f"Books.Shop:{port}"))
        assert [(await served_by(w, ups))[2] for _ in range(4)] == [0, 1, 0, 1]
        assert endpoints(w) == {f"{ONE}:{port}": 2, f"{TWO}:{port}": 2}

    run(scenario())


def test_each_address_has_the_weight_of_its_name(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        port, ups = on_one_port(lambda *address: upstream(address=address), ONE, TWO, THREE)
        names.have("books", ONE, TWO)
        names.have("more", TWO)
        w = world()
        both = [{"address": f"books:{port}", "weight": 2}, f"{THREE}:{port}", {"address": f"more:{port}", "weight": 3}]
        await w.apply(tcp(*both))
        turns = [(await served_by(w, ups))[2] for _ in range(8)]
        assert [turns.count(number) for number in range(3)] == [2, 5, 1]

    run(scenario())


def test_of_tcp_only_connections_to_what_is_gone_have_an_end(
    run: Run, world: World, upstream: Upstream, names: Names
) -> None:
    async def scenario() -> None:
        port, ups = on_one_port(lambda *address: upstream(address=address), ONE, TWO, THREE)
        names.have("books", ONE, TWO)
        w = world()
        await w.apply(tcp(f"books:{port}"))
        at_one, at_two = await served_by(w, ups), await served_by(w, ups)
        assert (at_one[2], at_two[2]) == (0, 1)
        names.have("books", TWO, THREE)
        await names.again(w.clock, "books")
        assert endpoints(w) == {f"{TWO}:{port}": 1, f"{THREE}:{port}": 0}
        assert {(await served_by(w, ups))[2] for _ in range(2)} == {1, 2}
        w.clock.advance(5)
        await at_one[0].send(b"still there")
        assert await at_one[1].recv() == b"still there"
        w.clock.advance(10)
        assert w.closed() == {"drain": 1}
        with pytest.raises(ConnectionResetError):
            await at_one[0].recv()
        await at_two[0].send(b"stays")
        assert await at_two[1].recv() == b"stays"
        assert w.stats.clusters["up"].connections_total == 4

    run(scenario())


def test_of_http_the_pool_of_what_stays_is_used_again_and_that_of_what_is_gone_is_closed(
    run: Run, world: World, upstream: Upstream, names: Names
) -> None:
    async def scenario() -> None:
        port, ups = on_one_port(lambda *address: upstream(address=address), ONE, TWO)
        names.have("books", ONE, TWO)
        w = world()
        await w.apply(http(f"books:{port}"))
        client = await w.connect()
        servers = []
        for up in ups:
            await client.send(GET)
            servers.append(await up.accept())
            assert await head_of(servers[-1]) == GET
            await servers[-1].send(OK)
            await heard(client, OK)
        assert idle(w) == 2
        names.have("books", TWO)
        await names.again(w.clock, "books")
        assert await ended(servers[0])
        assert idle(w) == 1
        for _ in range(3):
            await client.send(GET)
            assert await head_of(servers[1]) == GET
            await servers[1].send(OK)
            await heard(client, OK)
        assert answered(w) == {"200": 5}
        assert endpoints(w) == {f"{TWO}:{port}": 1}

    run(scenario())


def test_an_answer_under_way_ends_where_it_began(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        port, ups = on_one_port(lambda *address: upstream(address=address), ONE, TWO)
        names.have("books", ONE)
        w = world()
        await w.apply(http(f"books:{port}"))
        client = await w.connect()
        await client.send(GET)
        server = await ups[0].accept()
        await head_of(server)
        names.have("books", TWO)
        await names.again(w.clock, "books")
        await server.send(OK)
        await heard(client, OK)
        assert await ended(server)
        await client.send(GET)
        await head_of(await ups[1].accept())

    run(scenario())


class Datagrams:
    def __init__(self, host: str, port: int) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, port))
        self.sock.setblocking(False)

    async def receive(self) -> tuple[bytes, Any]:
        while True:
            try:
                return self.sock.recvfrom(65535)
            except BlockingIOError:
                await asyncio.sleep(0.001)


def test_udp_by_name(run: Run, world: World, names: Names) -> None:
    async def scenario() -> None:
        port, (one, two) = on_one_port(Datagrams, ONE, TWO)
        _, (client, other) = on_one_port(Datagrams, ONE, TWO)
        names.have("books", ONE)
        w = world()
        await w.apply(tcp(f"books:{port}", protocol="udp"))
        client.sock.sendto(b"a", w.address())
        data, source = await one.receive()
        names.have("books", TWO)
        await names.again(w.clock, "books")
        one.sock.sendto(data + b" back", source)
        assert (await client.receive())[0] == b"a back"
        other.sock.sendto(b"b", w.address())
        assert (await two.receive())[0] == b"b"
        w.clock.advance(11)
        assert w.closed() == {"drain": 1}
        client.sock.sendto(b"c", w.address())
        assert (await two.receive())[0] == b"c"
        for each in (one, two, client, other):
            each.sock.close()

    run(scenario())


# When DNS fails


def test_before_there_is_an_address_requests_are_answered_503(
    run: Run, world: World, upstream: Upstream, names: Names
) -> None:
    async def scenario() -> None:
        names.fail("books", "SERVFAIL")
        up, w = upstream(), world()
        port = up.sock.getsockname()[1]
        await w.apply(http(f"books:{port}"))
        client = await w.connect()
        await client.send(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        assert answered(w) == {"503 UH": 1}
        names.have("books", ONE)
        await names.again(w.clock, "books")
        later = await w.connect()
        await later.send(GET)
        assert await head_of(await up.accept()) == GET

    run(scenario())


def test_before_there_is_an_address_connections_are_refused(run: Run, world: World, names: Names) -> None:
    async def scenario() -> None:
        w = world()
        applying = asyncio.create_task(w.apply(tcp("silent:1")))
        await w.until(lambda: names.asked)
        w.clock.advance(FIRST_WITHIN)
        await applying
        with pytest.raises(ConnectionResetError):
            await (await w.connect()).recv()
        assert w.stats.listeners["in"].rejected["no_endpoint"] == 1

    run(scenario())


def test_the_last_good_addresses_stay(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        names.have("books", ONE)
        up, w = upstream(), world()
        await w.apply(tcp(f"books:{up.sock.getsockname()[1]}"))
        names.fail("books", "there is no such name")
        for _ in range(3):
            await names.again(w.clock, "books")
        await served_by(w, [up])
        assert w.process.resolutions_failed_total == 3

    run(scenario())


# Beside reloads


@pytest.mark.parametrize("steps", [("books", ONE), (ONE, "books"), ("books", "books")])
def test_an_address_keeps_what_it_has_however_a_new_configuration_calls_it(
    run: Run, world: World, upstream: Upstream, names: Names, steps: tuple[str, str]
) -> None:
    async def scenario() -> None:
        names.have("books", ONE)
        up, w = upstream(), world()
        port = up.sock.getsockname()[1]
        await w.apply(http(f"{steps[0]}:{port}"))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await w.apply(http(f"{steps[1]}:{port}", connect_timeout="9s"))
        other = await w.connect()
        await other.send(GET)
        assert await head_of(server) == GET
        assert endpoints(w) == {f"{ONE}:{port}": 1}

    run(scenario())


@pytest.mark.parametrize("end", ["commit", "abort", "refused"])
def test_a_change_while_a_configuration_is_prepared_is_taken_when_that_is_over(
    run: Run, world: World, upstream: Upstream, names: Names, end: str
) -> None:
    async def scenario() -> None:
        port, ups = on_one_port(lambda *address: upstream(address=address), ONE, TWO)
        names.have("books", ONE)
        w = world()
        await w.apply(tcp(f"books:{port}"))
        before = list(endpoints(w))
        said: Config = decode(Config, tcp(f"books:{port}", connect_timeout="9s"))

        def refuse(*_: object) -> None:
            names.have("books", TWO)
            w.worker.hear({"books": (TWO,)})
            raise Invalid([])

        if end == "refused":
            said = decode(Config, tcp(f"books:{port}", listen="127.0.0.2:0"))
            w.fleet.doors.share, share = refuse, w.fleet.doors.share
            with pytest.raises(Invalid):
                await w.fleet.prepare(said)
            w.fleet.doors.share = share
        else:
            await w.fleet.prepare(said)
            names.have("books", TWO)
            await names.again(w.clock, "books")
            assert list(endpoints(w)) == before
            if end == "commit":
                await w.fleet.commit()
            else:
                w.fleet.abort()
        assert endpoints(w) == {f"{TWO}:{port}": 0}
        assert (await served_by(w, ups))[2] == 1

    run(scenario())


def test_of_a_name_that_no_configuration_has_nothing_is_left(run: Run, world: World, names: Names) -> None:
    async def scenario() -> None:
        names.have("books", ONE)
        names.have("other", ONE)
        w = world()
        await w.apply(tcp("books:1", "127.0.0.1:2"))
        await w.fleet.prepare(decode(Config, tcp("other:1")))
        w.fleet.abort()
        w.worker.hear({"other": (ONE,)})
        w.worker.abort()
        assert w.worker._rim.known == {"books": (ONE,)}
        await w.apply(tcp("127.0.0.1:2"))
        assert w.worker._rim.known == {}
        assert endpoints(w) == {"127.0.0.1:2": 0}
        assert w.clock.pending == 0

    run(scenario())


def test_what_is_gone_is_freed_without_the_collector(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        port, _ = on_one_port(lambda *address: upstream(address=address), ONE, TWO)
        names.have("books", ONE)
        w = world()
        await w.apply(tcp(f"books:{port}"))
        gc.collect()
        gc.disable()
        try:
            ((named,),) = w.worker.current.named.values()
            gone = weakref.ref(named.cluster.choose)
            del named
            names.have("books", TWO)
            await names.again(w.clock, "books")
            assert gone() is None
        finally:
            gc.enable()

    run(scenario())
