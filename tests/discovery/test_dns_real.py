"""The same with a name server that others wrote: dnsmasq, where it is installed (scripts/install-peers)."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshproxy.discovery.dns import Answer, ResolveError, Resolver, Settings, Watch
from meshproxy.model import Address
from meshproxy.wire.dns import name
from tests.conftest import FakeClock
from tests.discovery.conftest import until
from tests.discovery.servers import free_pair

Run = Callable[[Coroutine[Any, Any, None]], None]

PROGRAM = shutil.which("dnsmasq", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
TRIES, LONGEST_START = 5, 10.0

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no dnsmasq on this machine (scripts/install-peers)")


class Dnsmasq:
    def __init__(self, hosts: Path) -> None:
        self.hosts = hosts
        for _ in range(TRIES):
            if self._start():
                return
        raise AssertionError("dnsmasq does not start")

    def _start(self) -> bool:
        udp, tcp = free_pair(socket.AF_INET, "127.0.0.1")
        with udp, tcp:
            self.address = Address("ipv4", "127.0.0.1", udp.getsockname()[1])
        assert PROGRAM
        options = (
            "keep-in-foreground conf-file=/dev/null pid-file= log-facility=- no-resolv no-hosts bind-interfaces "
            f"listen-address=127.0.0.1 port={self.address.port} user={getpass.getuser()} "
            f"addn-hosts={self.hosts} local-ttl=40 local=/test/ "
            "host-record=books.test,10.0.0.2,fd00::1,30 cname=www.test,books.test,20 host-record=four.test,10.0.0.4"
        )
        self.process = subprocess.Popen([PROGRAM, *(f"--{option}" for option in options.split())])
        until = time.monotonic() + LONGEST_START
        while self.process.poll() is None and time.monotonic() < until:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.address.port)):
                    return True
            time.sleep(0.01)
        self.close()
        return False

    def reread(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Dnsmasq]:
    hosts = tmp_path / "hosts"
    many = [f"10.1.{high}.{low} many.test\n" for high in range(2) for low in range(1, 151)]
    hosts.write_text("".join(["10.0.0.8 moving.test\n", *many]))
    started = Dnsmasq(hosts)
    yield started
    started.close()


def resolver(clock: FakeClock, server: Dnsmasq, **settings: Any) -> Resolver:
    return Resolver(asyncio.get_running_loop(), clock, Settings((server.address,), **settings))


def test_what_it_knows_is_found(run: Run, clock: FakeClock, server: Dnsmasq) -> None:
    async def scenario() -> None:
        it = resolver(clock, server, search=(name("test"),))
        assert await it.resolve("books.test") == Answer(("10.0.0.2", "fd00::1"), 30)
        assert await it.resolve("WWW.test.") == Answer(("10.0.0.2", "fd00::1"), 20)
        assert await it.resolve("books") == Answer(("10.0.0.2", "fd00::1"), 30)
        assert await it.resolve("four.test") == Answer(("10.0.0.4",), 40)

    run(scenario())


def test_what_does_not_fit_into_a_datagram_comes_over_tcp(run: Run, clock: FakeClock, server: Dnsmasq) -> None:
    async def scenario() -> None:
        answer = await resolver(clock, server).resolve("many.test")
        assert len(answer.addresses) == 300
        assert answer.ttl == 40

    run(scenario())


@pytest.mark.parametrize(
    ("text", "words"), [("nobody.test", "there is no such name"), ("elsewhere.example", "127.0.0.1:{port}: REFUSED")]
)
def test_what_it_does_not_know(run: Run, clock: FakeClock, server: Dnsmasq, text: str, words: str) -> None:
    async def scenario() -> None:
        with pytest.raises(ResolveError) as refused:
            await resolver(clock, server).resolve(text)
        assert str(refused.value) == f"{text}: " + words.format(port=server.address.port)

    run(scenario())


def test_a_change_is_told(run: Run, clock: FakeClock, server: Dnsmasq) -> None:
    async def scenario() -> None:
        told: list[tuple[str, ...]] = []
        failed: list[ResolveError] = []
        watch = Watch(
            asyncio.get_running_loop(), clock, resolver(clock, server), "moving.test", told.append, failed.append
        )
        await until(lambda: told)
        server.hosts.write_text("10.0.0.9 moving.test\n")
        server.reread()
        while len(told) == 1:
            # The timer of the next question, or the deadline of one that is asked: then it is asked once more.
            await until(lambda: clock.pending == 1)
            clock.advance(44)
        assert told == [("10.0.0.8",), ("10.0.0.9",)]
        watch.stop()

    run(scenario())
