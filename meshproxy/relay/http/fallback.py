"""Who answers when all else has failed: another cluster, or the proxy itself.

Only what the proxy would have said itself is replaced: an answer that an upstream gave, whatever its status, is one.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.core.exchange import Exchange
from meshproxy.core.filter import FILTER_ERROR
from meshproxy.core.reply import Reply
from meshproxy.errors import Failure
from meshproxy.relay.http.failures import DEADLINE, REQUEST_TIMEOUT
from meshproxy.relay.http.handling import Asked, Share


def concerns(x: Exchange, failure: Failure) -> bool:
    """Whether somebody was to be asked, and it is neither the client's fault nor a filter's that nothing came of it."""
    return x.cluster is not None and x.response is None and failure.status >= 500 and failure is not FILTER_ERROR


@dataclass(frozen=True, slots=True, eq=False)
class Elsewhere:
    share: Share

    def __call__(self, asked: Asked, x: Exchange, failure: Failure) -> bool:
        cluster = self.share.cluster
        if not concerns(x, failure) or x.cluster is cluster or x.streamed or failure in (REQUEST_TIMEOUT, DEADLINE):
            return False
        x.cluster, x.tell = self.share
        asked.begin_anew(x)
        return True


@dataclass(frozen=True, slots=True, eq=False)
class Instead:
    reply: Reply

    def __call__(self, asked: Asked, x: Exchange, failure: Failure) -> bool:
        if not concerns(x, failure):
            return False
        asked.reply(x, self.reply)
        return True
