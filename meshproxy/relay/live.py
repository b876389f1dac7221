"""What a listener keeps over reloads: its counters, and the connections that came in through it."""

from __future__ import annotations

from collections.abc import Callable, Generator, MutableSequence
from math import inf
from typing import Protocol

from meshproxy.cluster.endpoint import User, drain_after
from meshproxy.core.limit import Stock
from meshproxy.net.clock import Clock, Timer
from meshproxy.observe.metrics import ListenerStats


class Connection(User, Protocol):
    def account(self) -> None:
        """Add what has moved since the last time to the counters."""


class Guests:
    """Everybody who is in, through any listener of any generation."""

    __slots__ = ("_board", "_number", "count", "states")

    def __init__(self, board: MutableSequence[int], number: int) -> None:
        """`board[number]` shows how many they are; what else stands there belongs to other workers."""
        self._board = board
        self._number = number
        self.count = 0
        self.states: set[ListenerState] = set()

    def show(self) -> None:
        self._board[self._number] = self.count

    def came(self) -> None:
        self.count += 1
        self.show()

    def left(self) -> None:
        self.count -= 1
        self.show()


class ListenerState:
    """Live, keyed by the listener's name."""

    __slots__ = ("_clock", "_guests", "_registry", "_retired", "connections", "limit", "name", "stats")

    def __init__(
        self, name: str, registry: dict[str, ListenerStats], guests: Guests, clock: Clock, limit: Stock
    ) -> None:
        self.name = name
        self.limit = limit
        self.stats = ListenerStats()
        self.connections: set[Connection] = set()
        self._registry = registry
        self._guests = guests
        self._clock = clock
        self._retired = False
        registry[name] = self.stats
        guests.states.add(self)

    def came(self) -> None:
        """A unit of the limit is taken for it, and it is counted in."""
        self.stats.connections_total += 1
        self.stats.connections_active += 1
        self._guests.came()

    def rejected(self, reason: str) -> None:
        """It had been counted in, and is not relayed."""
        self.stats.rejected[reason] += 1
        self._left("error")

    def closed(self, connection: Connection, reason: str) -> None:
        self.connections.discard(connection)
        self._left(reason)

    def _left(self, reason: str) -> None:
        self.stats.connections_active -= 1
        self.stats.closed[reason] += 1
        self._guests.left()
        self.limit.give()
        self._forget_if_over()

    def account(self) -> Generator[None, None, None]:
        """In steps."""
        for connection in tuple(self.connections):
            connection.account()
            yield

    def drain(self) -> None:
        for connection in tuple(self.connections):
            connection.drain()

    def retire(self, grace: float) -> None:
        if self._registry.get(self.name) is self.stats:
            del self._registry[self.name]
        drain_after(self._clock, grace, self.connections)
        self._retired = True
        self._forget_if_over()

    def _forget_if_over(self) -> None:
        if self._retired and not self.connections:
            self._guests.states.discard(self)


class Lifespan:
    """Ends what is silent for too long, or too old.

    It asks what has moved four times per idle timeout, so that traffic pays nothing for it: a silence of `idle` seconds
    is noticed before it has lasted a quarter longer.  Either limit may be infinite.
    """

    LOOKS = 4

    __slots__ = ("_clock", "_deadline", "_end", "_every", "_moved", "_quiet", "_timer")

    def __init__(
        self,
        clock: Clock,
        idle: float,
        lifetime: float,
        moved: Callable[[], bool],
        end: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._every = idle / self.LOOKS
        self._deadline = clock.now() + lifetime
        self._moved: Callable[[], bool] | None = moved
        self._end: Callable[[str], None] | None = end
        self._quiet = 0
        self._timer: Timer | None = None
        self._look_later()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._moved = self._end = None

    def _look_later(self) -> None:
        wait = min(self._every, self._deadline - self._clock.now())
        if wait < inf:
            self._timer = self._clock.after(wait, self._look)

    def _look(self) -> None:
        moved, end = self._moved, self._end
        assert moved is not None
        assert end is not None
        self._quiet = 0 if moved() else self._quiet + 1
        if self._clock.now() >= self._deadline:
            end("lifetime")
        elif self._quiet >= self.LOOKS:
            end("idle")
        else:
            self._look_later()
