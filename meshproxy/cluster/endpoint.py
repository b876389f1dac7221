"""One upstream address and the connections it serves."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.observe.metrics.clusters import EndpointStats


class User(Protocol):
    """A connection that uses an endpoint, and can be told to end."""

    def drain(self) -> None: ...


class Kept(User, Protocol):
    """A connection that can be used again."""

    def close(self) -> None: ...


class Endpoint:
    """Live: it keeps its place in the rotation, and its connections, over reloads."""

    __slots__ = (
        "_clock", "_forget", "_on_change", "address", "alone", "cluster", "coming", "dialling", "doubts", "due",
        "fit_since", "heard", "idle", "latency", "name", "retired", "stats", "users",
    )

    def __init__(
        self,
        address: Address,
        stats: EndpointStats,
        clock: Clock,
        forget: Callable[[], None],
        cluster: str = "",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is told when it becomes fit to be picked, or unfit."""
        self.address = address
        self.name = str(address)
        self.cluster = cluster
        self.stats = stats
        self.due = 0.0
        """In a rotation: how long until its turn, from the last one that was taken when the rotation was built."""
        self.latency = 0.0
        """The seconds that an answer is expected to take, as was `heard` then; 0 if nothing is known."""
        self.heard = 0.0
        self.fit_since = clock.now()
        self.users: set[User] = set()
        self.idle: list[Kept] = []
        """Those of its connections that take a request, the last used at the end."""
        self.coming: object = None
        """The connection that is being made and will take many; its maker knows what it is."""
        self.alone = False
        """It has chosen, by ALPN, to take one at a time on a connection."""
        self.dialling = 0
        """Connections that exchanges wait for."""
        self.retired = False
        self.doubts: frozenset[str] = frozenset()
        """Why it is not to be picked: what watches over it has a word for that, such as `health`."""
        self._clock = clock
        self._forget = forget
        self._on_change = on_change

    def doubt(self, word: str) -> None:
        """It is not to be picked, for as long as this holds."""
        self._judge(self.doubts | {word})

    def trust(self, word: str) -> None:
        """This does not hold any more."""
        self._judge(self.doubts - {word})

    def _judge(self, doubts: frozenset[str]) -> None:
        before, self.doubts = self.doubts, doubts
        self.stats.doubts = doubts
        if bool(before) != bool(doubts):
            self.fit_since = self._clock.now()
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

    if users:
        clock.after(grace, lambda: end_all(users))


def end_all(users: Collection[User]) -> None:
    for user in tuple(users):
        # The end of one may have been the turn of another, which is something else by now.
        if user in users:
            user.drain()
