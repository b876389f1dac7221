"""systemd: the sockets that it hands over, and what it is told in return.

Both are small protocols of environment variables, and both are for this process alone: the variables are taken away, so
that no child takes itself for the service.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import MutableMapping
from contextlib import suppress

from meshproxy.errors import Invalid, Problem
from meshproxy.net.address import FAMILIES
from meshproxy.schema.kinds import shown

FIRST = 3
"""The descriptor of the first socket; the others follow without a gap."""
MOST_SOCKETS = 4096
LONGEST_STATUS = 512
"""In characters, so 2 KiB at most: of a message beyond 4 KiB systemd ignores all, READY=1 too."""
LONGEST_WAIT = 0.1
"""How many seconds a message that must not be lost may hold the loop while systemd's queue is full."""

_COUNT = re.compile(r"[0-9]{1,4}")
_MICROSECONDS = re.compile(r"[1-9][0-9]{0,18}")


def inherited(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that were opened for this process, in their order; raises Invalid if one of them cannot serve."""
    pid, count, names = (environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()):
        return []
    if not _COUNT.fullmatch(count) or int(count) > MOST_SOCKETS:
        raise Invalid([Problem("LISTEN_FDS", f"must be a number from 0 to {MOST_SOCKETS}, not {shown(count)}")])
    name_of = dict(enumerate(names.split(":"), FIRST))
    sockets, problems = [], []
    for fd in range(FIRST, FIRST + int(count)):
        try:
            sockets.append(_adopt(fd))
        except ValueError as error:
            problems.append(Problem("LISTEN_FDS", f"descriptor {fd} ({shown(name_of.get(fd, ''))}) {error}"))
    if problems:
        for sock in sockets:
            sock.close()
        raise Invalid(problems)
    return sockets


def _adopt(fd: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        raise ValueError("is not a socket") from None
    if fault := _fault(sock):
        sock.close()
        raise ValueError(fault)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def _fault(sock: socket.socket) -> str:
    if sock.family not in FAMILIES.values() or sock.type not in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        return "is of a kind that no listener has"
    name = sock.getsockname()
    port_or_path = name[1] if isinstance(name, tuple) else name
    if not port_or_path:
        return "is not bound to an address"
    if sock.type == socket.SOCK_STREAM and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: its socket unit must say Accept=no"
    return ""


class Notifier:
    """Tells systemd how far the process is.  Nobody to hear it is no reason to stop: no method ever raises."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        path = environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        period, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        watched = _MICROSECONDS.fullmatch(period) and pid in ("", str(os.getpid()))
        self._watchdog_interval = int(period) / 2_000_000 if watched else None

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two calls of `watchdog`: half of what systemd waits for one; None if it does not wait."""
        return self._watchdog_interval

    def ready(self, status: str) -> None:
        """At the end of the start, and of every reload, whether or not it was accepted: the status says which."""
        self._send(f"READY=1\nSTATUS={_one_line(status)}", LONGEST_WAIT)

    def reloading(self) -> None:
        """The time lets systemd tell the reload that it asked for from one that was under way before."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={microseconds}", LONGEST_WAIT)

    def stopping(self) -> None:
        self._send("STOPPING=1", LONGEST_WAIT)

    def main_pid(self, pid: int) -> None:
        """Said by the old process of a hot restart: from now on the service is that one."""
        self._send(f"MAINPID={pid}", LONGEST_WAIT)

    def status(self, text: str) -> None:
        self._send(f"STATUS={_one_line(text)}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, message: str, wait: float = 0.0) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(wait)
            sock.sendto(message.encode(), self._address)


def _one_line(text: str) -> str:
    """A line break would begin another field; a null byte, or what is not UTF-8, would spoil the whole message."""
    return "".join(char if char.isprintable() else " " for char in text[:LONGEST_STATUS])
