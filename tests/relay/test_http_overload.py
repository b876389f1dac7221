"""Conversations with a worker that has too much to do, stage by stage, and back.

`>>` is what happens, `<<` what must follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.core.overload import CALM, CONNECTIONS, KEEP_ALIVE, LOW, NONE, STAGES
from tests.relay.conversation import answered, config, ended, head_of, heard

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
USED = {NONE: 0.5, KEEP_ALIVE: 0.91, LOW: 0.96, CONNECTIONS: 0.98}


class Memory:
    """How much of it is used, as a test wants it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used = USED[NONE]
        monkeypatch.setattr("meshproxy.server.container.memory_share", lambda: self.used)

    def becomes(self, w: Any, stage: int) -> None:
        self.used = USED[stage]
        # Long enough to fall from any to any, and to look at the memory, which is done once a second
        w.clock.advance(1 if stage > w.worker.overload.stage else 4 * (CALM + 1))
        assert w.worker.overload.stage == stage


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    return Memory(monkeypatch)


def ranked(*endpoints: str, listener: Any = None, overload: Any = None, high: bool = True) -> dict[str, Any]:
    """A rule of each priority: by its path."""
    rules: list[dict[str, Any]] = [
        {"name": "low", "match": {"path": {"prefix": "/low"}}, "priority": "low", "cluster": "up"},
        {"name": "normal", "cluster": "up"},
    ]
    if high:
        rules.append({"name": "high", "match": {"path": {"prefix": "/high"}}, "priority": "high", "cluster": "up"})
    timeouts = {"idle": "1h"}
    found = config(*endpoints, rules=rules, listener={"timeouts": timeouts, **(listener or {})}, pool={"idle": 0})
    return {"overload": overload or {}, **found}


def get(path: str) -> bytes:
    return f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def asked(w: Any, up: Any, path: str, client: Any = None) -> tuple[bytes, bool]:
    """The first line of what it is answered, and whether the connection ends then."""
    client = client or await w.connect()
    await client.send(get(path))
    answer = asyncio.ensure_future(head_of(client))
    waiting = asyncio.ensure_future(up.accept()) if not hasattr(up, "server") else None
    while not answer.done():
        if waiting is not None and waiting.done():
            up.server = waiting.result()
            waiting = None
            await head_of(up.server)
            await up.server.send(OK)
        elif hasattr(up, "server"):
            reading = asyncio.ensure_future(head_of(up.server))
            await asyncio.wait([answer, reading], return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await up.server.send(OK)
            else:
                reading.cancel()
        await asyncio.sleep(0)
    if waiting is not None:
        waiting.cancel()
    head = answer.result()
    body = {b"200": b"hi", b"503": b"overloaded\n"}[head.split()[1]]
    await heard(client, body)
    closes = b"Connection: close\r\n" in head
    if closes:
        assert await ended(client)
    if b"503" in head:
        assert b"Retry-After: 3\r\n" in head
    return head.split()[1], closes


async def turned_away(w: Any) -> bool:
    """Perhaps before the client knows that it is connected."""
    try:
        return not await ended(await w.connect())
    except ConnectionResetError:
        return True


def test_stage_by_stage_and_back(run: Run, world: World, upstream: Upstream, memory: Memory) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address))
        w.worker.measure_lag()
        expected = {
            NONE: {"low": (b"200", False), "normal": (b"200", False), "high": (b"200", False)},
            KEEP_ALIVE: {"low": (b"200", True), "normal": (b"200", True), "high": (b"200", False)},
            LOW: {"low": (b"503", True), "normal": (b"200", True), "high": (b"200", False)},
            CONNECTIONS: {"low": (b"503", True), "normal": (b"503", True), "high": (b"200", False)},
        }
        for stage in (NONE, KEEP_ALIVE, LOW, CONNECTIONS, NONE, CONNECTIONS, NONE):
            if stage != w.worker.overload.stage:
                memory.becomes(w, stage)
            for path, due in expected[stage].items():
                assert (path, await asked(w, up, path)) == (path, due), STAGES[stage]
        assert answered(w)["503 OM"] == 5
        refused = w.stats.listeners["in"].answers
        assert refused["low"][""].requests == {"503 OM": 3}
        assert refused["normal"][""].requests == {"503 OM": 2}
        assert {name: held.entered_total for name, held in w.stats.worker.stages.items()} == {
            "keep_alive": 2, "low": 2, "connections": 2,
        }  # fmt: skip
        assert not any(held.in_force for held in w.stats.worker.stages.values())
        told = [line.split(" ", 1)[1] for line in w.logged if " overload " in line]
        assert told[0].startswith("WARNING overload stage=keep_alive before=none lag=0.0 memory=0.91 connections=0.0")
        assert [line.split()[2] for line in told] == [
            f"stage={STAGES[stage]}" for stage in (1, 2, 3, 2, 1, 0, 3, 2, 1, 0)
        ]

    run(scenario())


