"""The connection to a Redis that keeps count: what breaks, hangs or lies, and who hears of it when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.core.ledger import FlowTerms, SharedTerms
from meshproxy.model import Config, Named, decode
from meshproxy.model.limits import Redis
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.schema.kinds import Secret
from meshproxy.server.tally import FIRST_REST, GREETED_WITHIN, PREFIX, Tallies
from meshproxy.wire.resp import command
from tests.conftest import Upstream

Run = Callable[[Coroutine[Any, Any, None]], None]
FLOW = FlowTerms(10, 1, 20)
PING = command(b"PING")


def config(*addresses: str, **more: Any) -> Config:
    filters = [
        {"rate_limit": {"requests": 10, "burst": 20, "redis": {"address": address, "key": "web", **more}}}
        for address in addresses
    ]
    found: Config = decode(Config, {"routes": {"web": [{"reply": {}, "filters": filters}]}})
    return found


class Scene:
    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.server = Upstream()
        self.process = ProcessStats("test")
        self.lines: list[str] = []
        self.known: dict[str, tuple[str, ...]] = {}
        log = Log(self.lines.append, clock=clock.now)
        self.tallies = Tallies(asyncio.get_running_loop(), clock, self.known, self.process, log)
        self.told: list[tuple[int, float]] = []

    def begin(self, **more: Any) -> None:
        self.tallies.keep(config(self.server.address, **more))
        (self.redis,) = list(decode_redis(config(self.server.address, **more)))

    def draw(self, wanted: int = 5) -> None:
        self.tallies.draw(SharedTerms(FLOW, self.redis), wanted, lambda *told: self.told.append(told))

    async def greeted(self) -> Any:
        peer = await self.server.accept()
        assert await peer.recv_exactly(len(PING)) == PING
        await peer.send(b"+PONG\r\n")
        await self.until(lambda: self.process.redis_up[f"{self.server.address}/0"] == 1)
        return peer

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


def decode_redis(said: Config) -> list[Redis]:
    return [each for table in said.routes for each in table.redis]


def test_it_greets_and_then_draws(run: Run, clock: Any) -> None:
    async def scenario() -> None:
        s = Scene(clock)
        s.begin(username="mesh", password="geheim", database=3)
        s.draw()
        peer = await s.server.accept()
        greeting = command(b"AUTH", b"mesh", b"geheim") + command(b"SELECT", b"3") + PING
        assert await peer.recv_exactly(len(greeting)) == greeting
        await peer.send(b"+OK\r\n+OK\r\n+PO")
        await peer.send(b"NG\r\n")
        asked = await peer.recv()
        assert asked.startswith(b"*7\r\n$4\r\nEVAL\r\n")
        assert asked.endswith(command(PREFIX + b"web", b"100000.000000", b"2000000.000", b"5")[4:])
        await peer.send(b"*2\r\n:4\r\n:0\r\n")
        await s.until(lambda: s.told)
        s.draw()
        await peer.send(b"*2\r\n:0\r\n:1500000\r\n")
        await s.until(lambda: len(s.told) == 2)
        assert s.told == [(4, 0.0), (0, 1.5)]
        s.tallies.keep(Config())
        assert s.process.redis_up == {}
        s.draw()
        assert s.told[2:] == [(-1, 0.0)]
        assert "geheim" not in "".join(s.lines) + repr(s.redis)

    run(scenario())


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", -1),
        (b"-ERR unknown command 'EVAL', with args beginning with: 'geheim'\r\n", -1),
        (b"*2\r\n:-4\r\n:0\r\n", -1),
        (b"*1\r\n:1\r\n", -1),
        (b"+OK\r\n", -1),
        (b"*2\r\n:1\r\n:0\r\n*2\r\n:1\r\n:0\r\n", 1),
        (b"", -1),
    ],
)
def test_what_is_no_answer_ends_the_connection_and_nobody_waits(run: Run, clock: Any, said: bytes, told: int) -> None:
    async def scenario() -> None:
        s = Scene(clock)
        s.begin()
        peer = await s.greeted()
        s.draw()
        await peer.recv()
        if said:
            await peer.send(said)
        else:
            peer.reset()
        await s.until(lambda: s.process.redis_up[f"{s.server.address}/0"] == 0)
        assert s.told == [(told, 0.0)]
        s.told.clear()
        s.draw()
        assert s.told == [(-1, 0.0)], "at once"
        assert "geheim" not in "".join(s.lines)
        assert s.process.redis_failures_total == {f"{s.server.address}/0": 1}
        s.clock.advance(FIRST_REST)
        await s.greeted()
        s.tallies.close()

    run(scenario())


def test_a_draw_waits_for_its_timeout_and_no_longer(run: Run, clock: Any) -> None:
    async def scenario() -> None:
        s = Scene(clock)
        s.begin(timeout="50ms")
        peer = await s.greeted()
        s.draw()
        s.clock.advance(0.03)
        s.draw()
        s.clock.advance(0.019)
        assert s.told == []
        s.clock.advance(0.001)
        assert s.told == [(-1, 0.0)] * 2
        assert "too slow" in "".join(s.lines)
        await peer.recv()
        s.tallies.close()

    run(scenario())


def test_one_that_takes_connections_and_says_nothing_is_tried_more_and_more_seldom(run: Run, clock: Any) -> None:
    async def scenario() -> None:
        s = Scene(clock)
        s.begin()
        tries, began = 0, s.clock.now()
        while s.clock.now() < began + 60:
            s.clock.advance(0.05)
            await asyncio.sleep(0)
            tries = max(tries, *s.process.redis_failures_total.values())
        assert 9 <= tries <= 25
        s.draw()
        s.clock.advance(GREETED_WITHIN)
        assert s.told == [(-1, 0.0)]
        s.tallies.close()

    run(scenario())


def test_a_name_is_asked_for_when_it_is_needed(run: Run, clock: Any) -> None:
    async def scenario() -> None:
        s = Scene(clock)
        host, port = s.server.sock.getsockname()
        s.redis = Redis(Named("redis.limits", port), "web")
        said = config(f"redis.limits:{port}")
        assert list(said.names) == ["redis.limits"]
        s.tallies.keep(said)
        s.draw()
        assert s.told == [(-1, 0.0)]
        assert "name not resolved" in "".join(s.lines)
        s.known["redis.limits"] = (host,)
        s.clock.advance(FIRST_REST)
        peer = await s.server.accept()
        assert await peer.recv_exactly(len(PING)) == PING
        s.tallies.close()

    run(scenario())


def test_a_reload_that_does_not_concern_it_keeps_the_connection(run: Run, clock: Any) -> None:
    async def scenario() -> None:
        s = Scene(clock)
        s.begin()
        peer = await s.greeted()
        other = Upstream()
        s.tallies.keep(config(s.server.address, other.address))
        await other.accept()
        s.draw()
        assert (await peer.recv()).startswith(b"*7\r\n")
        s.tallies.keep(config(other.address))
        assert s.told == [(-1, 0.0)], "who waits is told"
        assert list(s.process.redis_up) == [f"{other.address}/0"]
        s.tallies.close()

    run(scenario())


def test_two_secrets_are_two_connections() -> None:
    one, two = (Redis(Named("a.b", 1), "k", password=Secret.of(text)) for text in ("x", "y"))
    assert one != two
