"""Two ways to the other end are tried at once, and the first that is there is taken.

    race = Race(by_quic, by_tcp, done)      # functions of `done`, which give attempts: `net.dial.Dialling`
    outcome = race.begin()                  # a connection, what went wrong, or None: then `done` is told

Nobody says anything on a connection before the race is over: a hello on the second would end the session of the first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

C_co = TypeVar("C_co", covariant=True)
C = TypeVar("C")


class Attempt(Protocol[C_co]):
    def begin(self) -> C_co | OSError | None: ...

    def cancel(self) -> None: ...


Way = Callable[[Callable[[C | OSError], None]], Attempt[C]]
"""How to dial; what becomes of it is told once, if `begin` has not said it already."""


class Race(Generic[C]):
    """After `cancel` nothing is heard of it."""

    __slots__ = ("_done", "_running", "_ways")

    def __init__(self, first: Way[C], second: Way[C], done: Callable[[C | OSError], None]) -> None:
        self._ways = (first, second)
        self._done = done
        self._running: dict[int, Attempt[C]] = {}

    def begin(self) -> C | OSError | None:
        outcome: C | OSError | None = None
        for place, way in enumerate(self._ways):
            attempt = way(partial(self._told, place))
            outcome = attempt.begin()
            if outcome is None:
                self._running[place] = attempt
            elif not isinstance(outcome, OSError):
                self.cancel()
                return outcome
        return None if self._running else outcome

    def cancel(self) -> None:
        running, self._running = self._running, {}
        for attempt in running.values():
            attempt.cancel()

    def _told(self, place: int, outcome: C | OSError) -> None:
        """What is wrong with one of them is nobody's business while the other may come."""
        del self._running[place]
        if isinstance(outcome, OSError):
            if not self._running:
                self._done(outcome)
            return
        self.cancel()
        self._done(outcome)
