"""One thread that does jobs in their order, and a loop that hears of each.

    aside = Aside(loop, "spool")
    aside.do(lambda: path.read_bytes(), then)      # then(data, None), or then(None, error), on the loop

The thread is there from the first job on.  It does not keep a process from ending: a disk may never answer.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

T = TypeVar("T")
Then = Callable[[T | None, Exception | None], None]


class Thread(Protocol):
    """Where something slow is waited for: an `Aside`, or what a test holds in its hands."""

    def do(self, job: Callable[[], T], then: Then[T]) -> None: ...

    def soon(self, action: Callable[[], None]) -> None: ...

    def end(self) -> None: ...


class Aside:
    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._name = name
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Then[Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, job: Callable[[], T], then: Then[T]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put((job, then))

    def soon(self, action: Callable[[], None]) -> None:
        """Once what happens in this turn of the loop has happened."""
        self._loop.call_soon(action)

    def end(self) -> None:
        """After what was asked for."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (task := self._jobs.get()) is not None:
            job, then = task
            result, error = None, None
            try:
                result = job()
            except Exception as failure:
                error = failure
            try:
                self._loop.call_soon_threadsafe(then, result, error)
            except RuntimeError:  # the loop is closed: nobody hears of it
                return
