"""Time, handed in: what waits asks a `Clock`, so that a test may jump."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    def now(self) -> float:
        """Seconds that only grow."""

    def wall(self) -> float:
        """Seconds since 1970, for people and files."""

    def after(self, seconds: float, action: Callable[[], None]) -> Timer: ...


class LoopClock:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.now = loop.time
        self.wall = time.time
        self.after = loop.call_later
