"""An attempt of two steps: a connection, made in whatever way, and what has to be said on it first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from meshproxy.net.conn import Conn
from meshproxy.net.dial import Begin, Dialling, Outcome


class Further(ABC):
    __slots__ = ("_dial", "_done")

    def __init__(self, dial: Begin, done: Callable[[Outcome], None]) -> None:
        self._done = done
        self._dial: Dialling | None = dial(self._dialled)
        """The first step; None: it is over."""

    def begin(self) -> Outcome | None:
        assert self._dial is not None, "it begins once"
        outcome = self._dial.begin()
        if outcome is None:
            return None
        self._dial = None
        return outcome if isinstance(outcome, OSError) else self._at_once(outcome)

    def _at_once(self, conn: Conn) -> Outcome | None:
        """It goes on before anybody waits for what becomes of it."""
        self._go_on(conn)
        return None

    @abstractmethod
    def _go_on(self, conn: Conn) -> None:
        """With the second step."""

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        if isinstance(outcome, OSError):
            self._done(outcome)
        else:
            self._go_on(outcome)
