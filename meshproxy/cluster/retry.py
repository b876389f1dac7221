"""Whether a request is asked again: of another endpoint, after a while, and never more than the upstream can bear.

    retry = Retry(attempts=3, causes=frozenset({"connect_failed", 503}), ...)
    retry.wants("connect_failed")                 # before anything was answered
    retry.pause(attempt=1, asked_for=2.0)         # seconds, or None: it would take too long
    after(head, whole)                            # why it may be asked again, and how long that is asked to take
    budget.take(live=40)                          # of all retries of a cluster; budget.give() at the end
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from random import random

from meshproxy.model.retry import GRPC
from meshproxy.wire import grpc
from meshproxy.wire.h1 import ResponseHead

_seconds = re.compile(rb"[0-9]{1,6}").fullmatch
_milliseconds = re.compile(rb"[0-9]{1,9}").fullmatch

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""What may be asked twice (RFC 9110 9.2.2)."""

_CONNECTING = frozenset(("connect_failed", "connect_timeout"))
_GATEWAY = _CONNECTING | {"stream_refused", "upstream_lost", "upstream_malformed", "try_timeout"}
"""For these a client would be told one of the statuses."""
CAUSES: dict[str, frozenset[str | int]] = {
    "connect": _CONNECTING,
    "refused": frozenset(("connect_failed", "stream_refused")),
    "reset": frozenset(("upstream_lost",)),
    "timeout": frozenset(("try_timeout",)),
    "gateway": _GATEWAY | {502, 503, 504},
    "5xx": _GATEWAY | frozenset(range(500, 600)),
    **{word: frozenset((word,)) for word in GRPC},
}
"""The words of a policy, and the failures and statuses for which they stand."""


CALLS = frozenset(GRPC)
"""For these a call of gRPC is asked again, which is never a safe method: whoever names them means that."""


def after(head: ResponseHead, whole: bool) -> tuple[str | int, float]:
    """The status by which an answer may be asked for again, and the seconds for which that asks to wait.

    That of gRPC is in the head where nothing else was said: whoever has heard a message cannot be given another.
    """
    if not whole or b"grpc-status" not in head.shape.positions or not grpc.speaks(head.get(b"content-type")):
        value = head.get(b"retry-after")
        return head.status, int(value) if value is not None and _seconds(value) else 0.0
    value = head.get(b"grpc-retry-pushback-ms")
    pause = 0.0
    if value is not None:
        # Whatever is no such number asks not to be asked again.
        pause = int(value) / 1000 if _milliseconds(value) else inf
    return grpc.status(head.get(b"grpc-status")).word, pause


def causes(words: Iterable[str]) -> frozenset[str | int]:
    """Of words and numbers."""
    return frozenset(cause for word in words for cause in CAUSES.get(word) or (int(word),))


@dataclass(frozen=True, slots=True)
class Retry:
    """A policy of a route, compiled."""

    attempts: int
    """Tries in all."""
    causes: frozenset[str | int]
    """Words of failures, and statuses."""
    methods: frozenset[bytes]
    """Which may be asked twice; empty: any."""
    per_try: float = inf
    pause_first: float = 0.0
    pause_most: float = 0.0
    """Seconds: twice as long each time, up to this, and of that a share at random."""
    most_asked_for: float = 0.0
    """How long an answer may ask to wait; one that asks for more goes on as it is."""
    most_body: int = 0
    """Bytes of a body that are kept to be sent again."""
    hedge: float = inf
    """Seconds after which another endpoint is asked too."""

    def wants(self, why: str | int) -> bool:
        return why in self.causes

    def covers(self, method: bytes) -> bool:
        return not self.methods or method in self.methods

    def pause(self, attempt: int, asked_for: float = 0.0) -> float | None:
        """Before the next try, the last having been this one (the first is 1); None: not in time."""
        ours: float = min(self.pause_most, self.pause_first * 2 ** (attempt - 1)) * random()  # noqa: S311 - only to spread
        if not asked_for:
            return ours
        return max(ours, asked_for) if asked_for <= self.most_asked_for else None


@dataclass(frozen=True, slots=True)
class BudgetTerms:
    share: float
    """Of the requests that are under way."""
    least: int
    """Retries that are always allowed."""
    most: float = inf


class Budget:
    """The retries of a cluster that are under way in this worker: a storm of them ends here."""

    __slots__ = ("spent", "terms")

    def __init__(self, terms: BudgetTerms) -> None:
        self.terms = terms
        self.spent = 0

    def take(self, live: int) -> bool:
        terms = self.terms
        if self.spent >= min(max(terms.least, terms.share * live), terms.most):
            return False
        self.spent += 1
        return True

    def give(self) -> None:
        self.spent -= 1

    def retire(self, grace: float) -> None:
        """Nobody asks any more."""
