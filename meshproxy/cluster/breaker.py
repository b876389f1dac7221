"""A breaker: what happened lately, and the gate that it turns.

    breaker = Breaker(Terms(window=30, open_for=10, min_requests=20, error_ratio=0.5), clock.now, on_turn, tell)
    breaker.heed(endpoint, failure, status, seconds)     # each attempt
    breaker.gate                                         # None while closed, else a function: may this one pass?
    breaker.hear(until)                                  # that of another worker has opened

    closed --too many errors, or too many slow ones--> open --`open_for` is over--> half-open
    half-open --`probes` answers in a row are good--> closed, with nothing remembered
    half-open --one is bad--> open

A request reads one attribute while all is well.  What began before the gate was turned says nothing about what is
behind it now, and is not heeded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Literal

from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure

SLICES = 10
"""Of a window: what happened leaves it a tenth at a time."""

Gate = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Terms:
    """What turns it.  Amounts and ratios that are infinite turn nothing."""

    window: float
    open_for: float
    min_requests: int = 1
    """Before a ratio counts."""
    error_ratio: float = inf
    error_amount: float = inf
    slow: float = inf
    """Seconds after which an answer is slow."""
    slow_ratio: float = inf
    slow_amount: float = inf
    probes: int = 1
    """How many may pass when it is half-open; none: it closes as it is."""


class Slice:
    __slots__ = ("errors", "slow", "total", "until")

    def __init__(self, until: float) -> None:
        self.until = until
        self.total = self.errors = self.slow = 0


class Breaker:
    """Live: a reload that leaves its terms alone leaves it as it is."""

    __slots__ = (
        "_begun", "_good", "_now", "_on_turn", "_passed", "_slices", "_tell", "_terms", "_until", "errors", "gate",
        "slow", "state", "total",
    )

    def __init__(
        self, terms: Terms, now: Callable[[], float], on_turn: Callable[[], None], tell: Callable[[float], None]
    ) -> None:
        """`on_turn` hears that the gate is another; `tell` carries until when it is open to all other workers."""
        self._terms = terms
        self._now = now
        self._on_turn = on_turn
        self._tell = tell
        self._until = 0.0
        self._close()

    def retire(self, grace: float) -> None:
        """Nobody asks any more."""

    def _close(self) -> None:
        self.state: Literal["closed", "open", "half-open"] = "closed"
        self.gate: Gate | None = None
        self._begun = self._now()
        self._forget()

    def _forget(self) -> None:
        self._slices: deque[Slice] = deque()
        self.total = self.errors = self.slow = 0

    # What happens

    def heed(self, _: Endpoint, failure: Failure | None, status: int, seconds: float) -> None:
        now, terms = self._now(), self._terms
        if self.state == "open" or now - seconds < self._begun:
            return
        failed, slow = failure is not None or status >= 500, seconds > terms.slow
        if self.state == "half-open":
            self._probed(good=not failed and not slow)
            return
        slices = self._slices
        if not slices or now >= slices[-1].until:
            self._move_on(now)
        here = slices[-1]
        here.total += 1
        self.total += 1
        if failed or slow:
            here.errors += failed
            here.slow += slow
            self.errors += failed
            self.slow += slow
            if self._too_many():
                self._open()

    def _move_on(self, now: float) -> None:
        while self._slices and self._slices[0].until <= now - self._terms.window:
            gone = self._slices.popleft()
            self.total -= gone.total
            self.errors -= gone.errors
            self.slow -= gone.slow
        self._slices.append(Slice(now + self._terms.window / SLICES))

    def _too_many(self) -> bool:
        terms, total = self._terms, self.total
        if self.errors >= terms.error_amount or self.slow >= terms.slow_amount:
            return True
        return total >= terms.min_requests and (
            self.errors >= terms.error_ratio * total or self.slow >= terms.slow_ratio * total
        )

    # The gate

    def hear(self, until: float) -> None:
        """It is open elsewhere, until then: what is so for one is so for all."""
        if until > self._now() and (self.state != "open" or until > self._until):
            self._open_until(until)

    def _open(self) -> None:
        until = self._now() + self._terms.open_for
        self._open_until(until)
        self._tell(until)

    def _open_until(self, until: float) -> None:
        self.state = "open"
        self.gate = self._may_pass
        self._until = until
        self._forget()
        self._on_turn()

    def _may_pass(self) -> bool:
        now = self._now()
        if now < self._until:
            return False
        if not self._terms.probes:
            self._shut()
            return True
        if self.state == "open":
            self.state = "half-open"
            self._begun = now
            self._good = self._passed = 0
        if self._passed >= self._terms.probes:
            return False
        self._passed += 1
        if self._passed == self._terms.probes:
            # Of those that have passed one may never be heard of again; then others get their chance.
            self._until = now + self._terms.open_for
            self._passed = 0
        return True

    def _probed(self, *, good: bool) -> None:
        self._good += 1
        if not good:
            self._open()
        elif self._good >= self._terms.probes:
            self._shut()

    def _shut(self) -> None:
        self._close()
        self._on_turn()