def test_connections_that_wait_are_ended_and_those_at_work_with_their_answer(
    run: Run, world: World, upstream: Upstream, memory: Memory
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address))
        w.worker.measure_lag()
        waits, works, halfway = [await w.connect() for _ in range(3)]
        assert await asked(w, up, "normal", waits) == (b"200", False)
        await works.send(get("normal"))
        await head_of(up.server)
        await halfway.send(get("normal")[:-2])
        await w.until(lambda: sum(each._reader.begun for each in w.worker._guests.states.copy().pop().connections) == 1)
        memory.becomes(w, KEEP_ALIVE)
        # << the one that waits, and no other
        assert await ended(waits)
        assert w.stats.listeners["in"].connections_active == 2
        await up.server.send(OK)
        await heard(works, LAST)
        assert await ended(works)
        await halfway.send(b"\r\n")
        await head_of(up.server)
        await up.server.send(OK)
        await heard(halfway, LAST)
        memory.becomes(w, NONE)
        assert await asked(w, up, "normal") == (b"200", False)

    run(scenario())


def test_connections_that_end_by_themselves_meanwhile_end_once(
    run: Run, world: World, upstream: Upstream, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshproxy.net.clock.SLICE", 0.0)  # << the loop turns between any two of them

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address))
        w.worker.measure_lag()
        clients = [await w.connect() for _ in range(20)]
        stats = w.stats.listeners["in"]
        await w.until(lambda: stats.connections_active == 20)
        memory.becomes(w, KEEP_ALIVE)
        for client in clients:
            client.reset()
        await w.until(lambda: not w.worker._shedding._tasks._running)
        await w.until(lambda: stats.connections_active <= 0)
        assert stats.connections_active == 0
        assert sum(w.closed().values()) == 20

    run(scenario())


@pytest.mark.parametrize("high", [False, True])
def test_new_connections_are_refused_unless_a_rule_is_high(
    run: Run, world: World, upstream: Upstream, memory: Memory, high: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address, high=high))
        w.worker.measure_lag()
        memory.becomes(w, CONNECTIONS)
        if high:
            assert await asked(w, up, "high") == (b"200", False)
        else:
            assert await turned_away(w)
            assert w.stats.listeners["in"].rejected["overload"] == 1
            assert w.stats.listeners["in"].connections_total == 0
        # << a reload does not end it
        changed = ranked(up.address, high=high, listener={"timeouts": {"idle": "2h"}})
        await w.apply(changed)
        if high:
            assert await asked(w, up, "low") == (b"503", True)
        else:
            assert await turned_away(w)
        memory.becomes(w, NONE)
        assert await asked(w, up, "normal") == (b"200", False)

    run(scenario())


def test_a_configuration_without_it_ends_it(run: Run, world: World, upstream: Upstream, memory: Memory) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address, high=False))
        w.worker.measure_lag()
        memory.becomes(w, CONNECTIONS)
        await w.apply(config(up.address))
        assert w.worker.overload.stage == NONE
        assert await asked(w, up, "low") == (b"200", False)
        w.clock.advance(60)
        assert w.worker.overload.stage == NONE

    run(scenario())


