"""How long a connection may live: what is silent for too long, or too old, is ended."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from meshproxy.net.clock import Clock, Timer


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
