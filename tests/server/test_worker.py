"""Generations of one worker: what a change concerns is drained, the rest lives on, a refusal leaves no trace."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any

import pytest

from meshproxy.errors import CannotBind, Invalid, Problem
from meshproxy.model import Config, decode

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


def listener(name: str, listen: object, cluster: str = "up", **more: object) -> dict[str, Any]:
    return {"name": name, "listen": listen, "protocol": "tcp", "cluster": cluster, **more}


def config(listeners: list[dict[str, Any]], **clusters: list[str]) -> dict[str, Any]:
    return {
        "drain": {"timeout": "10s"},
        "listeners": listeners,
        "clusters": {name: {"endpoints": endpoints} for name, endpoints in clusters.items()},
    }


_ports = count(20_000 + os.getpid() % 10_000)


def free_port() -> int:
    """Of all addresses, and below those from which the system connects: it may give one of these to anybody."""
    for port in _ports:
        try:
            with socket.create_server(("", port)):
                return port
        except OSError:
            continue
    raise AssertionError("no port is free")


def test_connections_live_on_over_a_change_that_does_not_concern_them(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        address = f"127.0.0.1:{free_port()}"
        await w.apply(config([listener("in", address)], up=[a.address]))
        old, old_server = await w.connect(), await a.accept()
        await w.apply(config([listener("in", address, "other")], up=[a.address], other=[b.address]))
        await old.send(b"old")
        assert await old_server.recv() == b"old"
        new, new_server = await w.connect(), await b.accept()
        await new.send(b"new")
        assert await new_server.recv() == b"new"
        assert w.stats.listeners["in"].connections_total == 2
        w.clock.advance(60)
        await old.send(b"still there")
        assert await old_server.recv() == b"still there"

    run(scenario())


def test_connections_to_a_removed_endpoint_have_the_drain_timeout(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        address = f"127.0.0.1:{free_port()}"
        await w.apply(config([listener("in", address)], up=[a.address]))
        client, server = await w.connect(), await a.accept()
        await w.until(lambda: w.stats.clusters["up"].connections_total)
        await w.apply(config([listener("in", address)], up=[b.address]))
        w.clock.advance(9)
        await client.send(b"x")
        assert await server.recv() == b"x"
        w.clock.advance(2)
        assert w.closed() == {"drain": 1}
        with pytest.raises(ConnectionResetError):
            await client.recv()
        assert list(w.stats.clusters["up"].endpoints) == [b.address]

    run(scenario())


def test_a_removed_listener_closes_its_door_and_drains(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a = world(), upstream()
        await w.apply(config([listener("in", "127.0.0.1:0")], up=[a.address]))
        address = w.address()
        client, server = await w.connect(), await a.accept()
        await w.until(lambda: w.stats.clusters["up"].connections_total)
        await w.apply(config([], up=[a.address]))
        with socket.socket() as late:
            assert late.connect_ex(address) != 0
        await client.send(b"x")
        assert await server.recv() == b"x"
        w.clock.advance(11)
        with pytest.raises(ConnectionResetError):
            await client.recv()
        assert w.stats.listeners == {}

    run(scenario())


def test_a_port_in_use_is_refused_and_nothing_has_happened(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a = world(), upstream()
        await w.apply(config([listener("in", "127.0.0.1:0")], up=[a.address]))
        before = w.worker.current
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            free = free_port()
            said = [listener("new", f"127.0.0.1:{free}"), listener("clash", f"127.0.0.1:{port}")]
            with pytest.raises(CannotBind) as refusal:
                await w.apply(config(said, up=[a.address], more=["127.0.0.1:1"]))
        (problem,) = refusal.value.problems
        assert problem.path == "listeners[clash].listen"
        assert f"127.0.0.1:{port}" in problem.message
        assert "in use" in problem.message
        assert w.worker.current is before
        assert set(w.stats.listeners) == {"in"}
        assert set(w.stats.clusters) == {"up"}
        with socket.create_server(("127.0.0.1", free)):
            pass
        await w.connect()
        await a.accept()

    run(scenario())


@pytest.mark.parametrize(("first", "second"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "0.0.0.0")])
def test_a_listener_moves_between_all_addresses_and_one(
    run: Run, world: World, upstream: Upstream, first: str, second: str
) -> None:
    async def scenario() -> None:
        w, a = world(), upstream()
        port = free_port()
        for host in (first, second):
            await w.apply(config([listener("in", f"{host}:{port}")], up=[a.address]))
            client = await w.connect()
            server = await a.accept()
            await client.send(b"x")
            assert await server.recv() == b"x"
        with socket.socket() as rival, pytest.raises(OSError, match="in use"):
            rival.bind((second, port))

    run(scenario())


def test_no_connection_is_refused_while_listeners_change(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a = world(), upstream()
        kept, changing = f"127.0.0.1:{free_port()}", [f"127.0.0.1:{free_port()}" for _ in range(2)]
        await w.apply(config([listener("in", kept)], up=[a.address]))
        stop = False

        async def call() -> int:
            calls = 0
            while not stop:
                client, server = await w.connect(), await a.accept()
                await client.send(b"x")
                assert await server.recv() == b"x"
                client.close()
                server.close()
                calls += 1
            return calls

        async def change() -> None:
            nonlocal stop
            for turn in range(100):
                more = listener(f"extra-{turn}", changing[turn % 2])
                await w.apply(config([listener("in", kept, max_connections=1000 + turn), more], up=[a.address]))
                await asyncio.sleep(0)
            stop = True

        calls, _ = await asyncio.gather(call(), change())
        assert calls > 0
        await w.until(lambda: w.stats.listeners["in"].connections_active == 0)
        assert w.stats.listeners["in"].connections_total == calls

    run(scenario())


def test_accept_backs_off_when_descriptors_run_out_and_recovers(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        import resource

        w, a = world(), upstream()
        await w.apply(config([listener("in", "127.0.0.1:0")], up=[a.address]))
        client = socket.socket()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as probe:
            highest = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, limits[1]))
        try:
            client.connect(w.address())
            await w.until(lambda: w.stats.listeners["in"].accept_errors_total)
            errors = w.stats.listeners["in"].accept_errors_total
            for _ in range(20):
                await asyncio.sleep(0)
            assert w.stats.listeners["in"].accept_errors_total == errors
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        w.clock.advance(0.2)
        await a.accept()
        client.close()

    run(scenario())


def test_a_drain_waits_for_connections_of_a_listener_that_is_gone(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a = world(), upstream()
        await w.apply(config([listener("in", "127.0.0.1:0")], up=[a.address]))
        client, server = await w.connect(), await a.accept()
        await w.apply(config([], up=[a.address]))
        assert w.fleet.connections == 1
        leaving = asyncio.ensure_future(w.fleet.drain(5))
        await client.send(b"last words")
        assert await server.recv() == b"last words"
        assert not leaving.done()
        server.close()
        client.close()
        await leaving
        assert w.fleet.connections == 0

    run(scenario())


def test_who_stood_in_the_queue_of_a_removed_listener_has_the_drain_timeout_and_no_more(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, a = world(), upstream()
        await w.apply(config([listener("in", "127.0.0.1:0")], up=[a.address]))
        queued = socket.create_connection(w.address())  # blocking: the loop has had no turn to accept it
        await w.fleet.prepare(decode(Config, config([], up=[a.address])))
        await w.fleet.commit()
        server = await a.accept()
        await w.until(lambda: w.fleet.connections == 1)
        w.clock.advance(9)
        assert w.fleet.connections == 1
        w.clock.advance(2)
        assert w.fleet.connections == 0
        queued.close()
        server.close()

    run(scenario())


def test_a_generation_that_has_gone_is_freed_without_the_collector(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a = world(), upstream()
        gc.disable()
        try:
            await w.apply(config([listener("in", "127.0.0.1:0")], up=[a.address]))
            client, server = await w.connect(), await a.accept()
            before = weakref.ref(w.worker.listeners[0].doors[0].open)
            await w.apply(config([listener("in", "127.0.0.1:0", timeouts={"idle": "7s"})], up=[a.address]))
            await client.send(b"still in the old one")
            assert await server.recv() == b"still in the old one"
            client.close()
            server.close()
            await w.until(lambda: w.closed() == {"done": 1})
            assert before() is None
        finally:
            gc.enable()

    run(scenario())


def test_a_listener_that_has_gone_is_freed_with_all_behind_it(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a = world(), upstream()
        gc.disable()
        try:
            await w.apply(config([listener("in", "127.0.0.1:0")], up=[a.address]))
            (state,) = w.worker._guests.states
            assert state.entry is not None
            behind = weakref.ref(w.worker.listeners[0].doors[0].open)
            await w.apply(config([], up=[a.address]))
            assert behind() is None
            assert state.entry is None, "they knew each other"
        finally:
            gc.enable()

    run(scenario())


def test_a_reload_freezes_no_garbage(run: Run, world: World) -> None:
    class Circle:
        pass

    async def scenario() -> None:
        w = world()
        circle: Any = Circle()
        circle.itself = circle
        left = weakref.ref(circle)
        del circle
        await w.apply(config([]))
        assert left() is None

    run(scenario())


def test_what_files_hold_is_there_while_it_is_compiled_and_no_longer(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        papers = w.worker._rim.papers
        seen = []

        def share(_: object) -> tuple[socket.socket, ...]:
            seen.append(dict(papers))
            raise Invalid([Problem("", "no socket")])

        with pytest.raises(Invalid):
            await w.worker.prepare(decode(Config, config([listener("in", "127.0.0.1:0")], up=[])), share, {"a": "key"})
        assert seen == [{"a": "key"}]
        assert papers == {}

    run(scenario())
