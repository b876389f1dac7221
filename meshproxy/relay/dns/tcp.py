"""Questions on a connection: one after the other, or many at once; each is answered when its answer is there.

Whoever asks much and reads nothing is not read either, and of what one read brings no more is done in a turn of the
loop than what others can wait for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.relay.dns.attempt import LENGTH
from meshproxy.relay.dns.service import DnsService
from meshproxy.relay.dns.upstream import Waiting
from meshproxy.relay.lifespan import Lifespan
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin

MOST_WAITING = 64
"""Questions of one connection that wait for servers; then it is not read until there are fewer."""
QUESTIONS_A_TURN = 64


@dataclass(frozen=True, slots=True)
class DnsConnections:
    """Compiled."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    state: ListenerState
    dns: DnsService
    idle: float
    lifetime: float

    def start(self, conn: Conn, origin: Origin) -> None:
        origin.called()
        DnsConversation(self, conn).begin()

    def behind(self, origin: Origin) -> None:
        """Who is in goes on as it began, and its next question is answered as its first was."""


class DnsConversation:
    __slots__ = (
        "_buffer", "_conn", "_ended", "_leaving", "_lifespan", "_moved", "_resting", "_service", "_waiting",
    )  # fmt: skip

    def __init__(self, service: DnsConnections, conn: Conn) -> None:
        self._service = service
        self._conn = conn
        self._buffer = b""
        self._waiting: set[Waiting] = set()
        self._moved = self._resting = self._ended = self._leaving = False
        self._lifespan = Lifespan(service.clock, service.idle, service.lifetime, self._has_moved, self._finish)

    def begin(self) -> None:
        conn = self._conn
        self._service.state.connections.add(self)
        conn.handler = self
        conn.fed_by = self
        conn.read_to(self._read)
        conn.start()

    # Questions

    def _read(self, data: bytes) -> None:
        self._buffer += data
        self._work()

    def _work(self) -> None:
        """What is left for later is at most one read, for until then nothing is read."""
        conn, take = self._conn, self._service.dns.take
        buffer, at = self._buffer, 0
        self._resting = True
        for _ in range(QUESTIONS_A_TURN):
            end = at + LENGTH + int.from_bytes(buffer[at : at + LENGTH])
            if len(buffer) < max(end, at + LENGTH) or self._has_enough or conn.closed:
                break
            self._moved = True
            waiting = take(buffer[at + LENGTH : end], self._say, datagram=False)
            if waiting is not None:
                self._waiting.add(waiting)
            at = end
        else:
            self._service.loop.call_soon(self._go_on)
            conn.stop()
            self._buffer = buffer[at:]
            return
        self._buffer = buffer[at:]
        if self._has_enough:
            conn.stop()
        else:
            self._resting = False
            self._end_if_over()

    @property
    def _has_enough(self) -> bool:
        """An answer may be a thousand times as long as its question: one read may ask for more than there is memory."""
        return self._conn.full or len(self._waiting) >= MOST_WAITING

    def hold(self) -> None:
        self._conn.hold()

    def release(self) -> None:
        """All answers have been taken."""
        self._conn.release()
        self._service.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if self._resting and not self._conn.closed:
            self._resting = False
            self._conn.start()
            self._work()

    def _say(self, message: bytes, waiting: Waiting | None) -> None:
        conn = self._conn
        self._moved = True
        conn.write(len(message).to_bytes(LENGTH) + message)
        if waiting is not None:
            self._waiting.discard(waiting)
            if self._resting:
                self._service.loop.call_soon(self._go_on)
            self._end_if_over()

    # The end

    def _end_if_over(self) -> None:
        """Who has sent its last question still gets its answers; so does who is to leave."""
        if (self._ended or self._leaving) and not self._waiting and not self._resting and not self._conn.closed:
            self._conn.end()

    def on_end(self, conn: Conn) -> None:
        self._ended = True
        self._end_if_over()

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._finish("done" if error is None else "reset")

    def leave(self) -> None:
        self._leaving = True
        self._end_if_over()

    def drain(self) -> None:
        self._finish("drain")

    def account(self) -> None:
        stats, conn = self._service.state.stats, self._conn
        stats.bytes_received_total += conn.received
        stats.bytes_sent_total += conn.sent
        conn.received = conn.sent = 0

    def _has_moved(self) -> bool:
        """By whole messages: bytes that never become one are no reason to stay."""
        moved, self._moved = self._moved, False
        return moved or bool(self._waiting)

    def _finish(self, reason: str) -> None:
        self.account()
        self._lifespan.stop()
        for waiting in tuple(self._waiting):
            waiting.drain()
        self._waiting.clear()
        if reason in ("done", "idle"):
            self._conn.close()
        else:
            self._conn.abort()
        self._service.state.closed(self, reason)
