"""A worker's part of the limits that all workers share: to take a unit is to count, to ask is rare.

    limits = Limits(clock, say)             # `say` carries a Said to the ledger; what that answers goes to limits.hear
    connections = limits.stock("web")       # live: until it is retired
    if connections.take():                  # the usual case: a unit of the lease that is held anyway
        ...
        connections.give()
    else:
        connections.ask(told)               # told(True): a unit is taken; told(False): there is none

The ledger holds the totals, a worker a lease on a part of each.  It asks for more before the lease is used up, and what
it says may be under way for any time: units on their way belong to nobody who could use them, so no total is exceeded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from meshproxy.net.clock import Clock

PATIENCE = 1.0
"""Seconds after which a waiter is told no, whatever became of the owner."""
MOST_WAITERS = 1024


class Said(NamedTuple):
    """What a worker and the owner tell each other about one limit; in JSON, a short list.

    A worker says `need` (that many wait), `want` (ahead of need), `back` (units it is done with) and `spare` (the same,
    as its answer to a recall).  To each need and want the owner says `grant` or `deny`; unasked, `recall` (return what
    is spare, and from now on what is freed), `fed` (there is something again: ask) and `ease` (keep what is freed
    again, and here is a share).
    """

    kind: str
    key: str
    edition: int
    """Tells a limit from an earlier one of the same name; 0 until the owner has said it."""
    amount: int = 0
    """Units.  In a `deny`: for how many milliseconds it holds, or 0: until something is granted or fed."""
    low: int = 0
    """With units: how few may be left before more are wanted."""


Told = Callable[[bool], None]


class Limits:
    """All limits of one worker, and its end of the talk with the owner."""

    def __init__(self, clock: Clock, say: Callable[[Said], None]) -> None:
        self.clock = clock
        self.say = say
        self._limits: dict[str, Limit] = {}

    def stock(self, key: str) -> Stock:
        stock = self._limits[key] = Stock(key, self)
        return stock

    def flow(self, key: str) -> Flow:
        flow = self._limits[key] = Flow(key, self)
        return flow

    def hear(self, said: Said) -> None:
        limit = self._limits.get(said.key)
        if limit is not None and said.edition >= limit.edition:
            limit.hear(said)
        elif said.kind == "recall":
            self.say(said._replace(kind="spare"))
        elif said.amount and said.kind != "deny":
            self.say(said._replace(kind="back", low=0))

    def forget(self, limit: Limit) -> None:
        if self._limits.get(limit.key) is limit:
            del self._limits[limit.key]

    def orphaned(self) -> None:
        """The owner is gone for good: each lease stays as it is."""
        self.say = lambda _: None
        for limit in tuple(self._limits.values()):
            limit.orphaned()


class Limit:
    """What stocks and flows have in common: units at hand, and those who wait for more."""

    __slots__ = ("_asked", "_limits", "_low", "_refusing", "_spare", "_waiters", "_watched", "edition", "key")

    def __init__(self, key: str, limits: Limits) -> None:
        self.key = key
        self.edition = 0
        self._limits = limits
        self._spare = 0
        """Less than nothing where units in use are covered by no lease."""
        self._low = 0
        self._asked = False
        """The owner owes an answer."""
        self._refusing = -inf
        """Until when the owner need not be asked, for it has said no."""
        self._waiters: deque[tuple[float, Told]] = deque()
        self._watched = False

    def take(self) -> bool:
        if self._spare > self._low:
            self._spare -= 1
            return True
        return self._take_low()

    def _take_low(self) -> bool:
        if self._spare <= 0:
            return False
        self._spare -= 1
        if not self._asked and self._limits.clock.now() >= self._refusing:
            self._ask("want", self._low)
        return True

    def ask(self, told: Told) -> None:
        """After a `take` in vain.  `told` is called once: perhaps before this returns, or else before patience ends."""
        now = self._limits.clock.now()
        if self.take():
            told(True)
        elif now < self._refusing or len(self._waiters) >= MOST_WAITERS:
            told(False)
        else:
            self._waiters.append((now + PATIENCE, told))
            self._settle()
            self._watch()

    def hear(self, said: Said) -> None:
        if said.edition > self.edition:
            self.edition = said.edition
            self._asked = False
        if said.kind in ("grant", "deny"):
            self._asked = False
        if said.kind == "deny":
            self._refuse(self._limits.clock.now() + said.amount / 1000 if said.amount else inf)
        elif said.kind != "recall":
            self._refusing = -inf
        if said.kind in ("grant", "ease"):
            self._spare += said.amount
            self._low = said.low
        self._settle()

    def orphaned(self) -> None:
        self._low = 0
        self._refuse(inf)

    def retire(self, grace: float) -> None:
        self._limits.forget(self)
        self._refuse(inf)

    def _settle(self) -> None:
        """Serve who waits; ask for those who are left."""
        while self._waiters and self._spare > 0:
            self._spare -= 1
            self._waiters.popleft()[1](True)
        if self._waiters and not self._asked:
            self._ask("need", len(self._waiters) - self._spare)

    def _ask(self, kind: str, amount: int) -> None:
        self._asked = True
        self._say(kind, amount)

    def _say(self, kind: str, amount: int) -> None:
        self._limits.say(Said(kind, self.key, self.edition, amount))

    def _refuse(self, until: float) -> None:
        self._refusing = until
        self._drop(inf)

    def _drop(self, due: float) -> None:
        while self._waiters and self._waiters[0][0] <= due:
            self._waiters.popleft()[1](False)

    def _watch(self) -> None:
        """One timer for all: it looks at the oldest, and stays while somebody waits."""
        if self._waiters and not self._watched:
            self._watched = True
            self._limits.clock.after(self._waiters[0][0] - self._limits.clock.now(), self._look)

    def _look(self) -> None:
        self._watched = False
        self._drop(self._limits.clock.now())
        self._watch()


class Flow(Limit):
    """So many per second: what is taken is gone."""

    __slots__ = ()

    @property
    def wait(self) -> float:
        """For how many seconds the last no holds."""
        return max(0.0, self._refusing - self._limits.clock.now())


class Stock(Limit):
    """So many at a time: what is taken is given back."""

    __slots__ = ("_held", "_tight")

    def __init__(self, key: str, limits: Limits) -> None:
        super().__init__(key, limits)
        self._held = 0
        """The lease: what is spare and what is in use."""
        self._tight = False
        """Others wait for what is freed here."""

    @property
    def held(self) -> int:
        return self._held

    @property
    def used(self) -> int:
        return self._held - self._spare

    def take_at_once(self) -> bool:
        """Without waiting; if there is none here, the next one may find what was asked for."""
        if self.take():
            return True
        self.ask(lambda granted: self.give() if granted else None)
        return False

    def give(self) -> None:
        self._spare += 1
        if self._tight or self._waiters:
            self._settle()

    def hear(self, said: Said) -> None:
        if said.edition > self.edition:
            self._spare -= self._held
            self._held = 0
            self._tight = False
        if said.kind in ("grant", "ease"):
            self._held += said.amount
        if said.kind == "ease":
            self._tight = False
        super().hear(said)
        if said.kind == "recall":
            self._low = 0
            self._return("spare")
            self._tight = True

    def orphaned(self) -> None:
        self._tight = False
        super().orphaned()

    def retire(self, grace: float) -> None:
        self._tight = True
        super().retire(grace)
        self._settle()

    def _settle(self) -> None:
        super()._settle()
        if self._tight and self._spare > 0:
            self._return("back")

    def _return(self, kind: str) -> None:
        """Perhaps nothing: an answer is owed all the same."""
        amount = max(self._spare, 0)
        self._spare -= amount
        self._held -= amount
        self._say(kind, amount)
