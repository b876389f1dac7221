"""Requests as spans of traces: which of them are recorded, and what endpoints are told of that.

    a request that brings a context   -> recorded, and goes on with one of ours; or not, and goes on untouched
    one that brings none              -> recorded; or not, and the next is told so: what is drawn, is drawn once

Whoever is not recorded, which is nearly everybody, costs a number counted down and a line that was made beforehand.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from meshproxy.core.exchange import Exchange, Tell
from meshproxy.core.filter import Answer
from meshproxy.core.sampling import Sampler
from meshproxy.observe.record import Endpoint
from meshproxy.observe.trace import Trace
from meshproxy.observe.trace_ids import Ids, Unsampled
from meshproxy.wire.trace import Context, Propagation

CRLF = b"\r\n"

Recorded = Trace | Literal[False]
Deliver = Callable[[Trace, Exchange], None]


class Tracer:
    """Of a worker, for as long as what is said of tracing stays the same.

    `traced` of an exchange is None until it is decided whether it is recorded, as late as possible, since most are not;
    then a `Trace`, or False.
    """

    __slots__ = ("_carry", "_deliver", "_heeds", "_ids", "_names", "_now", "_sampler", "_unsampled", "_usual")

    def __init__(self, carry: Propagation, sampler: Sampler, now: Callable[[], float], deliver: Deliver) -> None:
        """`deliver` is handed what was recorded, at its end."""
        self._carry = carry
        self._deliver = deliver
        self._now = now
        self._ids = Ids()
        self._unsampled = Unsampled(carry)
        self._names = carry.names
        self._sampler = sampler
        self._usual = carry.glance
        self._heeds = sampler.heeds

    def onto(self, x: Exchange, opening: bytes, endpoint: Endpoint) -> bytes:
        """The beginning of the head for an endpoint, with what that is told."""
        names, shape = self._names, x.request.shape
        count = shape.counted.get(names)
        if count is None:
            count = shape.count(names)
        if count:
            return self._in_place(x, opening, endpoint, count)
        traced: Recorded | None = x.traced
        if traced is None:
            # By far the most, and so without a call
            sampler = self._sampler
            left = sampler.left = sampler.left - 1
            traced = x.traced = False if left else self._drawn(x)
        if traced:
            return opening + traced.attempt(x, endpoint, self._now())
        unsampled = self._unsampled
        return opening + (unsampled.left.pop() if unsampled.left else unsampled.draw())

    def _in_place(self, x: Exchange, opening: bytes, endpoint: Endpoint, count: int) -> bytes:
        """The same where it has brought a context, or something that looks like one, in so many lines."""
        traced: Recorded | None = x.traced
        usual = self._usual
        mark = x.request.shape.marks.get(usual.name) if count == 1 and usual is not None else None
        if usual is not None and mark is not None:
            start = opening.rfind(mark)
            colon = start + len(mark)
            line = opening[colon : colon + usual.size]
            if start >= 0 and usual.fits(line):
                if traced is None:
                    if self._heeds and line[usual.said] in usual.denials:
                        x.traced = False
                        return opening
                    traced = x.traced = self._joined(x, usual.context(line))
                if not traced:
                    return opening
                lines = traced.attempt(x, endpoint, self._now())
                return opening[: start + 2] + lines + opening[colon + usual.size :]
        if traced is None:
            traced = x.traced = self._joined(x, self._carry.extract(x.request.peek))
        return self._without(x, opening) + traced.attempt(x, endpoint, self._now()) if traced else opening

    def _without(self, x: Exchange, opening: bytes) -> bytes:
        """Its lines are what is to be replaced."""
        shape = x.request.shape
        for name in self._names:
            for index in shape.positions.get(name, ()):
                start = opening.find(b"\r\n%b:" % shape.names[index])
                if start >= 0:
                    opening = opening[:start] + opening[opening.index(CRLF, start + 2) :]
        return opening

    def _decide(self, x: Exchange) -> None:
        """Where no endpoint has been asked yet."""
        request = x.request
        brings = request.shape.has_any(self._names)
        x.traced = self._joined(x, self._carry.extract(request.peek)) if brings else self._left(x)

    def _joined(self, x: Exchange, came: Context | None) -> Recorded:
        """For one that has brought a context; None: it breaks a rule, and is none."""
        if came is None:
            return self._left(x)
        return self._sampler.decide(came, x.started) and Trace(came, self._ids, self._carry)

    def _left(self, x: Exchange) -> Recorded:
        sampler = self._sampler
        sampler.left -= 1
        return not sampler.left and self._drawn(x)

    def _drawn(self, x: Exchange) -> Recorded:
        """It is its turn."""
        return self._sampler.draw(x.started) and Trace(None, self._ids, self._carry)

    def tried(self, x: Exchange, status: int, error: str = "") -> None:
        """An attempt is over, and there may be another one."""
        if x.traced:
            x.traced.ended(self._now(), status, error)

    def timed(self, x: Exchange, name: str, answer: Awaitable[Answer]) -> Awaitable[Answer]:
        """The same, and if the request is recorded, with a span for how long it takes."""
        if x.traced is None:
            self._decide(x)
        trace = x.traced
        if not trace:
            return answer
        began = self._now()

        async def waited() -> Answer:
            try:
                return await answer
            finally:
                trace.waited(name, began, self._now())

        return waited()

    def end(self, x: Exchange, tell: Tell, status: int, flags: str, seconds: float) -> None:
        """However far it has come."""
        if x.traced is None:
            self._decide(x)
        tell(x, status, flags, seconds)
        if x.traced:
            self.over(x, status, flags, seconds)

    def over(self, x: Exchange, status: int, flags: str, seconds: float) -> None:
        """One that is recorded, when all others have been told."""
        x.end(status, flags, seconds)
        self._deliver(x.traced, x)
