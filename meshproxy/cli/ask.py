"""Commands that ask a running proxy through its admin API: `status`, `wait`, `drain`."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from meshproxy.admin.tables import text_table
from meshproxy.cli import FAILED, OK

TIMEOUT = 10.0
POLL_EVERY = 0.05
SILENCE = 30.0
"""Of a stream, which says at least a word every 10 s."""


class Unanswered(Exception):
    """The proxy cannot be reached, or refused."""


class _Connection(http.client.HTTPConnection):
    """To a TCP address or a unix socket."""

    def __init__(self, address: str, timeout: float = TIMEOUT) -> None:
        self._path = address.removeprefix("unix:") if address.startswith("unix:") else None
        super().__init__("localhost" if self._path else address, timeout=timeout)

    def connect(self) -> None:
        if self._path is None:
            super().connect()
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect("\0" + self._path[1:] if self._path.startswith("@") else self._path)


class Admin:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self._address: str = arguments.admin
        self._headers = {"Authorization": f"Bearer {arguments.token}"} if arguments.token else {}

    def ask(self, method: str, path: str) -> tuple[int, bytes]:
        with self._answered(method, path, TIMEOUT) as response:
            return response.status, response.read()

    def json(self, method: str, path: str) -> Any:
        status, body = self.ask(method, path)
        if status != http.client.OK:
            raise self._refused(method, path, status, body)
        return json.loads(body)

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Each event of a stream with its data, until the proxy ends it."""
        with self._answered("GET", path, SILENCE) as response:
            if response.status != http.client.OK:
                raise self._refused("GET", path, response.status, response.read())
            event = ""
            while line := response.readline():
                name, _, value = line.rstrip(b"\n").partition(b": ")
                if name == b"event":
                    event = value.decode()
                elif name == b"data":
                    yield event, json.loads(value)

    @contextmanager
    def _answered(self, method: str, path: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
        try:
            connection = _Connection(self._address, timeout)
            try:
                connection.request(method, path, headers=self._headers)
                yield connection.getresponse()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"{self._address}: {error}") from None

    def _refused(self, method: str, path: str, status: int, body: bytes) -> Unanswered:
        return Unanswered(f"{self._address}: {method} {path}: {status} {body.decode(errors='replace').strip()}")


def told(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """What keeps a command from its work is a message, not a traceback."""

    def tried(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except Unanswered as error:
            print(f"meshproxy: {error}", file=sys.stderr)
            return FAILED
        except KeyboardInterrupt:
            return OK

    return tried


@told
def status(arguments: argparse.Namespace) -> int:
    admin = Admin(arguments)
    info, listeners, clusters = (
        admin.json("GET", path)
        for path in ("/server_info", "/listeners?format=json", "/clusters?format=json")
    )
    if arguments.output == "json":
        print(json.dumps({"server": info, "listeners": listeners, "clusters": clusters}, indent=1))
        return OK
    print(
        f"meshproxy {info['version']} {info['state']}, generation {info['generation']}, "
        f"up {info['uptime_seconds']:.0f}s, pid {info['pid']}, {info['loop']}\n"
    )
    print(text_table(listeners))
    print(text_table(clusters), end="")
    refused = info["last_refused"]
    if refused:
        print(f"\nlast configuration refused, from {refused['source']}:")
        for problem in refused["problems"]:
            print(f"  {problem['path']}: {problem['message']}")
    return OK


@told
def wait(arguments: argparse.Namespace) -> int:
    admin = Admin(arguments)

    def ready() -> bool:
        try:
            return admin.ask("GET", "/ready")[0] == http.client.OK
        except Unanswered:
            return False

    return _poll(ready, arguments.timeout, "not ready")


@told
def drain(arguments: argparse.Namespace) -> int:
    admin = Admin(arguments)
    admin.json("POST", f"/drain?until_idle={arguments.timeout:.3f}s" if arguments.until_idle else "/drain")

    def gone() -> bool:
        try:
            admin.ask("GET", "/ready")
        except Unanswered:
            return True
        return False

    return _poll(gone, arguments.timeout, "still draining")


def _poll(done: Callable[[], bool], timeout: float, complaint: str) -> int:
    end = time.monotonic() + timeout
    while not done():
        if time.monotonic() >= end:
            print(f"meshproxy: {complaint} after {timeout:g}s", file=sys.stderr)
            return FAILED
        time.sleep(POLL_EVERY)
    return OK
