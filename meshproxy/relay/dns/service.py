"""What becomes of one question, over whichever transport it comes: the table, what is known, or the servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from meshproxy.relay.dns.table import Table
from meshproxy.relay.dns.upstream import FAILED, Upstream, Waiting
from meshproxy.wire.dns import (
    AAAA,
    NO_SUCH_NAME,
    SRV,
    A,
    Asked,
    Kept,
    Records,
    Refusal,
    answer,
    fitted,
    nothing,
    read_question,
)

LARGEST = 65535
SVCB, HTTPS = 64, 65
OWN = frozenset((A, AAAA, SRV, SVCB, HTTPS))
"""Kinds that the table alone answers for its names; the last two would tell addresses that are not written there."""
NONE = Records(0, b"")

Say = Callable[[bytes, Waiting | None], None]
"""Takes the answer, with who has waited for it."""


@dataclass(frozen=True, slots=True)
class DnsService:
    """Compiled: what a listener answers, in one generation."""

    table: Table
    upstream: Upstream
    forward: bool
    """Whether servers are asked for what is not in the table."""
    ttl: int
    counts: dict[str, int]
    """Live: questions, by what came of them."""

    def take(self, data: bytes, say: Say, *, datagram: bool) -> Waiting | None:
        """None: it is answered, or never will be."""
        counts = self.counts
        asked = read_question(data)
        if asked is None:
            counts["ignored"] += 1
            return None
        if isinstance(asked, Refusal):
            counts["malformed" if asked.malformed else "refused"] += 1
            say(asked.answer, None)
            return None
        size = asked.size if datagram else LARGEST
        entry = self.table.find(asked.name)
        if entry is not None and (not self.forward or asked.kind in OWN):
            counts["table"] += 1
            found = entry.get(asked.kind)
            authority = NONE if found else nothing(self.ttl)
            message = answer(asked, answers=found or NONE, authority=authority, authoritative=True)
            say(fitted(message, asked, size), None)
            return None
        if not self.forward:
            counts["denied"] += 1
            say(answer(asked, NO_SUCH_NAME, authority=nothing(self.ttl), authoritative=True), None)
            return None
        return self._forward(asked, size, entry is not None, say)

    def _forward(self, asked: Asked, size: int, exists: bool, say: Say) -> Waiting | None:
        upstream, counts, key = self.upstream, self.counts, asked.key
        known = upstream.known(key)
        if known is not None:
            kept, age = known
            counts["failed" if kept is FAILED else "cache"] += 1
            say(self._told(asked, size, exists, kept, age), None)
            return None
        if upstream.full:
            counts["overflow"] += 1
            say(self._told(asked, size, exists, FAILED, 0), None)
            return None
        word = "shared" if upstream.asks(key) else "upstream"
        return upstream.ask(key, partial(self._heard, asked, size, exists, word, say))

    def _heard(self, asked: Asked, size: int, exists: bool, word: str, say: Say, kept: Kept, waiting: Waiting) -> None:
        self.counts["failed" if kept is FAILED else word] += 1
        say(self._told(asked, size, exists, kept, 0), waiting)

    def _told(self, asked: Asked, size: int, exists: bool, kept: Kept, age: int) -> bytes:
        """A name of the table exists, whatever servers say who know nothing of that."""
        if exists and kept.rcode == NO_SUCH_NAME:
            return answer(asked, authority=nothing(self.ttl))
        return fitted(kept.to(asked, age), asked, size)
