"""How long after a link is back the first byte comes through it, on a stream that was open before the cut.

A beat goes into the stream every few milliseconds, all the time, and an echo sends it back; what comes must be what was
sent, from the first byte on.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from itertools import count

from benchmarks.badlink import BadLink

AWAY = 5.0
"""Seconds that the link is cut."""
BEAT = 0.02
STALLED = 30.0


class Pulse:
    """One stream through a proxy to an echo."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), STALLED)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._owed = bytearray()
        self._beats: Iterator[bytes] = (b"%015d\n" % number for number in count())
        self._next = 0.0

    def beat(self, until: float, *, first: bool = False) -> float | None:
        """When the first bytes came, if that is all that is wanted, and not until then; else None, at that time."""
        while (now := time.monotonic()) < until:
            if now >= self._next:
                self._next = now + BEAT
                beat = next(self._beats)
                self.sock.sendall(beat)
                self._owed += beat
            if select.select([self.sock], [], [], max(min(self._next, until) - now, 0))[0]:
                self._receive()
                if first:
                    return time.monotonic()
        return None

    def _receive(self) -> None:
        got = self.sock.recv(65536)
        if not got or not self._owed.startswith(got):
            raise ConnectionError(f"not what was sent: {got[:50]!r}, but {bytes(self._owed[:50])!r}")
        del self._owed[: len(got)]


def seconds(port: int, link: BadLink) -> float:
    """Of one cut."""
    pulse = Pulse(port)
    with pulse.sock:
        if pulse.beat(time.monotonic() + STALLED, first=True) is None:
            raise TimeoutError("no echo came before the cut")
        link.cut()
        pulse.beat(time.monotonic() + AWAY)
        link.mend()
        back = time.monotonic()
        came = pulse.beat(back + STALLED, first=True)
        if came is None:
            raise TimeoutError(f"no echo came within {STALLED:g} s after the cut")
        return came - back
