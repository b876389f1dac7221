"""Whose turn it is to make a handshake, which costs more than most requests.

    if turns.ask(who):      # at once; else `who.turn()` is called when it is time
        who.turn()
    turns.give_back(who)    # once it is over, whatever came of it
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

IN_ONE_GO = 4
"""Handshakes that begin between two looks at all connections: each takes longer than most requests."""
PATIENCE = 1.0
"""Seconds for which a handshake may go on while others wait for their turn."""


class Waiting(Protocol):
    over: bool
    """Whether it has ended meanwhile."""

    def turn(self) -> None: ...

    def expired(self) -> None:
        """It gives its turn back."""


class Turns:
    """Who may make a handshake now.

    Who has its turn and does not go on loses it, as soon as somebody waits: a few that stop in the middle keep nobody
    else out.  And few begin in one go: what is established already is served in between.
    """

    __slots__ = ("_begun", "_giving", "_most", "_now", "_soon", "_under_way", "_waiting")

    def __init__(self, most: int, now: Callable[[], float], soon: Callable[[Callable[[], None]], object]) -> None:
        """`soon` calls when the loop has looked at all others once."""
        self._most = most
        self._now = now
        self._soon = soon
        self._begun = 0
        """In this go, or in several of which none was full."""
        self._under_way: dict[Waiting, float] = {}
        """When each has had its turn; the first one is the oldest."""
        self._waiting: deque[Waiting] = deque()
        self._giving = False

    def ask(self, who: Waiting) -> bool:
        """Whether it has its turn at once; else it is told, perhaps before this returns."""
        if self._free and not self._waiting:
            self._begin(who)
            return True
        self._waiting.append(who)
        if len(self._under_way) == self._most:
            oldest, since = next(iter(self._under_way.items()))
            if self._now() - since > PATIENCE:
                oldest.expired()
        return False

    def give_back(self, who: Waiting) -> None:
        self._under_way.pop(who, None)
        self._give()

    @property
    def _free(self) -> bool:
        return self._begun < IN_ONE_GO and len(self._under_way) < self._most

    def _give(self) -> None:
        if self._giving:
            return  # a turn may be over before it is taken
        self._giving = True
        while self._waiting and self._free:
            following = self._waiting.popleft()
            if not following.over:
                self._begin(following)
                following.turn()
        self._giving = False

    def _begin(self, who: Waiting) -> None:
        self._begun += 1
        if self._begun == IN_ONE_GO:
            self._soon(self._go_on)
        self._under_way[who] = self._now()

    def _go_on(self) -> None:
        self._begun = 0
        self._give()
