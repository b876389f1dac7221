"""An exchange whose client would go on in another protocol, on a connection of HTTP/2 to an endpoint (RFC 8441).

    a GET with an offer, as of HTTP/1.1 -> CONNECT with `:protocol` -> 200 -> 101, and the stream is a tunnel
                                                                    -> a refusal: an answer like any other

The key of a WebSocket stays here, and so does what answers it: the endpoint of HTTP/2 knows of neither.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from meshproxy.cluster.endpoint import User
from meshproxy.core.exchange import Exchange
from meshproxy.errors import Failure
from meshproxy.relay.http.carried import Carried
from meshproxy.relay.http.channel import Channel
from meshproxy.relay.http.failures import BAD_UPGRADE, NO_UPGRADE, STREAM_REFUSED
from meshproxy.wire.h1 import Malformed, Reason, RequestHead
from meshproxy.wire.h2 import Block, request_block
from meshproxy.wire.websocket import accepts

if TYPE_CHECKING:
    from meshproxy.relay.http.link import Link

_key = re.compile(rb"[A-Za-z0-9+/]{22}==").fullmatch


def refusal(link: Link, request: RequestHead) -> Failure | None:
    """Why this cannot be offered there."""
    if not link.settled_once:
        return STREAM_REFUSED
    if not link.engine.peer.connect_protocol:
        return NO_UPGRADE
    key = request.get(b"sec-websocket-key")
    if request.method != b"GET" or (request.upgrade == b"websocket" and (key is None or not _key(key))):
        return BAD_UPGRADE
    return None


class Offered(Carried):
    """And then the `Switching` that carried it."""

    __slots__ = ()

    def _open(self, link: Link, x: Exchange, data: bytes) -> None:
        self._number = link.engine.open(request_block(data[:-2], link.many.scheme, x.request.upgrade), False, self)

    @property
    def _goes_on(self) -> bool:
        return True

    def headed(self, block: Block, last: bool) -> None:
        x, asker, link = self._x, self._asker, self._link
        if x is None or asker is None:
            return
        responses, protocol = link.many.responses, x.request.upgrade
        assert protocol is not None
        try:
            head = responses.head(block, last, b"CONNECT")
            if 200 <= head.status < 300 and (head.status > 200 or last):
                raise Malformed(Reason.UNASKED_UPGRADE)
        except Malformed as fault:
            self._refuse(fault)
        if head.status != 200:
            super().headed(block, last)
            return
        self._begun = True
        link.answered()
        self._heeded(x, None, head.status)
        key = x.request.get(b"sec-websocket-key") if protocol == b"websocket" else None
        asker.switch(x, responses.switched(head, protocol, None if key is None else accepts(key)), b"", self)

    # For whom the protocol has changed

    def surrender(self, user: User) -> Channel:
        self._x = self._asker = None
        return Channel(self._link, self._number, self.conn)

    def moved(self, sent: int, received: int) -> None:
        """The connection counts what goes over it."""

    def over(self) -> None:
        self._link.left()
        self._link.rested()
