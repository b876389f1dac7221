"""Traffic and the fitness of endpoints: who is unfit gets nothing new, and what waited there is closed."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from meshproxy.cluster.outlier import Ejection
from meshproxy.model import Config, decode
from meshproxy.net import dial
from meshproxy.plan.verdicts import check_of, judge_of
from tests.checked import BAD, GOOD, Checked
from tests.names import Names, resolved_by
from tests.relay.conversation import config as http
from tests.relay.conversation import ended, head_of, heard, idle
from tests.relay.test_names import on_one_port
from tests.relay.test_names import tcp as tcp_to

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ONE, TWO = "127.0.0.1", "127.0.0.2"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


class Pair:
    """Two endpoints, each with a port where it is asked how it is, and a worker that has both."""

    def __init__(self, w: Any, upstream: Upstream) -> None:
        self.w = w
        self.one, self.two = upstream(address=(ONE, 0)), upstream(address=(TWO, 0))
        self.port, self.checked = on_one_port(Checked, ONE, TWO)

    def config(self, *endpoints: str, **more: Any) -> dict[str, Any]:
        health = {"path": "/ready", "port": self.port, "interval": "1s", "jitter": 0}
        return http(*(endpoints or (self.one.address, self.two.address)), health=health, **more)

    def answer(self, *well: bool | None) -> None:
        """From now on, each of them: well, badly, or not at all."""
        for server, each in zip(self.checked, well, strict=True):
            server.answer = None if each is None else GOOD if each else BAD

    async def until(self, *found: list[str]) -> None:
        """While time goes on, until this is what is held against each of them."""
        async with asyncio.timeout(10):
            while doubts(self.w) != [*found]:
                self.w.clock.advance(0.1)
                await asyncio.sleep(0.002)


def doubts(w: Any) -> list[list[str]]:
    group = w.worker.current.groups["up"]
    return [sorted(endpoint.doubts) for endpoint, _ in group._members.found]


async def get(client: Any, up: Any, reply: bytes) -> Any:
    """One exchange, over a new connection to this upstream."""
    await client.send(GET)
    peer = await up.accept()
    await head_of(peer)
    await peer.send(reply)
    await heard(client, reply)
    return peer


def test_who_is_found_unfit_before_the_first_request_gets_none(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        p = Pair(world(), upstream)
        p.answer(False, True)
        await p.w.apply(p.config(pool={"max_idle": 0}))
        client = await p.w.connect()
        for _ in range(3):
            await get(client, p.two, OK)
        assert doubts(p.w) == [["health"], []]

    run(scenario())


def test_who_becomes_unfit_loses_what_waits_there_and_comes_back(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        p = Pair(world(), upstream)
        await p.w.apply(p.config())
        first, second = await p.w.connect(), await p.w.connect()
        kept = await get(first, p.one, OK)
        other = await get(second, p.two, OK)
        assert idle(p.w) == 2
        p.answer(False, True)
        await p.until(["health"], [])
        assert idle(p.w) == 1
        assert await ended(kept)
        for _ in range(3):
            await first.send(GET)
            await head_of(other)
            await other.send(OK)
            await heard(first, OK)
        p.answer(True, True)
        await p.until([], [])
        await get(first, p.one, OK)

    run(scenario())


def test_all_endpoints_are_bad(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        p = Pair(world(), upstream)
        p.answer(False, False)
        await p.w.apply(p.config())
        assert doubts(p.w) == [["health"], ["health"]]
        deque(p.w.fleet.fitness.count())
        assert p.w.process.health["up"].fit == 0
        p.answer(True, False)
        await p.until([], ["health"])
        await get(await p.w.connect(), p.one, OK)

    run(scenario())


def test_a_check_that_hangs_does_not_hold_up_the_traffic(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        p = Pair(world(), upstream)
        p.answer(None, True)
        applying = asyncio.create_task(p.w.apply(p.config()))
        await p.w.until(lambda: p.w.process.health)
        p.w.clock.advance(1)
        await applying
        assert doubts(p.w) == [["health"], []]
        await get(await p.w.connect(), p.two, OK)

    run(scenario())


def test_verdicts_over_reloads(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        p = Pair(world(), upstream)
        w = p.w
        p.answer(False, True)
        said = p.config()
        await w.apply(said)
        said["drain"] = {"timeout": "9s"}
        p.answer(None, None)
        await w.apply(said)
        assert doubts(w) == [["health"], []], "it does not concern them"

        p.answer(False, True)
        said["clusters"]["up"]["health"]["expect"] = {"statuses": [500]}
        await w.fleet.prepare(decode(Config, said))
        assert doubts(w) == [["health"], []], "what is prepared is not in force"
        w.fleet.abort()
        assert doubts(w) == [["health"], []]
        assert len(w.worker._verdicts.unfit) == 1, "what was given up is forgotten"

        await w.apply(said)
        assert doubts(w) == [[], ["health"]]
        del said["clusters"]["up"]["health"]
        await w.apply(said)
        assert doubts(w) == [[], []]
        assert w.worker._verdicts.unfit == set()
        assert w.process.health == {}

    run(scenario())


def test_addresses_of_a_name_are_endpoints_of_their_own(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names()
    resolved_by(lambda _: names, monkeypatch)

    async def scenario() -> None:
        p = Pair(world(), upstream)
        p.answer(True, False)
        names.have("books.shop", ONE)
        await p.w.apply(p.config("books.shop:80"))
        assert (doubts(p.w), p.checked[1].asked) == ([[]], 0)
        names.have("books.shop", ONE, TWO)
        await names.again(p.w.clock, "books.shop")
        await p.w.until(lambda: doubts(p.w) == [[], ["health"]])
        names.have("books.shop", TWO)
        await names.again(p.w.clock, "books.shop")
        assert doubts(p.w) == [["health"]]

    run(scenario())


JUDGE: dict[str, Any] = {"outlier": {"consecutive_5xx": 2}, "pool": {"max_idle": 0}}


def test_who_fails_under_the_traffic_gets_none_for_a_while(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        await w.apply(http(one.address, two.address, **JUDGE))
        client = await w.connect()
        for up, reply in ((one, BUSY), (two, OK), (one, BUSY), (two, OK), (two, OK), (two, OK)):
            await get(client, up, reply)
        assert doubts(w) == [["outlier"], []]
        assert w.stats.clusters["up"].ejections["5xx"] == 1
        deque(w.fleet.fitness.count())
        assert w.process.health["up"].fit == 1
        assert "WARNING endpoint-ejected" in w.logged[-1]
        assert "reason=5xx seconds=30.0" in w.logged[-1]
        w.clock.advance(30)
        assert doubts(w) == [[], []]
        deque(w.fleet.fitness.count())
        assert w.process.health["up"].fit == 2

    run(scenario())


def test_ejections_over_reloads(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        said = http(one.address, two.address, **JUDGE)
        await w.apply(said)
        client = await w.connect()
        for up, reply in ((one, BUSY), (two, OK), (one, BUSY)):
            await get(client, up, reply)
        said["clusters"]["up"]["connect_timeout"] = "3s"
        await w.apply(said)
        assert doubts(w) == [["outlier"], []], "it does not concern them"
        said["clusters"]["up"]["outlier"] = {"consecutive_5xx": 7}
        await w.apply(said)
        assert doubts(w) == [[], []], "another judge begins anew"
        assert w.fleet.fitness.ejections.known == {}
        assert w.worker._verdicts.ejected == {}

    run(scenario())


def test_tcp_whose_connects_fail(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        await w.apply(tcp_to(one.address, two.address, outlier={"consecutive_connect": 2, "consecutive_5xx": 0}))
        for round_ in range(5):
            if round_ in (1, 3):
                one.close()
            client = await w.connect()
            if round_ != 0:
                await two.accept()
            client.close()
            if round_ < 2:
                assert doubts(w) == [[], []]
        await w.until(lambda: doubts(w) == [["outlier"], []])
        assert w.stats.clusters["up"].ejections["connect"] == 1
        assert w.stats.clusters["up"].connect_failures_total == 2

    run(scenario())


def test_an_address_that_a_name_has_later_is_judged_too(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names()
    resolved_by(lambda _: names, monkeypatch)

    async def scenario() -> None:
        w = world()
        port, (one, two) = on_one_port(lambda *address: upstream(address=address), ONE, TWO)
        names.have("books.shop", ONE)
        await w.apply(http(f"books.shop:{port}", **JUDGE))
        names.have("books.shop", ONE, TWO)
        await names.again(w.clock, "books.shop")
        assert doubts(w) == [[], []]
        client = await w.connect()
        for up, reply in ((one, OK), (two, BUSY), (one, OK), (two, BUSY), (one, OK), (one, OK)):
            await get(client, up, reply)
        assert doubts(w) == [[], ["outlier"]]
        names.have("books.shop", TWO)
        await names.again(w.clock, "books.shop")
        assert doubts(w) == [["outlier"]], "who stays stays as it is"

    run(scenario())


async def attempt(w: Any) -> None:
    """A connection, however it ends."""
    with suppress(ConnectionError):
        client = await w.connect()
        client.end()
        await client.recv_all()


def test_a_connection_that_is_made_ends_a_row_of_those_that_are_not(
    run: Run, world: World, upstream: Upstream, tmp_path: Any
) -> None:
    async def scenario() -> None:
        w, path = world(), str(tmp_path / "up")
        await w.apply(tcp_to(f"unix:{path}", outlier={"consecutive_connect": 2, "max_ejected": 100}))
        await attempt(w)
        up = upstream(socket.AF_UNIX, path)
        connected = asyncio.create_task(attempt(w))
        (await up.accept()).close()
        await connected
        up.close()
        os.unlink(path)
        await attempt(w)
        assert doubts(w) == [[]]
        await attempt(w)
        assert doubts(w) == [["outlier"]]

    run(scenario())


def test_what_is_wrong_with_this_host_is_not_held_against_an_endpoint(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_descriptor(*_: Any) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def scenario() -> None:
        w = world()
        said = tcp_to("127.0.0.1:1", outlier={"consecutive_connect": 1, "max_ejected": 100}, health={})
        with monkeypatch.context() as patch:
            patch.setattr(dial, "new_socket", no_descriptor)
            await w.apply(said)
            await attempt(w)
        assert w.stats.clusters["up"].connect_failures_total == 1
        assert w.process.health["up"].checks["unable"] == 1
        assert doubts(w) == [[]]

    run(scenario())


def test_what_is_told_before_there_is_a_configuration_holds_from_its_first_moment(
    run: Run, world: World, upstream: Upstream
) -> None:
    """As a worker hears it that takes the place of another."""

    async def scenario() -> None:
        w, one, two = world(), upstream(), upstream()
        said = http(one.address, two.address, health={"path": "/ready"}, outlier={})
        (cluster,) = decode(Config, said).clusters
        w.worker.hear_health({check_of(cluster) + one.address: False, "gone 0123456789abcdef 10.0.0.1:80": False})
        w.worker.hear_ejected({judge_of(cluster) + two.address: Ejection(w.clock.now() + 9, 2, "5xx")})
        await w.worker.prepare(decode(Config, {**said, "listeners": []}), lambda _: (), {})
        await w.worker.commit()
        assert doubts(w) == [["health"], ["outlier"]]
        assert len(w.worker._verdicts.unfit) == 1, "what nobody checks is forgotten"
        w.clock.advance(9)
        assert doubts(w) == [["health"], []]

    run(scenario())


def test_many_verdicts_at_once_are_one_change(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        addresses = [f"127.0.0.{number}:1" for number in range(1, 201)]
        said = decode(Config, {"clusters": http(*addresses, health={})["clusters"]})
        await w.worker.prepare(said, lambda _: (), {})
        await w.worker.commit()
        cluster = w.worker.current.groups["up"].cluster
        build, built = cluster._build, []

        def counted() -> Any:
            built.append(True)
            return build()

        cluster._build = counted
        check = check_of(said.clusters[0])
        w.worker.hear_health({check + address: False for address in addresses})
        assert doubts(w) == [["health"]] * 200
        assert cluster.pick(User(), (), User()) is not None
        assert len(built) == 1
        w.worker.hear_health({check + address: False for address in addresses})
        assert cluster.pick(User(), (), User()) is not None
        assert len(built) == 1, "this was no change"

    run(scenario())


class User:
    client = None

    def drain(self) -> None: ...
