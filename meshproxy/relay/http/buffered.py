"""A handling that begins when all of a request's body is there: nobody is asked for a client that sends it slowly.

What is kept is as it came, with its chunks and trailers if it has them, and counts as that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from meshproxy.core.exchange import Exchange, Tell
from meshproxy.relay.http.failures import BODY_TOO_LARGE
from meshproxy.relay.http.handling import NOTHING, Asked, Handling
from meshproxy.wire.h1 import RequestHead


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Buffered(Handling):
    inner: Handling
    tell: Tell
    """Of what is refused."""
    most: int

    def opening(self, head: RequestHead, path: bytes, target: bytes, without: frozenset[bytes] = NOTHING) -> bytes:
        return self.inner.opening(head, path, target, without)

    def begin(self, asked: Asked, x: Exchange) -> None:
        x.tell = self.tell
        if x.request.body > self.most:
            asked.fail(x, BODY_TOO_LARGE)
        else:
            asked.gather(x, self.most, partial(self.inner.begin, asked, x))
