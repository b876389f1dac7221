"""What to think of an endpoint, from how its checks have gone: a verdict, and when to look again.

    standing = Standing(health)
    standing.heard(True)        # True: the verdict is another now.  The first check decides alone
    standing.pause(jitter)      # seconds until the next check
"""

from __future__ import annotations

from meshproxy.model import Health

HASTE = 5
"""How many times more often an endpoint is checked that is not well, where nothing is said."""


class Standing:
    __slots__ = ("_against", "_last", "_said", "healthy")

    def __init__(self, said: Health) -> None:
        self._said = said
        self._against = 0
        """How many checks in a row have contradicted the verdict."""
        self._last = False
        self.healthy: bool | None = None
        """None before the first check."""

    def heard(self, well: bool) -> bool:
        """How a check has gone; whether the verdict is another now."""
        self._last = well
        if self.healthy is None:
            self.healthy = well
            return True
        if well == self.healthy:
            self._against = 0
            return False
        self._against += 1
        if self._against < (self._said.healthy_after if well else self._said.unhealthy_after):
            return False
        self._against = 0
        self.healthy = well
        return True

    def pause(self, jitter: float) -> float:
        """Shorter also while a good one seems to fail: what is in doubt should not be so for long.

        `jitter` is a number from 0 to 1.
        """
        said = self._said
        pause = said.interval if self.healthy and self._last else said.interval_unhealthy or said.interval / HASTE
        return pause * (1 + jitter * said.jitter / 100)
