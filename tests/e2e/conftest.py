"""A real `meshproxy` process, started for a test and ended by it."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from meshproxy.cli import main
from tests.e2e.cradle import Forked, cradle

LONGEST = 20.0


def poll(condition: Callable[[], Any], what: str) -> Any:
    """Ask until the answer is true; a time that passes is a failure with a name."""
    end = time.monotonic() + LONGEST
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not within {LONGEST:g} s: {what}"
        time.sleep(0.005)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What `meshproxy` says to these arguments, without a process of its own."""
    out, problems = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(problems):
        try:
            code = main(arguments)
        except SystemExit as wrong_usage:
            code = int(wrong_usage.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), problems.getvalue())


class Running:
    """`meshproxy run` with an admin side on a unix socket, which needs no port and no token."""

    def __init__(
        self,
        directory: Path,
        config: dict[str, Any] | None,
        *options: str,
        loop: str = "auto",
        hurry: dict[str, float] | None = None,
        anew: bool = False,
    ) -> None:
        """`hurry` are names of constants, and for how many seconds it waits instead; who is started `anew` is not
        forked, and loads all modules itself."""
        self.directory = directory
        self.admin = str(directory / "admin.sock")
        self.file = directory / "meshproxy.json"
        self.log = directory / "log"
        if config is not None:
            self.write(config)
        arguments = ["run", "-c", str(self.file), "--loop", loop, *options]
        env = {**os.environ, "XDG_STATE_HOME": ""}
        self.process: subprocess.Popen[bytes] | Forked
        with self.log.open("ab") as log:
            if anew:
                assert not hurry
                self.process = subprocess.Popen([sys.executable, "-m", "meshproxy", *arguments], stderr=log, env=env)
            else:
                self.process = cradle().start(arguments, log, env, hurry)

    def write(self, config: dict[str, Any]) -> None:
        whole = {"admin": {"listen": f"unix:{self.admin}"}, "drain": {"delay": 0, "timeout": "5s"}, **config}
        self.file.write_text(json.dumps(whole))

    def admin_socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(LONGEST)
        try:
            sock.connect(self.admin)
        except OSError:
            sock.close()
            raise
        return sock

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("localhost", timeout=LONGEST)
        try:
            connection.sock = self.admin_socket()
            connection.request(method, path, body)
            response = connection.getresponse()
            data = response.read()
            is_json = response.headers.get("Content-Type", "").startswith("application/json")
            return response.status, json.loads(data) if is_json else data.decode()
        finally:
            connection.close()

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("GET", "/ready")[0] == 200
        except OSError:
            return False

    def ready_state(self) -> str:
        """As `/ready` says it; nothing, if there is nobody to ask."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return str(self.ask("GET", "/ready")[1]).strip()
        except OSError:
            return ""

    def serves_by_itself(self) -> bool:
        """And not a predecessor on the same socket."""
        assert self.process.poll() is None, self.log.read_text()
        answer = self.ask("GET", "/server_info")[1]
        return bool(answer["pid"] == self.process.pid and answer["state"] == "LIVE")

    def address(self, listener: str = "in") -> tuple[str, int]:
        _, listeners = self.ask("GET", "/listeners?format=json")
        host, _, port = next(each["listen"] for each in listeners if each["name"] == listener).rpartition(":")
        return host, int(port)

    def connect(self, listener: str = "in") -> socket.socket:
        sock = socket.create_connection(self.address(listener), timeout=LONGEST)
        sock.settimeout(LONGEST)
        return sock

    def put(self, config: dict[str, Any]) -> tuple[int, Any]:
        return self.ask("PUT", "/config", json.dumps(config).encode())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        return self.process.wait(LONGEST)

    def rss_kib(self) -> int:
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private"))


class Start:
    """Starts processes in one directory."""

    def __init__(self, directory: Path, loop: str) -> None:
        self.directory = directory
        self._loop = loop
        self._started: list[Running] = []

    def __call__(
        self,
        config: dict[str, Any] | None,
        *options: str,
        wait: bool = True,
        hurry: dict[str, float] | None = None,
        anew: bool = False,
    ) -> Running:
        running = Running(self.directory, config, *options, loop=self._loop, hurry=hurry, anew=anew)
        self._started.append(running)
        if wait:
            poll(running.ready, "ready")
        return running

    def end(self) -> None:
        for running in self._started:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()

    def assert_no_traceback(self) -> None:
        """A loop goes on after an error in a callback, and often nobody else notices."""
        for running in self._started:
            log = running.log.read_text()
            assert "Traceback" not in log, log


LOOPS = ["asyncio"] if importlib.util.find_spec("uvloop") is None else ["uvloop"]
"""A real process runs on the loop that it would choose itself.  The minimal installation has the other one, and
conversations run on both."""


@contextmanager
def starting(directory: Path, loop: str = LOOPS[0]) -> Iterator[Start]:
    made = Start(directory, loop)
    try:
        yield made
    finally:
        made.end()
    made.assert_no_traceback()


@pytest.fixture(params=LOOPS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    with starting(tmp_path, request.param) as made:
        yield made


class Echo:
    """A TCP server that sends back what it gets, a thread for each connection."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.address = "{}:{}".format(*self.sock.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                while data := sock.recv(65536):
                    sock.sendall(data)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.sock.close()


@pytest.fixture
def chance() -> random.Random:
    """Its seed stands with a test that fails."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.fixture
def bounded(often: Callable[[int, int], int]) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Runs a scenario that would otherwise wait for ever for what does not come."""

    async def limited(scenario: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(often(60, 900)):
            await scenario

    return lambda scenario: asyncio.run(limited(scenario))
