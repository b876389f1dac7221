"""Checks of brokers: one in the hands of a test, and mosquitto, in plain and in TLS."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshproxy.model import Config, decode
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.server.checks import Checks
from tests.conftest import FakeClock, Upstream
from tests.pki import Pki

Run = Callable[[Coroutine[Any, Any, None]], None]
PASSWORD = "nobody-may-read-this"


def brokers(address: str, health: Any, **cluster: Any) -> Config:
    said = {"endpoints": [address], "health": {"mqtt": health}, **cluster}
    found: Config = decode(Config, {"clusters": {"up": said}})
    return found


class Checked:
    def __init__(self, clock: FakeClock) -> None:
        self.process = ProcessStats("test")
        self.checks = Checks(
            asyncio.get_running_loop(), clock, {}, dict, self.process, Log(lambda _: None, clock=clock.wall)
        )

    async def word(self, config: Config) -> str:
        """That of the first check."""
        await self.checks.prepare(config)
        self.checks.commit()
        (key,) = self.checks._watches
        last = self.checks._watches[key].last
        assert self.checks.known == {key: str(last) == "ok"}
        self.checks.close()
        return str(last)


def test_a_session_that_begins_is_asked_and_ends(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        up, checked = Upstream(), Checked(clock)
        word = asyncio.ensure_future(checked.word(brokers(up.address, {})))
        broker = await up.accept()
        connect = await broker.recv_exactly(12 + 2 + 21)
        assert connect.startswith(b"\x10\x21\x00\x04MQTT\x04\x02\x00\x3c\x00\x15meshproxy")
        assert connect[-21:].isalnum(), "which every broker takes"
        await broker.send(b"\x20\x02\x00\x00")
        assert await broker.recv_exactly(2) == b"\xc0\x00"
        await broker.send(b"\xd0\x00")
        assert await broker.recv_all() == b"\xe0\x00"
        assert await word == "ok"
        assert checked.process.health["up"].checks["ok"] == 1

    run(scenario())


def test_a_broker_that_refuses_is_not_well(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        up, checked = Upstream(), Checked(clock)
        word = asyncio.ensure_future(checked.word(brokers(up.address, {"version": "5"})))
        broker = await up.accept()
        await broker.recv()
        await broker.send(b"\x20\x03\x00\x88\x00")
        assert await word == "status server-unavailable"
        assert checked.process.health["up"].checks["status"] == 1

    run(scenario())


@pytest.mark.parametrize("after", [b"", b"\x20\x02\x00\x00"])
def test_a_broker_that_hangs_is_not_well(run: Run, clock: FakeClock, after: bytes) -> None:
    async def scenario() -> None:
        up, checked = Upstream(), Checked(clock)
        word = asyncio.ensure_future(checked.word(brokers(up.address, {})))
        broker = await up.accept()
        await broker.recv()
        await broker.send(after)
        if after:
            assert await broker.recv_exactly(2) == b"\xc0\x00"
        clock.advance(1.1)
        assert await word == "timeout"

    run(scenario())


class Mosquitto:
    def __init__(self, directory: Path, pki: Pki) -> None:
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        if not Path(binary).exists():
            pytest.skip("mosquitto is not installed")
        self.ca = pki.ca()
        pair = self.ca.issue("shop/broker", dns=["broker.shop"])
        self.plain, self.secure, self.guarded = (_free() for _ in range(3))
        passwords = directory / "passwords"
        passwords.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", passwords, "checker", PASSWORD], check=True)
        config = directory / "mosquitto.conf"
        config.write_text(
            f"user root\nper_listener_settings true\nlistener {self.plain} 127.0.0.1\nallow_anonymous true\n"
            f"listener {self.secure} 127.0.0.1\nallow_anonymous true\ncertfile {pair.certificate}\nkeyfile {pair.key}\n"
            f"listener {self.guarded} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
        )
        self._process = subprocess.Popen([binary, "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 5
        while not all(map(_answers, (self.plain, self.secure, self.guarded))):
            assert time.monotonic() < deadline, "mosquitto does not answer"
            time.sleep(0.01)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def _free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def mosquitto(tmp_path: Path, pki: Pki) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path, pki)
    yield broker
    broker.close()


def test_mosquitto(run: Run, clock: FakeClock, mosquitto: Mosquitto) -> None:
    async def scenario() -> None:
        plain, guarded = f"127.0.0.1:{mosquitto.plain}", f"127.0.0.1:{mosquitto.guarded}"
        known = {"user": "checker", "password": PASSWORD}
        for version, refused in (("3.1.1", "not-authorized"), ("5", "not-authorized")):
            assert await Checked(clock).word(brokers(plain, {"version": version})) == "ok"
            assert await Checked(clock).word(brokers(guarded, {"version": version, **known})) == "ok"
            said = brokers(guarded, {"version": version})
            assert await Checked(clock).word(said) == f"status {refused}"
            said = brokers(guarded, {"version": version, "user": "checker", "password": "wrong"})
            assert await Checked(clock).word(said) == f"status {refused}"
        tls = {"ca": mosquitto.ca.root.read_text(), "sni": "broker.shop"}
        secure = f"127.0.0.1:{mosquitto.secure}"
        assert await Checked(clock).word(brokers(secure, {}, tls=tls)) == "ok"
        assert (await Checked(clock).word(brokers(secure, {}))).startswith("closed")
        assert (await Checked(clock).word(brokers(f"127.0.0.1:{_free()}", {}))).startswith("connect")

    run(scenario())
