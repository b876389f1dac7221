"""A stream of HTTP/2 that has become another protocol (RFC 8441): who is joined with it sees a connection.

    channel = Channel(session, number, inlet)     # from here on the engine calls it
    channel.relay_to(sink, None)                  # what comes in DATA is written there, as far as the window goes
    channel.write(data)                           # DATA; whoever feeds it is held while the peer gives no window
    channel.end(); channel.abort()                # END_STREAM; RST_STREAM

Its ends are those of a connection: END_STREAM is an end of one direction, RST_STREAM a failure of both.
"""

from __future__ import annotations

from typing import Any

from meshproxy.net.conn import NOBODY, Feeder, Sink
from meshproxy.net.splice import Pipes
from meshproxy.relay.http.inlet import Bearer, Inlet
from meshproxy.wire.h2 import Block, Code, Reason, StreamFault


class Channel:
    """What a `Conn` is to whoever joins two, and a `wire.h2.User` to the engine."""

    __slots__ = (
        "_bearer", "_closed", "_ended", "_ending", "_inlet", "_number", "_sink", "_write_over", "fed_by", "full",
        "handler", "received", "sent",
    )  # fmt: skip

    spliceable = False

    def __init__(self, bearer: Bearer, number: int, inlet: Inlet) -> None:
        self._bearer = bearer
        self._number = number
        self._inlet = inlet
        self.handler: Any = NOBODY
        self._sink: Sink | None = None
        self.fed_by: Feeder | None = None
        self.full = False
        """Whether bytes wait here that the peer, or its connection, has not taken."""
        self.received = self.sent = 0
        self._ended = False
        """The peer has said all."""
        self._ending = False
        self._write_over = False
        self._closed = False
        bearer.engine.streams[number].user = self

    @property
    def paced(self) -> bool:
        return self._bearer.conn.paced

    # What others ask for

    def start(self) -> None:
        self._inlet.start()

    def relay_to(self, sink: Sink, pipes: Pipes | None) -> None:
        self._sink = sink
        sink.fed_by = self._inlet

    def write(self, data: bytes) -> None:
        if not self._write_over:
            self.sent += len(data)
            self._bearer.engine.data(self._number, data, False)
            self._bearer.flush_after(data)

    def end(self) -> None:
        if not self._ending:
            self._say_end()
            if not self.full:
                self._shut()

    def close(self) -> None:
        """In good order: what was written still goes, and nothing more is taken."""
        if self._closed:
            return
        if not self._ending:
            self._say_end()
        self._leave(Code.NO_ERROR)

    def abort(self) -> None:
        """So that the peer sees a failure, not an end."""
        if not self._closed:
            self._leave(Code.CANCEL)

    def _say_end(self) -> None:
        self._ending = True
        self._bearer.engine.data(self._number, b"", True)
        self._bearer.flush_soon()

    def _leave(self, code: Code) -> None:
        """Where both have ended, the engine has forgotten the stream."""
        self._closed = self._write_over = True
        self._bearer.engine.reset(self._number, code)
        self._bearer.flush_soon()
        self.handler = NOBODY
        self._sink = self.fed_by = None

    # For the engine

    def headed(self, block: Block, last: bool) -> None:
        raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)

    def taken(self, data: bytes, last: bool) -> None:
        self.received += len(data)
        sink = self._sink
        assert sink is not None
        if data:
            sink.write(data)
        if last:
            self._ended = True
            self.handler.on_end(self)
            self._lost_if_over()

    def trailed(self, block: Block) -> None:
        """Nothing but DATA is part of it (RFC 9113 8.5)."""
        raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)

    def hold(self) -> None:
        self.full = True
        if self.fed_by is not None:
            self.fed_by.hold()

    def release(self) -> None:
        self.full = False
        if self.fed_by is not None:
            self.fed_by.release()
        if self._ending:
            self._shut()

    def refused(self) -> None:
        self.reset(Code.REFUSED_STREAM)

    def reset(self, code: int) -> None:
        self._write_over = True
        if self.full:
            self.full = False
            if self.fed_by is not None:
                self.fed_by.release()
        # Who has ended, and wants nothing more, has closed: that is no failure.
        closed = self._ended and code == Code.NO_ERROR
        self._ended = True
        self.handler.on_lost(self, None if closed else ConnectionResetError(f"RST_STREAM {code}"))

    def _shut(self) -> None:
        self._write_over = True
        self._lost_if_over()

    def _lost_if_over(self) -> None:
        if self._write_over and self._ended and not self._closed:
            self.handler.on_lost(self, None)
