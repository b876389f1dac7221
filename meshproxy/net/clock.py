"""Time, handed in: what waits asks a `Clock`, so that a test may jump."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from typing import Protocol, TypeVar

T = TypeVar("T")

SLICE = 0.002
"""Seconds of work that may stand between two events of the traffic."""
SWITCH_INTERVAL = 0.001
"""How long a thread that reads a large document may keep the loop waiting; the interpreter's own 5 ms are felt."""


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


async def in_slices(steps: Generator[None, None, T], slice: float = SLICE) -> T:
    """Do a long piece of work without holding up traffic; it says where it may be interrupted."""
    until = time.perf_counter() + slice
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
        if time.perf_counter() >= until:
            await asyncio.sleep(0)
            until = time.perf_counter() + slice


def at_once(steps: Generator[None, None, T]) -> T:
    """The same where nobody waits."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