def test_requests_of_low_priority_leave_room_for_others(
    run: Run, world: World, upstream: Upstream, memory: Memory
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        said = ranked(up.address, listener={"max_connections": 8}, overload={"low": 0.25, "connections": 0})
        await w.apply(said)
        clients = [await w.connect() for _ in range(4)]
        servers = []
        for client in clients[:2]:
            await client.send(get("low"))
            servers.append(await up.accept())
            await head_of(servers[-1])
        # << the third is refused, whatever the stage, and its connection stays
        await clients[2].send(get("low"))
        assert b"Connection: close" not in await head_of(clients[2])
        await heard(clients[2], b"overloaded\n")
        # << others are not
        await clients[2].send(get("normal"))
        servers.append(await up.accept())
        await head_of(servers[-1])
        await servers[-1].send(OK)
        await heard(clients[2], OK)
        # << a reload forgets nobody
        await w.apply({**said, "drain": {"timeout": "9s"}})
        await clients[2].send(get("low"))
        assert (await head_of(clients[2])).startswith(b"HTTP/1.1 503 ")
        await heard(clients[2], b"overloaded\n")
        # >> one is answered, another's client leaves
        await servers[0].send(OK)
        await heard(clients[0], OK)
        clients[1].reset()
        await w.until(lambda: answered(w).get("499 DC"))
        for client in clients[2:]:
            await client.send(get("low"))
        await w.until(lambda: sum(each._x is not None for each in w.worker._http.upstreams) == 2)
        assert answered(w)["503 OM"] == 2

    run(scenario())


def test_a_body_that_breaks_the_rules_takes_no_room(
    run: Run, world: World, upstream: Upstream, memory: Memory
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address, listener={"max_connections": 2}, overload={"low": 0.5, "connections": 0}))
        for _ in range(3):
            client = await w.connect()
            await client.send(b"PUT /low HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
            assert (await head_of(client)).startswith(b"HTTP/1.1 400 ")
            client.close()
            await w.until(lambda: w.stats.listeners["in"].connections_active == 0)
        assert await asked(w, up, "low") == (b"200", False)
        assert await asked(w, up, "low") == (b"200", False)

    run(scenario())


def test_a_body_under_way_is_refused_and_the_connection_ends(
    run: Run, world: World, upstream: Upstream, memory: Memory
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address))
        w.worker.measure_lag()
        memory.becomes(w, LOW)
        client = await w.connect()
        await client.send(b"PUT /low HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        head = await head_of(client)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Connection: close\r\n" in head
        await heard(client, b"overloaded\n")
        assert w.stats.clusters["up"].connections_total == 0

    run(scenario())


def test_the_fullest_listener_counts(run: Run, world: World, upstream: Upstream, memory: Memory) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address, listener={"max_connections": 10}))
        w.worker.measure_lag()
        clients = [await w.connect() for _ in range(9)]
        await w.until(lambda: w.stats.listeners["in"].connections_active == 9)
        w.clock.advance(1)
        assert w.worker.overload.stage == KEEP_ALIVE
        # << those that have nothing to do make room
        for client in clients:
            assert await ended(client)
        w.clock.advance(CALM + 1)
        assert w.worker.overload.stage == NONE

    run(scenario())


def test_a_loop_that_is_late_again_and_again(run: Run, world: World, upstream: Upstream, memory: Memory) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(ranked(up.address))
        w.worker.measure_lag()
        for late, stage in ((0.3, NONE), (0.3, CONNECTIONS)):
            w.clock._now += 0.25 + late  # >> whoever is due is called late
            w.clock.advance(0)
            assert w.worker.overload.stage == stage
        assert w.stats.worker.loop_lag_seconds.sum == pytest.approx(0.6)
        assert w.worker._guests._board[0] >> 32 == CONNECTIONS

    run(scenario())
