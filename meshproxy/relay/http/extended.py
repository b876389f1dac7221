"""A stream of HTTP/2 whose client would go on in another protocol (RFC 8441), a WebSocket as a rule, or in any.

    CONNECT with `:protocol` -> a GET with an offer, as of HTTP/1.1 -> 101 -> 200, and what follows is a tunnel
                                                                    -> a refusal: an answer like any other
    CONNECT -> a connection to where it says -> 200, and what follows is a tunnel

To the client any 2xx says that the protocol has changed.  So it is said where an endpoint has agreed, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshproxy.core.exchange import Exchange
from meshproxy.core.reply import Reply, of_failure
from meshproxy.relay.http.channel import Channel
from meshproxy.relay.http.failures import NOT_SWITCHED
from meshproxy.relay.http.inlet import Inlet
from meshproxy.relay.http.stream import Stream
from meshproxy.relay.http.tunnel import StreamTunnel
from meshproxy.wire.h1 import Malformed, Reason, RequestHead, ResponseHead
from meshproxy.wire.h2 import Block, Code, StreamFault, response_block
from meshproxy.wire.h2 import Reason as Why
from meshproxy.wire.websocket import accepts

if TYPE_CHECKING:
    from meshproxy.relay.http.multiplexed import Multiplexed
    from meshproxy.relay.http.upstream import Switching

_ACCEPT = b"sec-websocket-accept"
_OF_THE_HOP = frozenset((_ACCEPT,))
"""What answers a key that the client does not know of.  All else of HTTP/1.1 alone is left out by itself."""


class Extended(Stream):
    __slots__ = ("_ended",)

    def __init__(self, session: Multiplexed, number: int, head: RequestHead, last: bool) -> None:
        super().__init__(session, number, head, True)
        self._early = b""
        """What the client has for the other protocol, before anybody has agreed to that: a window of it at most."""
        self._ended = last
        """It has said all."""
        self._inlet = Inlet(session, number)
        self._inlet.stop()

    def taken(self, data: bytes, last: bool) -> None:
        self._ended = last
        if self._x is not None:
            self._early += data

    def trailed(self, block: Block) -> None:
        raise StreamFault(Code.PROTOCOL_ERROR, Why.BAD_SEQUENCE)

    @property
    def _comes_more(self) -> bool:
        return not self._ended

    # Answers

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        if head.status < 300:
            self.fail(x, NOT_SWITCHED)
        else:
            super().respond(x, head, data, whole)

    def reply(self, x: Exchange, reply: Reply) -> None:
        if reply.status < 300:
            x.failure = NOT_SWITCHED
            reply = of_failure(NOT_SWITCHED.status, NOT_SWITCHED.reason)
        super().reply(x, reply)

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Switching) -> None:
        key = x.request.get(b"sec-websocket-key") if x.request.upgrade is not None else None
        if key is not None and head.get(_ACCEPT) != accepts(key):
            raise Malformed(Reason.WRONG_ACCEPT)
        self._x = None
        x.response = head
        x.answered = now = self._site.now()
        self._count(x, head.status, now)
        session, early = self._session, self._early
        session.turned(self)
        _, _, lines = head.opening(without=_OF_THE_HOP).partition(b"\r\n")
        self._engine.head(self._number, response_block(b"HTTP/1.1 200 OK\r\n" + lines), False)
        session.flush_soon()
        channel = Channel(session, self._number, self._inlet)
        StreamTunnel(session, channel, upstream, x, len(data)).begin(b"", data)
        if early or self._ended:
            channel.taken(early, self._ended)
