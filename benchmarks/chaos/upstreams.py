"""What happens to the upstreams: one at a time is in trouble, and then well again for as long."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle
from types import TracebackType
from typing import Self

from benchmarks import process
from benchmarks.chaos import upstream

HOW_MANY = 3
TROUBLE = 1.5
"""Seconds that one of them lasts."""


def one_of_each() -> float:
    """Seconds, at least."""
    return (2 * len(KINDS) + 1) * TROUBLE


class Upstreams:
    def __init__(self, core: int) -> None:
        self.core = core
        self.ports = [process.free_port() for _ in range(HOW_MANY)]
        self._children: list[process.Child] = []

    def __enter__(self) -> Self:
        self._children = [upstream.start(port, self.core) for port in self.ports]
        process.wait_until(lambda: all(map(process.accepts, self.ports)), "the upstreams")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for child in self._children:
            if child.poll() is None:
                os.kill(child.pid, signal.SIGCONT)
            process.end(child)

    def trouble(self, until: float) -> dict[str, int]:
        """Each kind in turn, with another of them each time; how often there was which."""
        counted = dict.fromkeys(KINDS, 0)
        for number, kind in enumerate(cycle(KINDS)):
            if time.monotonic() + 2 * TROUBLE > until:
                return counted
            with KINDS[kind](self, number % HOW_MANY):
                time.sleep(TROUBLE)
            time.sleep(TROUBLE)
            counted[kind] += 1
        return counted

    @contextmanager
    def killed(self, which: int) -> Iterator[None]:
        """And started again, which takes as long as it takes."""
        child = self._children[which]
        child.kill()
        child.wait()
        process.end(child)
        yield
        self._children[which] = upstream.start(self.ports[which], self.core)

    @contextmanager
    def stalled(self, which: int) -> Iterator[None]:
        yield from self._between(which, signal.SIGSTOP, signal.SIGCONT)

    @contextmanager
    def slow(self, which: int) -> Iterator[None]:
        yield from self._between(which, signal.SIGUSR1, signal.SIGUSR1)

    @contextmanager
    def failing(self, which: int) -> Iterator[None]:
        yield from self._between(which, signal.SIGUSR2, signal.SIGUSR2)

    def _between(self, which: int, first: int, last: int) -> Iterator[None]:
        os.kill(self._children[which].pid, first)
        yield
        os.kill(self._children[which].pid, last)


KINDS: dict[str, Callable[[Upstreams, int], AbstractContextManager[None]]] = {
    "killed": Upstreams.killed,
    "stalled": Upstreams.stalled,
    "slow": Upstreams.slow,
    "failing": Upstreams.failing,
}
