"""Which streams there have been, by their numbers: each end counts its own, and they may come in another order.

    numbers = Numbers(Role.DIALS, 1000)
    numbers.next()                      # 1, for a stream that is opened here; None: there are no more
    numbers.is_unheard(2)               # of a stream of the peer's: whether it was never opened
    numbers.open(2)                     # now it was; raises Fault, as all that says of a stream what cannot be
"""

from __future__ import annotations

from meshproxy.wire.mux.frames import Fault, Reason
from meshproxy.wire.mux.terms import Role

LAST = 0x7FFFFFFF


class Numbers:
    __slots__ = ("_highest", "_most", "_next", "_skipped")

    def __init__(self, role: Role, most: int) -> None:
        """`most` of the peer's may be left out at a time."""
        self._most = most
        self._next = 1 if role is Role.DIALS else 2
        self._highest = 0 if role is Role.DIALS else -1
        """Of the peer's streams."""
        self._skipped: set[int] = set()
        """Those below it that have not been opened yet: who comes first on the link is opened first."""

    def next(self) -> int | None:
        number = self._next
        if number > LAST:
            return None
        self._next += 2
        return number

    def is_theirs(self, number: int) -> bool:
        return number % 2 != self._next % 2

    def is_unheard(self, number: int) -> bool:
        return number > self._highest or number in self._skipped

    def may_open(self, number: int) -> None:
        """Whether the peer may."""
        if not self.is_theirs(number) or not 0 < number <= LAST:
            raise Fault(Reason.OUT_OF_STATE, f"stream {number} is not for the peer to open")

    def heard_of(self, number: int) -> None:
        """By the peer: nobody can have, of a stream that this end has yet to open."""
        if not self.is_theirs(number) and number >= self._next:
            raise Fault(Reason.OUT_OF_STATE, f"stream {number} was not opened")

    def open(self, number: int) -> None:
        """By the peer."""
        if number in self._skipped:
            self._skipped.remove(number)
            return
        between = range(self._highest + 2, number, 2)
        if len(self._skipped) + len(between) > self._most:
            raise Fault(Reason.TOO_MANY, "too many streams are left out")
        self._skipped.update(between)
        self._highest = number
