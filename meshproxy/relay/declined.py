"""The last word in HTTP/2, where only who has asked can be answered: the first request is waited for, and no longer."""

from __future__ import annotations

from meshproxy.core.reply import Reply
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.relay.farewell import Farewell
from meshproxy.relay.live import ListenerState
from meshproxy.relay.refused import REFUSED, Refused
from meshproxy.wire.h2 import Block, Code, Engine, Fault, Limits, Role, response_block

LIMITS = Limits(connection_window=64 * 1024)


class Declined(Farewell):
    """Satisfies `wire.h2.Hearer`."""

    __slots__ = ("_block", "_body", "_engine", "_said")

    def __init__(
        self, clock: Clock, state: ListenerState, conn: Conn, reply: Reply, lines: bytes, reason: str
    ) -> None:
        self._block = response_block(reply.opening + lines)
        self._body = reply.body
        self._said = False
        self._engine = Engine(Role.SERVER, self, LIMITS, clock.now)
        super().__init__(clock, state, conn, None, reason)
        self._flush()

    def _discard(self, data: bytes) -> None:
        super()._discard(data)
        engine = self._engine
        if self._said or self._conn.closed:
            return
        engine.feed(data)
        if self._said and not engine.over:
            engine.goaway()
        self._flush()
        if self._said or engine.over:
            self._said = True
            self._conn.end()

    def _flush(self) -> None:
        out = b"".join(self._engine.out)
        self._engine.out.clear()
        self._conn.write(out)

    def drain(self) -> None:
        super().drain()
        self._engine.close()

    def opened(self, stream: int, block: Block, last: bool) -> Refused:
        self._engine.answer(stream, self._block, self._body)
        if not last:
            self._engine.reset(stream, Code.NO_ERROR)
        self._said = True
        return REFUSED

    def went(self, last: int, code: int) -> None:
        """It goes anyway."""

    def settled(self) -> None:
        """Nothing of ours depends on it."""

    def pong(self) -> None:
        """Nobody has asked."""

    def broken(self, fault: Fault) -> None:
        """The last word is on its way out."""

    def counted(self, word: str) -> None:
        """It is not served."""
