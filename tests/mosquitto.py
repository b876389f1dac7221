"""A real broker, on a port of its own, which can be killed and started again.

    broker = Mosquitto(tmp_path, "persistence true")
    broker.kill(); broker.start()       # on the same port, with what it has kept
"""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

WITHIN = 10.0


class Mosquitto:
    def __init__(self, directory: Path, *lines: str) -> None:
        """Skips the test where there is none; `lines` are more of its configuration."""
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            pytest.skip("mosquitto is not installed")
        directory.mkdir(exist_ok=True)
        self.directory = directory
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.log = directory / "log"
        said = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous true",
            f"persistence_location {directory}/",
            # It would become somebody who may not write there.
            f"user {getpass.getuser()}",
            *lines,
        ]
        config = directory / "mosquitto.conf"
        config.write_text("\n".join(said) + "\n")
        self._command = [program, "-c", str(config), "-v"]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        until = time.monotonic() + WITHIN
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert time.monotonic() < until, self.log.read_text()
                assert self._process.poll() is None, self.log.read_text()
                time.sleep(0.005)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """In good order: what is to be kept is written."""
        self._end(signal.SIGTERM)

    def save(self) -> None:
        """With `persistence true`: what it has now is what it will have when it was killed."""
        assert self._process is not None
        file = self.directory / "mosquitto.db"
        file.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR1)
        until = time.monotonic() + WITHIN
        while not file.exists():
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.005)

    def freeze(self, *, frozen: bool = True) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(WITHIN)
            self._process = None

    def close(self) -> None:
        self.kill()
