"""Several ways that take turns, by their weights: an attempt begins with whose turn it is, and goes on to the others.

    following = rotation([2, 1])
    following()             # [0, 1], [0, 1], then [1, 0]: who is next, and who stands in for it
    InTurn(clock, ways, timeout, done, passed_over).begin()

A proxy that says no has been reached: another one is not asked.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from heapq import heapreplace

from meshproxy.net.clock import Clock, Timer
from meshproxy.net.dial import Begin, Dialling, Outcome
from meshproxy.net.through.faults import ProxyRefused
from meshproxy.wire.asking import Why


def rotation(weights: Sequence[int]) -> Callable[[], list[int]]:
    """The places of all, the one whose turn it is first: of weights 2 and 1 come 0 0 1, and so on."""
    count = len(weights)
    heap = sorted(((place + 0.5) / (count * weight), place, 1 / weight) for place, weight in enumerate(weights))

    def following() -> list[int]:
        due, place, step = heap[0]
        heapreplace(heap, (due + step, place, step))
        return [(place + behind) % count for behind in range(count)]

    return following


def _not_reached(error: OSError) -> bool:
    return not isinstance(error, ProxyRefused) or error.why is Why.MALFORMED


class InTurn:
    """Each has the time that is left of one timeout; after `cancel` nothing is heard of it."""

    __slots__ = ("_attempt", "_clock", "_done", "_number", "_passed_over", "_timer", "_until", "_ways")

    def __init__(
        self,
        clock: Clock,
        ways: Sequence[Begin],
        timeout: float,
        done: Callable[[Outcome], None],
        passed_over: Callable[[int, OSError], None],
    ) -> None:
        """`passed_over` hears of each that leads nowhere while there is another one."""
        self._clock = clock
        self._ways = ways
        self._until = clock.now() + timeout
        self._done = done
        self._passed_over = passed_over
        self._number = 0
        self._attempt: Dialling | None = None
        self._timer: Timer | None = None

    def begin(self) -> Outcome | None:
        self._attempt = self._ways[self._number](self._told)
        outcome = self._attempt.begin()
        return outcome if outcome is None else self._after(outcome)

    def cancel(self) -> None:
        self._stop_timer()
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.cancel()

    def _told(self, outcome: Outcome) -> None:
        found = self._after(outcome)
        if found is not None:
            self._done(found)

    def _after(self, outcome: Outcome) -> Outcome | None:
        """What becomes of it all; None while another way is tried."""
        self._attempt = None
        left = self._until - self._clock.now()
        if isinstance(outcome, OSError) and _not_reached(outcome) and left > 0 and self._number + 1 < len(self._ways):
            self._passed_over(self._number, outcome)
            self._number += 1
            if self._timer is None:
                self._timer = self._clock.after(left, self._expired)
            return self.begin()
        self._stop_timer()
        return outcome

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expired(self) -> None:
        self.cancel()
        self._done(TimeoutError(errno.ETIMEDOUT, "no proxy has answered in time"))
