"""Two connections that write to each other until both have ended, or one fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

from meshproxy.errors import Failure
from meshproxy.net.conn import Sink
from meshproxy.net.splice import Pipes
from meshproxy.relay.lifespan import Lifespan
from meshproxy.relay.passed import CLIENT_LOST, UPSTREAM_LOST

ORDERLY = {"done", "idle"}
"""Ends at which nothing is on its way, unless it waits for a peer.  Else the peers must see that something was cut."""


class Side(Sink, Protocol):
    """One of the two: a connection, or what passes for one."""

    handler: Any
    received: int
    sent: int
    full: bool

    @property
    def paced(self) -> bool: ...

    def start(self) -> None: ...

    def relay_to(self, sink: Sink, pipes: Pipes | None) -> None: ...

    def end(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Joined(ABC):
    """The upstream may come later than the client: until then nothing is relayed."""

    __slots__ = ("_down", "_failure", "_lifespan", "_moved", "_over", "_up")

    def __init__(self, down: Side) -> None:
        self._down = down
        self._up: Side | None = None
        self._lifespan: Lifespan | None = None
        self._failure: Failure | None = None
        """Why it is over, if that is known better than by the word for its end."""
        self._over = 0
        self._moved = 0

    def _join(self, up: Side, pipes: Pipes | None, to_up: bytes = b"", to_down: bytes = b"") -> None:
        """The bytes go first."""
        down = self._down
        self._up = up
        down.handler = up.handler = self
        down.relay_to(up, pipes)
        up.relay_to(down, pipes)
        down.start()
        up.start()
        if to_up:
            up.write(to_up)
        if to_down:
            down.write(to_down)

    # While joined

    def on_end(self, conn: Side) -> None:
        other = self._up if conn is self._down else self._down
        assert other is not None
        other.end()

    def on_lost(self, conn: Side, error: OSError | None) -> None:
        if error is not None:
            self._failure = CLIENT_LOST if conn is self._down else UPSTREAM_LOST
            self._finish("reset")
            return
        conn.close()
        self._over += 1
        if self._over == 2:
            self._finish("done")

    def account(self) -> None:
        down, up = self._down, self._up
        if up is None:
            return
        self._account(down, up)
        self._moved += down.received + down.sent + up.received + up.sent
        down.received = down.sent = up.received = up.sent = 0

    @abstractmethod
    def _account(self, down: Side, up: Side) -> None:
        """Add what both have moved to the counters."""

    def _has_moved(self) -> bool:
        self.account()
        moved, self._moved = self._moved, 0
        return moved > 0 or self._down.paced

    # The end

    def leave(self) -> None:  # noqa: B027 - it is what there is to do
        """There is no future here.  What moves may go on until it is drained: nothing says where it may be cut."""

    def drain(self) -> None:
        self._finish("drain")

    def _finish(self, reason: str) -> None:
        self.account()
        if self._lifespan is not None:
            self._lifespan.stop()
        conns = (self._down,) if self._up is None else (self._down, self._up)
        orderly = self._is_orderly(reason) and not any(conn.full for conn in conns)
        for conn in conns:
            conn.close() if orderly else conn.abort()
        self._finished(reason)

    def _is_orderly(self, reason: str) -> bool:
        return reason in ORDERLY

    @abstractmethod
    def _finished(self, reason: str) -> None:
        """Both are closed."""
