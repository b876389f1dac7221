"""One exchange on a connection of HTTP/2 to an endpoint: a stream, as who asks knows an `Upstream`.

    what is asked     text of HTTP/1.1 -> HEADERS, DATA, trailers
    what is answered  HEADERS, DATA, trailers -> a head, and pieces as on an HTTP/1.1 wire

Whatever one read has brought of an answer goes on together, at best all of it at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from meshproxy.cluster.heed import heard
from meshproxy.core.exchange import Exchange
from meshproxy.errors import Failure
from meshproxy.relay.http.failures import STREAM_REFUSED, UPSTREAM_LOST, UPSTREAM_MALFORMED
from meshproxy.relay.http.inlet import Inlet
from meshproxy.relay.http.upstream import Asker
from meshproxy.wire import h2
from meshproxy.wire.h1 import (
    CHUNKED,
    NO_BODY,
    BodyReader,
    Malformed,
    Reason,
    ResponseHead,
    body_reader,
)
from meshproxy.wire.h1.rules import DEFAULT_LIMITS
from meshproxy.wire.h2 import Block, Code, FramedBody, StreamFault, request_block, trailer_block, trailers

if TYPE_CHECKING:
    from meshproxy.relay.http.link import Link


class Carried:
    """Satisfies `wire.h2.User`, and is what carries an exchange."""

    __slots__ = (
        "_asked_at", "_asker", "_begun", "_body", "_early", "_ended", "_head", "_inlet", "_interim", "_link", "_number",
        "_reads", "_sends", "_stopped", "_x", "full",
    )  # fmt: skip
    carries = True

    def __init__(self, link: Link, asker: Asker, x: Exchange) -> None:
        self._link = link
        self._asker: Asker | None = asker
        self._x: Exchange | None = x
        self._sends: BodyReader | None = None
        """What reads the body of the request, until all of it is on its way."""
        self._begun = False
        """Something of the answer has come."""
        self._interim = 0
        self._body: FramedBody | None = None
        self._head: ResponseHead | None = None
        """Of the answer, until that is told."""
        self._early = b""
        """What has come and was not told."""
        self._ended = False
        """All of the answer has come."""
        self._stopped = False
        self._inlet: Inlet | None = None
        self.full = False
        """Whether who asks waits until the endpoint takes more."""
        self._asked_at = 0.0
        """If somebody heeds how long it takes."""
        self._reads = link.reads
        x.upstream = self

    def begin(self, data: bytes) -> None:
        link, x = self._link, self._x
        assert x is not None
        if x.cluster.heed is not None:
            self._asked_at = link.site.now()
        request = x.request
        if request.body == NO_BODY:
            self._open(link, x, data)
            return
        end = data.index(b"\r\n\r\n")
        chunked = bool(x.handling.pipeline.request_data)
        self._sends = body_reader(CHUNKED if chunked else request.body, DEFAULT_LIMITS, decode=True)
        self._number = link.engine.open(request_block(data[: end + 2], link.many.scheme), False, self)
        if end + 4 < len(data):
            self.more(data[end + 4 :])

    def _open(self, link: Link, x: Exchange, data: bytes) -> None:
        """For a request that has no body."""
        self._number = link.engine.open(request_block(data[:-2], link.many.scheme), True, self)

    # For who asks

    def more(self, data: bytes) -> None:
        body = self._sends
        if body is None:
            return
        link, number = self._link, self._number
        passed = body.feed(data)
        if not body.done:
            if passed:
                link.engine.data(number, passed, False)
        else:
            self._sends = None
            if body.trailers:
                if passed:
                    link.engine.data(number, passed, False)
                link.engine.trailers(number, trailer_block(body.trailers))
            else:
                link.engine.data(number, passed, True)
        link.flush_after(passed)

    @property
    def conn(self) -> Inlet:
        """Who is held while the client takes no more of the answer."""
        if self._inlet is None:
            self._inlet = Inlet(self._link, self._number)
        return self._inlet

    def stop(self) -> None:
        """Nobody takes more of the answer until `start`: what is on its way is kept, which is a window at most."""
        self._stopped = True
        self.conn.stop()

    def start(self) -> None:
        if self._stopped:
            self._stopped = False
            self.conn.start()
            self._link.site.loop.call_soon(self.show)

    def cancel(self, failure: Failure | None = None) -> None:
        """Nobody waits for the answer any more, perhaps since the endpoint has failed to give one."""
        x = self._x
        if x is None:
            return
        if failure is not None and self._body is None:
            self._heeded(x, failure, 0)
        self._leave(Code.CANCEL)
        self._link.rested()

    def turn_to(self, asker: Asker, x: Exchange) -> None:
        """Who has been answered goes on as another."""
        if self._x is not None:
            self._asker, self._x = asker, x

    # What comes back

    def headed(self, block: Block, last: bool) -> None:
        x, asker, link = self._x, self._asker, self._link
        if x is None or asker is None:
            return  # its connection is no more, though all that was read is looked at
        self._begun = True
        try:
            head = link.many.responses.head(block, last, x.request.method)
            if head.status < 200:
                self._count_interim()
        except Malformed as fault:
            self._refuse(fault)
        link.answered()
        if head.status < 200:
            asker.interim(x, head)
            return
        self._heeded(x, None, heard(head))
        if last:
            x.trailers = ()
            self._done(x)
            asker.respond(x, head, b"", True)
            return
        self._head = head
        self._body = FramedBody(head.body, link.many.responses.limits, decode=asker.decodes(x, head))
        link.headed.append(self)

    def _count_interim(self) -> None:
        self._interim += 1
        if self._interim > self._link.many.responses.limits.interim:
            raise Malformed(Reason.TOO_MANY_INTERIM)

    def taken(self, data: bytes, last: bool) -> None:
        self._take(data, () if last else None)

    def trailed(self, block: Block) -> None:
        try:
            lines = trailers(block, self._link.many.responses.limits)
        except Malformed as fault:
            self._refuse(fault)
        self._take(b"", lines)

    def _take(self, data: bytes, trailers: Sequence[bytes] | None) -> None:
        """`trailers`: after what was the last of it."""
        body = self._body
        if self._x is None:
            return
        assert body is not None, "a head comes first"
        try:
            passed = body.feed(data) if data else b""
            if trailers is not None:
                passed += body.finish(trailers)
                self._ended = True
        except Malformed as fault:
            self._refuse(fault)
        if self._early:
            passed = self._early + passed
        if self._stopped or (self._head is not None and not self._ended):
            self._early = passed
        else:
            self._early = b""
            self._tell(passed)

    def show(self) -> None:
        """What has come and was not told, if that is not all told by now."""
        if not self._stopped and (self._head is not None or self._early or self._ended):
            passed, self._early = self._early, b""
            self._tell(passed)

    def _tell(self, passed: bytes) -> None:
        x, asker, body = self._x, self._asker, self._body
        if x is None or asker is None:
            return
        assert body is not None
        last = self._ended
        head, self._head = self._head, None
        if last:
            x.trailers = body.trailers
            self._done(x)
        if head is not None:
            asker.respond(x, head, passed, last)
        elif passed or last:
            asker.respond_more(x, passed, last)

    def _done(self, x: Exchange) -> None:
        """The answer is whole.  This comes before the asker hears of it, who may have the next request at hand."""
        x.upstream = None
        # It must not take half a request for a whole one, nor go on with one that is answered.
        self._leave(Code.CANCEL if self._goes_on else None)

    @property
    def _goes_on(self) -> bool:
        """Whether the endpoint has not been told all."""
        return self._sends is not None or self.full

    # How it ends

    def reset(self, code: int) -> None:
        """By the endpoint, or for what it has sent."""
        link = self._link
        faulty, link.faulty = link.faulty, False
        if not self._ended:
            self._fail(UPSTREAM_MALFORMED if faulty else UPSTREAM_LOST)

    def refused(self) -> None:
        if self._begun:
            self._fail(UPSTREAM_LOST)  # who has answered has begun
            return
        x, link = self._x, self._link
        if link.engine.room <= 0:
            link.withdraw()  # it goes: nothing is held against the endpoint
        elif x is not None:
            # It could have more, and wants none
            self._heeded(x, STREAM_REFUSED, 0)
            link.refused()
        self._lose(STREAM_REFUSED, unheard=False)

    def end(self, failure: Failure) -> None:
        """Its connection is no more."""
        if self._ended:
            return  # which is told when it is wanted
        if self._number > self._link.out:
            self._lose(STREAM_REFUSED, unheard=False)
        else:
            self._fail(failure)

    def _refuse(self, fault: Malformed) -> NoReturn:
        self._link.malformed(fault)
        raise StreamFault(Code.PROTOCOL_ERROR, h2.Reason.MALFORMED) from None

    def _fail(self, failure: Failure) -> None:
        x, link = self._x, self._link
        if x is None:
            return
        unheard = failure is UPSTREAM_LOST and self._number > 1 and self._reads == link.reads
        if not unheard and self._body is None:
            self._heeded(x, failure, 0)
        self._lose(failure, unheard=unheard)

    def _lose(self, failure: Failure, *, unheard: bool) -> None:
        x, asker = self._x, self._asker
        if x is None or asker is None:
            return
        self._leave()
        asker.lost(x, failure, unheard=unheard)

    def _heeded(self, x: Exchange, failure: Failure | None, status: int) -> None:
        heed = x.cluster.heed
        if heed is not None:
            link = self._link
            heed(link.endpoint, failure, status, link.site.now() - self._asked_at)

    def _leave(self, code: Code | None = None) -> None:
        """Who asked is not held back by this any more; with a code, the endpoint is told that it is over."""
        asker, link = self._asker, self._link
        if code is not None:
            link.engine.reset(self._number, code)
            link.flush_soon()
        if self.full and asker is not None:
            self.full = False
            asker.feeder.release()
        self._x = self._asker = self._sends = None
        link.left()

    # The endpoint takes no more, or more

    def hold(self) -> None:
        self.full = True
        if self._asker is not None:
            self._asker.feeder.hold()

    def release(self) -> None:
        self.full = False
        if self._asker is not None:
            self._asker.feeder.release()
