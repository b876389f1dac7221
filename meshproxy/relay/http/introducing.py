"""The first request to an endpoint that has proved who it is: it says who we are, and its answer who that is.

    carry(carrier, asker, x, data)      # what `carrier.carry` does, on a connection that may be new

All later ones go their way as if this were not there.
"""

from __future__ import annotations

from meshproxy.core.exchange import Exchange
from meshproxy.core.introduction import Introduction
from meshproxy.errors import Failure
from meshproxy.net.conn import Conn, Feeder
from meshproxy.relay.http.link import Link
from meshproxy.relay.http.upstream import Asker, Switching, Upstream
from meshproxy.wire.h1 import ResponseHead
from meshproxy.wire.h1.connection import PEER
from meshproxy.wire.h1.encode import marked
from meshproxy.wire.introduction import read


def carry(carrier: Upstream | Link, asker: Asker, x: Exchange, data: bytes) -> None:
    introduction: Introduction | None = x.cluster.introduction
    if introduction is not None and carrier.fresh:
        asker, data = Introducing(introduction, carrier.endpoint.name, asker), marked(data, introduction.line)
    carrier.carry(asker, x, data)


class Introducing:
    """Satisfies `upstream.Asker`: who has asked, but for an ear for the head of the answer."""

    __slots__ = ("_asker", "_endpoint", "_introduction", "feeder")

    def __init__(self, introduction: Introduction, endpoint: str, asker: Asker) -> None:
        self._introduction = introduction
        self._endpoint = endpoint
        self._asker = asker
        self.feeder: Feeder = asker.feeder

    def respond(self, x: Exchange, head: ResponseHead, data: bytes, whole: bool) -> None:
        if PEER in head.shape.positions:
            said = read(head.all(PEER))
            if said is not None:
                self._introduction.peers.reached(x.cluster.name, self._endpoint, said)
        self._asker.respond(x, head, data, whole)

    def respond_more(self, x: Exchange, data: bytes, last: bool) -> None:
        self._asker.respond_more(x, data, last)

    def interim(self, x: Exchange, head: ResponseHead) -> None:
        self._asker.interim(x, head)

    def switch(self, x: Exchange, head: ResponseHead, data: bytes, upstream: Switching) -> None:
        self._asker.switch(x, head, data, upstream)

    def decodes(self, x: Exchange, head: ResponseHead) -> bool:
        return self._asker.decodes(x, head)

    def sink(self, x: Exchange) -> Conn | None:
        return self._asker.sink(x)

    def begun(self, x: Exchange) -> None:
        self._asker.begun(x)

    def lost(self, x: Exchange, failure: Failure, *, unheard: bool) -> None:
        self._asker.lost(x, failure, unheard=unheard)
