"""Where a stream of HTTP/2 comes in: it waits, within its window, for as long as there is a reason."""

from __future__ import annotations

from typing import Protocol

from meshproxy.net.conn import Conn
from meshproxy.wire.h2 import Engine

_SINK_FULL, _NOT_WANTED = 1, 2


class Bearer(Protocol):
    """The connection that a stream is of."""

    engine: Engine
    conn: Conn

    def flush_soon(self) -> None: ...

    def flush_after(self, data: bytes) -> None: ...


class Inlet:
    __slots__ = ("_bearer", "_number", "_reasons")

    def __init__(self, bearer: Bearer, number: int) -> None:
        self._bearer = bearer
        self._number = number
        self._reasons = 0

    def hold(self) -> None:
        self._pause(_SINK_FULL)

    def release(self) -> None:
        self._resume(_SINK_FULL)

    def stop(self) -> None:
        self._pause(_NOT_WANTED)

    def start(self) -> None:
        self._resume(_NOT_WANTED)

    def _pause(self, reason: int) -> None:
        if not self._reasons:
            self._bearer.engine.stop(self._number)
        self._reasons |= reason

    def _resume(self, reason: int) -> None:
        if self._reasons:
            self._reasons &= ~reason
            if not self._reasons:
                self._bearer.engine.start(self._number)
                # The peer may wait for this window, and for nothing else
                self._bearer.flush_soon()
