"""One upstream address and the connections it serves."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.observe.metrics import EndpointStats


class User(Protocol):
    """A connection that uses an endpoint, and can be told to end."""

    def drain(self) -> None: ...


class Kept(User, Protocol):
    """A connection that can be used again."""

    def close(self) -> None: ...


class Endpoint:
    """Live: it keeps its place in the rotation, and its connections, over reloads."""

    __slots__ = (
        "_clock", "_forget", "_on_change", "address", "current", "doubts", "idle", "name", "retired", "stats", "users"
    )

    def __init__(
        self,
        address: Address,
        stats: EndpointStats,
        clock: Clock,
        forget: Callable[[], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is told when it becomes fit to be picked, or unfit."""
        self.address = address
        self.name = str(address)
        self.stats = stats
        self.current = 0.0
        """Smooth weighted round robin: how far this endpoint is ahead."""
        self.users: set[User] = set()
        self.idle: list[Kept] = []
        """Those of its connections that wait for a request, the last used at the end."""
        self.retired = False
        self.doubts: frozenset[str] = frozenset()
        """Why it is not to be picked: what watches over it has a word for that, such as `health`."""
        self._clock = clock
        self._forget = forget
        self._on_change = on_change

    @property
    def load(self) -> int:
        """Connections that have something to do."""
        return self.stats.connections_active - len(self.idle)

    def doubt(self, word: str) -> None:
        """It is not to be picked, for as long as this holds."""
        self._judge(self.doubts | {word})

    def trust(self, word: str) -> None:
        """This does not hold any more."""
        self._judge(self.doubts - {word})

    def _judge(self, doubts: frozenset[str]) -> None:
        before, self.doubts = self.doubts, doubts
        if bool(before) != bool(doubts):
            self._on_change()

    def close_idle(self) -> None:
        """Nobody should be sent to what may be dead."""
        for each in tuple(self.idle):
            each.close()

    def retire(self, grace: float) -> None:
        self._forget()
        self.retired = True
        self.close_idle()
        drain_after(self._clock, grace, self.users)


def drain_after(clock: Clock, grace: float, users: Collection[User]) -> None:
    """Let connections end by themselves for a while, then end them."""

    def end() -> None:
        for user in tuple(users):
            user.drain()

    if users:
        clock.after(grace, end)
