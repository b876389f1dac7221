"""A stream of HTTP/2 that a proxy has made a connection of, and the attempt to get one.

    StreamDial(clock, pool, ("10.1.0.5", 80), fields, timeout, done).begin()

END_STREAM is an end of one direction, RST_STREAM a failure of both.  Who does not read holds up the other end of its
own stream by the window of that, and nobody else.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from typing import Protocol

from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import CLOSED
from meshproxy.net.dial import Outcome
from meshproxy.net.given import Given
from meshproxy.net.through.carrier import Carrier
from meshproxy.net.through.faults import ProxyRefused, as_error
from meshproxy.wire.asking import Refused, Why
from meshproxy.wire.connect import LIMITS, METHOD, RESPONSES, authority, connect_block, malformed, refuse
from meshproxy.wire.h1 import Malformed
from meshproxy.wire.h1.encode import Field
from meshproxy.wire.h2 import Block, Code, Reason, StreamFault

MOST_REFUSALS = 3
"""Of streams that the proxy has not looked at, as it says: they are asked for again."""
ERRORS: dict[int, int] = {
    Code.REFUSED_STREAM: errno.ECONNREFUSED,
    Code.ENHANCE_YOUR_CALM: errno.ECONNREFUSED,
}
"""What a reset is called here; any other is that of a connection."""


def reset_as_error(code: int) -> OSError:
    number = ERRORS.get(code, errno.ECONNRESET)
    return OSError(number, os.strerror(number))


class _Ear:
    """What the engine tells of a stream."""

    __slots__ = ("_stream",)

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def headed(self, block: Block, last: bool) -> None:
        raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)

    def taken(self, data: bytes, last: bool) -> None:
        self._stream.came(data, last)
        self._stream.read_on()

    def trailed(self, block: Block) -> None:
        """Nothing but DATA is part of it (RFC 9113 8.5)."""
        raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)

    def reset(self, code: int) -> None:
        self._stream.reset(code)

    def refused(self) -> None:
        self._stream.reset(Code.REFUSED_STREAM)

    def hold(self) -> None:
        self._stream.full_now()

    def release(self) -> None:
        self._stream.room()


class Stream(Given):
    __slots__ = ("_carrier", "_destination", "_number")

    def __init__(self, carrier: Carrier, number: int, destination: tuple[str, int]) -> None:
        """The stream is there, and another user of it agrees."""
        self._begin(carrier.loop)
        self._begin_given()
        self._carrier = carrier
        self._number = number
        self._destination = destination
        carrier.engine.streams[number].user = _Ear(self)
        self._hold_back()

    @property
    def local(self) -> tuple[str, int] | None:
        return self._destination

    def reset(self, code: int) -> None:
        if self._last and code == Code.NO_ERROR:
            # It has said all and wants no more, which is no failure.
            self._write_over = True
            self._lost_if_over()
        else:
            self._failed(reset_as_error(code))

    def _hold_back(self) -> None:
        self._carrier.engine.stop(self._number)

    def _let_come(self) -> None:
        carrier = self._carrier
        carrier.engine.start(self._number)
        if carrier.engine.out:
            carrier.flush_soon()

    def write(self, data: bytes) -> None:
        if not self._write_over and data:
            self.sent += len(data)
            self._carrier.engine.data(self._number, data, False)
            self._carrier.flush_after(data)

    def _shut(self) -> None:
        if not self._write_over:
            self._say_end()
            self._lost_if_over()

    def _say_end(self) -> None:
        self._write_over = True
        self._carrier.engine.data(self._number, b"", True)
        self._carrier.flush_soon()

    def close(self) -> None:
        if not self._paused & CLOSED:
            if not self._write_over:
                self._say_end()
            self._leave(Code.NO_ERROR)

    def abort(self) -> None:
        if not self._paused & CLOSED:
            self._leave(Code.CANCEL)

    def _leave(self, code: Code) -> None:
        """Where both have ended, the engine has forgotten the stream."""
        self._paused |= CLOSED
        self._came.clear()
        self._carrier.engine.reset(self._number, code)
        self._carrier.left()
        self._forget_all()


class Source(Protocol):
    """Who has streams."""

    def ask(self, who: StreamDial) -> None:
        """It is given one (`open_on`), or told that there is none (`failed`), once."""

    def forget(self, who: StreamDial) -> None: ...


class StreamDial:
    """Satisfies `net.dial.Dialling`, and is the user of a stream until the proxy has answered."""

    __slots__ = (
        "_block", "_carrier", "_clock", "_destination", "_done", "_interim", "_number", "_refusals", "_since",
        "_source", "_timeout", "_timer",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        source: Source,
        destination: tuple[str, int],
        fields: Sequence[Field],
        timeout: float,
        done: Callable[[Outcome], None],
    ) -> None:
        self._clock = clock
        self._source = source
        self._destination = destination
        self._block = connect_block(authority(*destination), fields)
        self._timeout = timeout
        self._done = done
        self._carrier: Carrier | None = None
        self._number = 0
        self._since = 0.0
        """When it was asked for."""
        self._interim = 0
        self._refusals = 0
        self._timer: Timer | None = None

    def begin(self) -> Outcome | None:
        self._timer = self._clock.after(self._timeout, self._expired)
        self._source.ask(self)
        return None

    def cancel(self) -> None:
        self._leave(Code.CANCEL)

    # For who has streams

    def open_on(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._since = self._clock.now()
        self._interim = 0
        self._number = carrier.open(self._block, self)

    def failed(self, error: OSError) -> None:
        self._leave(Code.CANCEL)
        self._done(error)

    # For the engine

    def headed(self, block: Block, last: bool) -> None:
        try:
            head = RESPONSES.head(block, last, METHOD)
            if head.interim:
                self._interim += 1
                if self._interim <= LIMITS.interim:
                    return
                raise Refused(Why.MALFORMED, "it goes on and on")
            refuse(head.status)
        except Malformed as fault:
            self.failed(as_error(malformed(fault)))
        except Refused as refused:
            self.failed(as_error(refused))
        else:
            self._agreed(last)

    def _agreed(self, last: bool) -> None:
        carrier, self._carrier = self._carrier, None
        assert carrier is not None
        self._stop_timer()
        stream = Stream(carrier, self._number, self._destination)
        if last:
            stream.came(b"", True)
            stream.read_on()
        self._done(stream)

    def taken(self, data: bytes, last: bool) -> None:
        raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)

    def trailed(self, block: Block) -> None:
        raise StreamFault(Code.PROTOCOL_ERROR, Reason.BAD_SEQUENCE)

    def reset(self, code: int) -> None:
        self.failed(reset_as_error(code))

    def refused(self) -> None:
        self._refusals += 1
        if self._refusals > MOST_REFUSALS:
            self.failed(ProxyRefused(Why.REFUSED, "it takes no more streams"))
            return
        self._carrier = None
        self._source.ask(self)

    def hold(self) -> None:
        """Nothing is sent yet."""

    def release(self) -> None:
        """And nothing waits."""

    # How it ends

    def _expired(self) -> None:
        if self._carrier is not None:
            self._carrier.doubt(self._since)
        self.failed(TimeoutError(errno.ETIMEDOUT, "the proxy has not answered in time"))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave(self, code: Code) -> None:
        self._stop_timer()
        carrier, self._carrier = self._carrier, None
        if carrier is None:
            self._source.forget(self)
        else:
            carrier.engine.reset(self._number, code)
            carrier.left()
