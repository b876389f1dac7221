"""Pods on hosts of a lab: an application that knows nothing, a proxy beside it, and rules that bring them together.

    pod = Pod(lab["buyer"], tmp_path)
    pod.proxy({"listeners": [...]}, "mesh.yaml")
    pod.wait()                                         # until it is ready
    pod.redirect("--dns-port", "5300")
    pod.run("curl", "http://bookstore.books/")         # as somebody who is not the proxy
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.e2e.conftest import LONGEST, poll
from tests.lab import Host

PROXY, ANYBODY = 1500, 1000
ADMIN = 15000


class Pod:
    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.directory = directory / host.name
        self.directory.mkdir()
        self._log = self.directory / "log"
        self._process: subprocess.Popen[Any] | None = None

    def proxy(self, native: dict[str, Any], *more: Path, uid: int = PROXY, capabilities: tuple[str, ...] = ()) -> None:
        said = self.directory / "meshproxy.json"
        said.write_text(json.dumps({"drain": {"delay": "0s", "timeout": "1s"}, **native}))
        self._start = partial(self._run, (said, *more), uid, capabilities)
        self.again()

    def again(self) -> None:
        """The same proxy, from its start."""
        self._start()

    def wait(self) -> None:
        poll(self._ready, f"the proxy of {self.host.name}")

    def _run(self, files: tuple[Path, ...], uid: int, capabilities: tuple[str, ...]) -> None:
        options = [option for path in files for option in ("-c", str(path))]
        with self._log.open("ab") as log:
            self._process = self.host.python(
                "-m", "meshproxy", "run", *options,
                uid=uid, capabilities=capabilities, stdout=log, stderr=log, env={"XDG_STATE_HOME": ""},
            )  # fmt: skip

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            return self.ask("/ready")[0] == 200
        except OSError:
            return False

    @property
    def log(self) -> str:
        return self._log.read_text()

    def ended(self) -> int:
        """By itself."""
        assert self._process is not None
        return int(self._process.wait(LONGEST))

    def kill(self) -> None:
        """At once, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(LONGEST)

    def ask(self, path: str) -> tuple[int, Any]:
        """Of the admin API."""
        with self.host.inside():
            connection = HTTPConnection("127.0.0.1", ADMIN, timeout=LONGEST)
            connection.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, json.loads(data) if data.startswith((b"{", b"[")) else data.decode()

    def rejected(self, listener: str) -> dict[str, int]:
        """Connections that it has turned away, by reason."""
        of_this = re.compile(rf'meshproxy_listener_rejected_total{{listener="{listener}",reason="(\w+)"}} (\d+)')
        found = {reason: int(count) for reason, count in of_this.findall(self.ask("/metrics")[1])}
        return {reason: count for reason, count in found.items() if count}

    def redirect(self, *options: str, does: str = "--apply") -> None:
        self.host.run(sys.executable, "-m", "meshproxy", "redirect", does, *options, cwd=ROOT)

    def resolver(self, server: str) -> None:
        """Whom programs of this host ask for names, from now on."""
        place = Path("/etc/netns", self.host.namespace)
        place.mkdir(parents=True)
        self.host.cleanup(shutil.rmtree, place)
        (place / "resolv.conf").write_text(f"nameserver {server}\noptions timeout:2 attempts:2\nsearch books\n")

    def run(self, *command: str, uid: int = ANYBODY, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A program of the application's user."""
        return self.host.finish(command, uid=uid, check=check)

    def curl(self, *arguments: str, uid: int = ANYBODY) -> tuple[int, str]:
        """The status, 0 where there was no answer, and the body."""
        said = ("curl", "-s", "-m", "5", "-w", "\n%{http_code}", *arguments)
        body, _, status = self.run(*said, uid=uid, check=False).stdout.rpartition("\n")
        return int(status), body


ROOT = Path(__file__).parent.parent.parent


GREETING = b"J\x00\x00\x00\n8.0.36\x00"


class Greeter:
    """A server that speaks first, as MySQL does, and then says everything again in capitals."""

    def __init__(self, host: Host, port: int) -> None:
        with host.inside():
            self._sock = socket.create_server(("0.0.0.0", port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock:
            sock.sendall(GREETING)
            while data := sock.recv(4096):
                sock.sendall(data.upper())

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


def connected(host: Host, address: tuple[str, int]) -> socket.socket:
    """From that host."""
    with host.inside():
        return socket.create_connection(address, LONGEST)


def listening(host: Host, port: int) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            connected(host, ("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    return asked


def program(name: str) -> str | None:
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
