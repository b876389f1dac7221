"""Whether a request is asked again: of another endpoint, after a while, and never more than the upstream can bear.

    retry = Retry(attempts=3, causes=frozenset({"connect_failed", 503}), ...)
    retry.wants("connect_failed")                 # before anything was answered
    retry.pause(attempt=1, asked_for=b"2")        # seconds, or None: it would take too long
    budget.take(live=40)                          # of all retries of a cluster; budget.give() at the end
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from random import random

_seconds = re.compile(rb"[0-9]{1,6}").fullmatch

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))
"""What may be asked twice (RFC 9110 9.2.2)."""

_CONNECTING = frozenset(("connect_failed", "connect_timeout"))
_GATEWAY = _CONNECTING | {"upstream_lost", "upstream_malformed", "try_timeout"}
"""For these a client would be told one of the statuses."""
CAUSES: dict[str, frozenset[str | int]] = {
    "connect": _CONNECTING,
    "refused": frozenset(("connect_failed",)),
    "reset": frozenset(("upstream_lost",)),
    "timeout": frozenset(("try_timeout",)),
    "gateway": _GATEWAY | {502, 503, 504},
    "5xx": _GATEWAY | frozenset(range(500, 600)),
}
"""The words of a policy, and the failures and statuses for which they stand."""


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
    """How long a `Retry-After` is respected; of a longer one the answer goes on as it is."""
    most_body: int = 0
    """Bytes of a body that are kept to be sent again."""
    hedge: float = inf
    """Seconds after which another endpoint is asked too."""

    def wants(self, why: str | int) -> bool:
        return why in self.causes

    def covers(self, method: bytes) -> bool:
        return not self.methods or method in self.methods

    def pause(self, attempt: int, asked_for: bytes | None) -> float | None:
        """Before the next try, the last having been this one (the first is 1); None: not in time."""
        ours: float = min(self.pause_most, self.pause_first * 2 ** (attempt - 1)) * random()  # noqa: S311 - only to spread
        if asked_for is None or not _seconds(asked_for):
            return ours
        theirs = int(asked_for)
        return max(ours, theirs) if theirs <= self.most_asked_for else None


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
