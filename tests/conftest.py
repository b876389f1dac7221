"""What tests share: both loops, a clock that jumps, and a worker with real sockets on loopback."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import struct
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from meshproxy.model import Config, decode
from meshproxy.net.clock import at_once
from meshproxy.net.doors import Doors
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.plan import places
from meshproxy.server.fleet import Solo
from tests.examples import only_a_part
from tests.pki import Pki

LOOPS = ("asyncio", "uvloop")
LONGEST = 8.0

_opened: list[Callable[[], None]] = []
"""How to close what a scenario has opened."""


class FakeClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._timers: list[FakeTimer] = []

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return 1_700_000_000.0 + self._now

    def after(self, seconds: float, action: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self._now + seconds, action)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Fire what is due, in order, at its own time."""
        until = self._now + seconds
        while due := [timer for timer in self._timers if timer.action and timer.at <= until]:
            timer = min(due, key=lambda t: t.at)
            self._now = max(self._now, timer.at)
            action, timer.action = timer.action, None
            assert action is not None
            action()
        self._timers = [timer for timer in self._timers if timer.action]
        self._now = until

    @property
    def pending(self) -> int:
        return sum(1 for timer in self._timers if timer.action)


class FakeTimer:
    def __init__(self, at: float, action: Callable[[], None]) -> None:
        self.at = at
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        self.action = None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="do what is done often as often as the promises say")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--long"):
        only_a_part()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A module that says `ONE_LOOP` is content with one of them for each test: always the same one, not the same for
    all.  With --long, and where there is only one, it has all that there are."""
    if config.getoption("--long") or importlib.util.find_spec("uvloop") is None:
        return
    dropped = [item for item in items if _is_of_the_other_loop(item)]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in set(dropped)]


def _is_of_the_other_loop(item: pytest.Item) -> bool:
    module = item.getparent(pytest.Module)
    if module is None or not getattr(module.obj, "ONE_LOOP", False):
        return False
    name = item.name
    mine = next((loop for loop in LOOPS if loop in name), None)
    return mine is not None and mine != LOOPS[crc32(name.replace(mine, "").encode()) % len(LOOPS)]


@pytest.fixture
def often(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """How often: the first number, or with --long the second."""
    return lambda short, long: long if request.config.getoption("--long") else short


@pytest.fixture(scope="session", autouse=True)
def compiled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where Python is told to write no bytecode, each process that a test starts would compile all modules again."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.dont_write_bytecode:
            patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Run:
    """Run a scenario to its end on a loop of its own."""
    if request.param == "uvloop":
        if importlib.util.find_spec("uvloop") is None:
            pytest.skip("uvloop is not installed")
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    else:
        factory = asyncio.new_event_loop

    def runner(scenario: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            try:
                async with asyncio.timeout(LONGEST):
                    await scenario
            finally:
                while _opened:
                    _opened.pop()()

        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(bounded())

    return runner


class World:
    """A worker, its clock and its counters, driven by configurations written as plain data."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.process = ProcessStats("test")
        self.logged: list[str] = []
        log = Log(self.logged.append, clock=clock.now)
        self.fleet = Solo(asyncio.get_running_loop(), clock, Doors(), self.process, log)
        self.worker = self.fleet.worker
        _opened.append(self.end)

    @property
    def stats(self) -> Stats:
        """Up to date."""
        at_once(self.worker.settle())
        return self.worker.stats

    async def apply(self, config: dict[str, Any]) -> None:
        await self.fleet.prepare(decode(Config, config))
        await self.fleet.commit()

    def address(self, listener: str = "in", index: int = 0) -> Any:
        """Where to connect: (host, port), or the path of a unix socket."""
        found = next(item for item in self.worker.listeners if item.config.name == listener)
        local = self.fleet.doors.local(places(found.config)[index])
        if local.startswith("unix:"):
            return local.removeprefix("unix:")
        host, _, port = local.rpartition(":")
        return host.strip("[]"), int(port)

    async def connect(self, listener: str = "in", index: int = 0) -> Client:
        loop = asyncio.get_running_loop()
        address = self.address(listener, index)
        numeric = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else numeric)
        sock.setblocking(False)
        client = Client(sock)
        await loop.sock_connect(sock, address)
        return client

    def closed(self, listener: str = "in") -> dict[str, int]:
        return {reason: count for reason, count in self.stats.listeners[listener].closed.items() if count}

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():  # noqa: ASYNC110 - what is watched are plain integers
            await asyncio.sleep(0.001)

    def end(self) -> None:
        self.fleet.close()


class Client:
    """A plain socket of a test."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        if sock.family != socket.AF_UNIX:
            # what is said in pieces arrives in pieces, and none of them waits until another one is acknowledged
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _opened.append(sock.close)
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def recv(self, size: int = 65536) -> bytes:
        return await self._loop.sock_recv(self.sock, size)

    async def recv_exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = await self.recv(size - len(data))
            assert more, f"ended after {len(data)} of {size} bytes"
            data += more
        return data

    async def recv_all(self) -> bytes:
        pieces = []
        while piece := await self.recv():
            pieces.append(piece)
        return b"".join(pieces)

    def end(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class Upstream:
    """A server whose connections a test holds in its hands."""

    def __init__(self, family: int = socket.AF_INET, address: Any = ("127.0.0.1", 0)) -> None:
        self._loop = asyncio.get_running_loop()
        self.sock = socket.socket(family)
        self.sock.bind(address)
        self.sock.listen()
        self.sock.setblocking(False)
        _opened.append(self.sock.close)
        name = self.sock.getsockname()
        self.address = f"unix:{name}" if isinstance(name, str) else "{}:{}".format(
            f"[{name[0]}]" if ":" in name[0] else name[0], name[1]
        )

    async def accept(self) -> Client:
        sock, _ = await self._loop.sock_accept(self.sock)
        return Client(sock)

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def world(clock: FakeClock) -> Callable[[], World]:
    """Made inside the scenario, where the loop runs."""
    return lambda: World(clock)


@pytest.fixture
def upstream() -> type[Upstream]:
    return Upstream
