"""Checks of real ports: that answer, refuse, hang, close, talk without end or talk nonsense."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from meshproxy.cluster import talk
from meshproxy.cluster.probe import Probe
from meshproxy.model import Address, Health, decode
from meshproxy.model.address import parse
from meshproxy.net.dial import Dial, Outcome, Way
from meshproxy.wire.h1 import ResponseCodec
from tests.conftest import FakeClock

Run = Callable[[Coroutine[Any, Any, None]], None]
Upstream = Callable[..., Any]

READY = {"path": "/ready"}
PING = {"send": "PING\r\n", "expect": "+PONG"}


class Look:
    """One check, and what came of it."""

    def __init__(self, clock: FakeClock, address: str, said: dict[str, Any]) -> None:
        health, where = decode(Health, said), parse(address)
        self.results: list[str] = []
        self.probe = Probe(
            clock, partial(self.dial, clock, where), talk.opening(health, where, None),
            talk.begin(health, ResponseCodec()), health.timeout, lambda result: self.results.append(str(result)),
        )
        self.probe.begin()

    @staticmethod
    def dial(clock: FakeClock, where: Address, done: Callable[[Outcome], None]) -> Dial:
        return Dial(asyncio.get_running_loop(), clock, where, 1.0, done, Way(keepalive=False))

    async def result(self) -> str:
        async with asyncio.timeout(10):
            while not self.results:  # noqa: ASYNC110 - what is watched is a plain list
                await asyncio.sleep(0.001)
        (only,) = self.results
        return only


@pytest.mark.parametrize(
    ("said", "answer", "found"),
    [
        (READY, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
        (READY, b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "status 500"),
        (READY, b"hello\r\n\r\n", "malformed bad_status_line"),
        (PING, b"+PONG\r\n", "ok"),
    ],
)
def test_answers(
    run: Run, clock: FakeClock, upstream: Upstream, said: dict[str, Any], answer: bytes, found: str
) -> None:
    async def scenario() -> None:
        up = upstream()
        look = Look(clock, up.address, said)
        peer = await up.accept()
        assert await peer.recv()
        await peer.send(answer)
        assert await look.result() == found
        with suppress(ConnectionError):
            assert await peer.recv_all() == b"", "its connection is closed"
        assert clock.pending == 0

    run(scenario())


def test_to_be_connected_is_enough_where_nothing_is_asked(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        assert await Look(clock, up.address, {}).result() == "ok"
        assert await (await up.accept()).recv_all() == b""
        assert clock.pending == 0

    run(scenario())


def test_a_unix_socket(run: Run, clock: FakeClock, upstream: Upstream, tmp_path: Any) -> None:
    async def scenario() -> None:
        path = str(tmp_path / "up")
        up = upstream(socket.AF_UNIX, path)
        look = Look(clock, f"unix:{path}", PING)
        peer = await up.accept()
        await peer.send(b"+PONG")
        assert await look.result() == "ok"
        up.close()
        assert await Look(clock, f"unix:{path}", PING).result() == "connect Connection refused"
        assert await Look(clock, f"unix:{path}-none", PING).result() == "connect No such file or directory"

    run(scenario())


@pytest.mark.parametrize("said", [{}, READY, PING])
def test_a_port_that_refuses(run: Run, clock: FakeClock, upstream: Upstream, said: dict[str, Any]) -> None:
    async def scenario() -> None:
        up = upstream()
        up.close()
        assert await Look(clock, up.address, said).result() == "connect Connection refused"
        assert clock.pending == 0

    run(scenario())


@pytest.mark.parametrize("said", [READY, PING])
def test_a_port_that_hangs_is_left_after_the_timeout(
    run: Run, clock: FakeClock, upstream: Upstream, said: dict[str, Any]
) -> None:
    async def scenario() -> None:
        up = upstream()
        look = Look(clock, up.address, {**said, "timeout": "3s"})
        peer = await up.accept()
        assert await peer.recv()
        clock.advance(2.9)
        await asyncio.sleep(0.01)
        assert look.results == []
        clock.advance(0.1)
        assert look.results == ["timeout"]
        with pytest.raises(ConnectionResetError):
            await peer.recv()
        assert clock.pending == 0

    run(scenario())


def test_drops_that_come_one_by_one_do_not_put_the_deadline_off(
    run: Run, clock: FakeClock, upstream: Upstream
) -> None:
    async def scenario() -> None:
        up = upstream()
        look = Look(clock, up.address, READY)
        peer = await up.accept()
        for byte in b"HTTP/1.1 200":
            await peer.send(bytes((byte,)))
            await asyncio.sleep(0)
            clock.advance(0.1)
            if look.results:
                break
        assert look.results == ["timeout"]

    run(scenario())


@pytest.mark.parametrize("said", [READY, PING])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_port_that_accepts_and_closes(
    run: Run, clock: FakeClock, upstream: Upstream, said: dict[str, Any], how: str
) -> None:
    async def scenario() -> None:
        up = upstream()
        look = Look(clock, up.address, said)
        peer = await up.accept()
        await peer.recv()
        getattr(peer, how)()
        assert (await look.result()).startswith("closed")
        assert clock.pending == 0

    run(scenario())


@pytest.mark.parametrize(
    ("said", "first", "found"),
    [
        (READY, b"HTTP/1.1 200 OK\r\n\r\n", "ok"),
        ({"path": "/", "expect": "never"}, b"HTTP/1.1 200 OK\r\n\r\n", "mismatch not in 65536 bytes"),
        (READY, b"HTTP/1.1 200 OK\r\n", "malformed head_too_large"),
        (PING, b"", "mismatch not in 65536 bytes"),
    ],
)
def test_a_port_that_sends_bytes_without_end(
    run: Run, clock: FakeClock, upstream: Upstream, said: dict[str, Any], first: bytes, found: str
) -> None:
    async def scenario() -> None:
        up = upstream()
        look = Look(clock, up.address, said)
        peer = await up.accept()
        sent = 0

        async def flood() -> None:
            nonlocal sent
            await peer.send(first)
            while True:
                await peer.send(b"a: bcd\r\n" * 512)
                sent += 4096

        flooding = asyncio.create_task(flood())
        assert await look.result() == found
        with pytest.raises(ConnectionError):
            await flooding
        assert clock.pending == 0

    run(scenario())


def test_who_is_cancelled_says_nothing_and_leaves_nothing(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    async def scenario() -> None:
        up = upstream()
        look = Look(clock, up.address, READY)
        peer = await up.accept()
        look.probe.cancel()
        look.probe.cancel()
        assert clock.pending == 0
        with suppress(ConnectionError):
            await peer.recv_all()
        clock.advance(10)
        assert look.results == []

    run(scenario())


def test_a_queue_that_is_full_is_a_port_that_hangs(run: Run, clock: FakeClock, upstream: Upstream) -> None:
    """The kernel of Linux drops what a full queue would have to take, and whoever connects waits."""

    async def scenario() -> None:
        up = upstream()
        up.sock.listen(0)
        fillers = []
        for _ in range(3):
            filler = socket.socket()
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(up.sock.getsockname())
            fillers.append(filler)
        await asyncio.sleep(0.05)
        look = Look(clock, up.address, READY)
        await asyncio.sleep(0.02)
        assert look.results == []
        clock.advance(1)
        assert look.results == ["timeout"]
        assert clock.pending == 0
        for filler in fillers:
            filler.close()

    run(scenario())
