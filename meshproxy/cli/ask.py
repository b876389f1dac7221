"""Commands that ask a running proxy through its admin API: `status`, `top`, `wait`, `drain`."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from meshproxy.admin.tables import text_table
from meshproxy.cli import FAILED, OK

TIMEOUT = 10.0
POLL_EVERY = 0.05


class Unanswered(Exception):
    """The proxy cannot be reached, or refused."""


class _Connection(http.client.HTTPConnection):
    """To a TCP address or a unix socket."""

    def __init__(self, address: str) -> None:
        self._path = address.removeprefix("unix:") if address.startswith("unix:") else None
        super().__init__("localhost" if self._path else address, timeout=TIMEOUT)

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
        try:
            connection = _Connection(self._address)
            try:
                connection.request(method, path, headers=self._headers)
                response = connection.getresponse()
                return response.status, response.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"{self._address}: {error}") from None

    def json(self, method: str, path: str) -> Any:
        status, body = self.ask(method, path)
        if status != http.client.OK:
            raise Unanswered(f"{self._address}: {method} {path}: {status} {body.decode(errors='replace').strip()}")
        return json.loads(body)


def _told(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """What keeps a command from its work is a message, not a traceback."""

    def told(arguments: argparse.Namespace) -> int:
        try:
            return command(arguments)
        except Unanswered as error:
            print(f"meshproxy: {error}", file=sys.stderr)
            return FAILED
        except KeyboardInterrupt:
            return OK

    return told


@_told
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


@_told
def top(arguments: argparse.Namespace) -> int:
    admin, every = Admin(arguments), arguments.every
    before: dict[str, Any] | None = None
    looks = 0
    while True:
        asked = time.monotonic()
        stats = admin.json("GET", "/stats")
        rows = [
            _rates(name, now, before["listeners"].get(name) if before else None, every)
            for name, now in stats["listeners"].items()
        ]
        if before is not None:
            if sys.stdout.isatty():
                print("\x1b[H\x1b[2J", end="")
            print(text_table(rows), flush=True)
            looks += 1
            if looks == arguments.count:
                return OK
        before = stats
        time.sleep(max(0.0, asked + every - time.monotonic()))


def _rates(name: str, now: dict[str, Any], before: dict[str, Any] | None, seconds: float) -> dict[str, object]:
    def rate(field: str) -> float:
        return (now[field] - before[field]) / seconds if before else 0.0

    return {
        "listener": name,
        "connections": now["connections_active"],
        "new/s": f"{rate('connections_total'):.1f}",
        "received MiB/s": f"{rate('bytes_received_total') / 2**20:.2f}",
        "sent MiB/s": f"{rate('bytes_sent_total') / 2**20:.2f}",
        "rejected": sum(now["rejected"].values()),
    }


@_told
def wait(arguments: argparse.Namespace) -> int:
    admin = Admin(arguments)

    def ready() -> bool:
        try:
            return admin.ask("GET", "/ready")[0] == http.client.OK
        except Unanswered:
            return False

    return _poll(ready, arguments.timeout, "not ready")


@_told
def drain(arguments: argparse.Namespace) -> int:
    admin = Admin(arguments)
    admin.json("POST", "/drain")

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
