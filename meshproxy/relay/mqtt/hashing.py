"""Passwords are compared in other threads, a few at a time: each takes as long as hundreds of messages.

    hashing = Hashing(threads(loop))
    if hashing.ask(work):           # `work.verify()` in a thread, then `work.over(...)` in that of the loop
        ...
        hashing.forget(work)        # nobody waits for it any more

More than a thousand that wait are more than anybody has the patience for.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

AT_ONCE = 2
"""They leave the interpreter to the traffic while they count."""
MOST_WAITING = 1024

Run = Callable[[Callable[[], bool], Callable[[bool], None]], None]
"""Calls the first one elsewhere, and then the second one with what it has returned, never from inside."""


class Work(Protocol):
    def verify(self) -> bool: ...

    def over(self, fits: bool) -> None: ...


class Hashing:
    """Live, one for a worker."""

    __slots__ = ("_run", "_running", "_waiting")

    def __init__(self, run: Run) -> None:
        self._run = run
        self._running = 0
        self._waiting: OrderedDict[Work, None] = OrderedDict()

    def ask(self, work: Work) -> bool:
        """Whether there is room for it."""
        if self._running < AT_ONCE:
            self._begin(work)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting[work] = None
        else:
            return False
        return True

    def forget(self, work: Work) -> None:
        """What has begun goes on to its end."""
        self._waiting.pop(work, None)

    def _begin(self, work: Work) -> None:
        self._running += 1
        run = self._run
        run(work.verify, partial(self._over, work))

    def _over(self, work: Work, fits: bool) -> None:
        self._running -= 1
        if self._waiting:
            self._begin(self._waiting.popitem(last=False)[0])
        work.over(fits)

    def retire(self, grace: float) -> None:
        """Who has asked gets an answer; the threads end with the last one who knows them."""


def threads(loop: asyncio.AbstractEventLoop) -> Run:
    executor = ThreadPoolExecutor(AT_ONCE, "hashing")

    def run(verify: Callable[[], bool], over: Callable[[bool], None]) -> None:
        loop.run_in_executor(executor, verify).add_done_callback(lambda future: over(_verdict(future)))

    return run


def _verdict(future: asyncio.Future[bool]) -> bool:
    """What went wrong on the way fits nobody; what is asked of the future is not complained about later."""
    return not future.cancelled() and future.exception() is None and future.result()
