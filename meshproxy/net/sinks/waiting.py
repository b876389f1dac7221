"""Lines that wait to be sent: bounded, sent in batches and in their order, and each counted once.

    sink.offer(line)                # keeps it, or drops and counts it: it never waits, and never raises
    sink.reopen()                   # after a rotation
    await emptied(sinks, 1.0)       # at the end of a process
    sink.close()

A batch begins when it is large enough, or some time after its first line; while it is under way there is no other.  So
what its destination does not take waits here, and nowhere else, up to the bound: what comes then is dropped.  Nothing
is done for a line but to keep it, and the loop is asked for a timer once in a batch.

At any time `offered == written + dropped + waiting`.
"""

from __future__ import annotations

import asyncio
import sys
from abc import abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from meshproxy.net.clock import Clock, Timer
from meshproxy.observe.log import Level, Log
from meshproxy.observe.metrics.process import SinkStats

BATCH = 256 * 1024
"""Bytes for which nobody waits any longer: to begin with a batch costs as much as some ten lines."""
BUFFER = 1 << 20
FLUSH = 1.0
LAST_WITHIN = 5.0
"""Seconds for what is left, of a sink that nobody asks for any more."""
LOOK_EVERY = 0.01
LOG_EVERY = 60.0
"""Seconds between two lines that say the same of one sink."""

_AT_ONCE = 0
_NEVER = sys.maxsize


class Sink(Protocol):
    stats: SinkStats

    @property
    def waits(self) -> bool:
        """Whether there is anything that is neither written nor dropped."""

    def offer(self, line: bytes) -> None:
        """A whole line, with its end."""

    def flush(self) -> None:
        """Begin with what is here, unless something is under way."""

    def reopen(self) -> None:
        """What stands under its name is another file now."""

    def retire(self, grace: float) -> None:
        """It may be offered something for so many seconds; then it sends what it has, and closes."""

    def close(self) -> None:
        """Now: what waits is dropped."""


async def emptied(sinks: Collection[Sink], within: float) -> None:
    """Let them send what they have, as far as they can in so many seconds."""
    now = asyncio.get_running_loop().time
    until = now() + within
    while any(sink.waits for sink in sinks) and now() < until:
        for sink in sinks:
            sink.flush()
        await asyncio.sleep(LOOK_EVERY)


@dataclass(frozen=True, slots=True)
class Account:
    """As what a sink is known, and how much it may keep."""

    name: str
    """In the log; a URL may be secret, and is no good name."""
    stats: SinkStats
    log: Log
    buffer: int = BUFFER
    """Bytes of lines that may wait, those under way among them."""
    flush: float = FLUSH
    """Seconds after its first line at which a batch begins at the latest."""


class Waiting:
    """A sink without its destination.  Who has one says what `_send` and `_stop` do.

    `_send` begins a batch of the first of `_lines`.  By and by it tells of them, the first ones first, by `_wrote` and
    `_drop`, and at its end either that it is `_over`, or that it has `_failed` and is to be called again in a while.
    """

    def __init__(self, clock: Clock, account: Account) -> None:
        self.stats = account.stats
        self._clock = clock
        self._account = account
        self._most = account.buffer
        self._batch = min(BATCH, account.buffer // 2)
        self._lines = account.stats.lines = list[bytes]()
        self._size = 0
        self._notice_at = _AT_ONCE
        """So many bytes are worth a look."""
        self._calm = -1
        """With so many bytes at most nothing is to be done for a line: neither are they worth a look, nor too many."""
        self._timer: Timer | None = None
        self._full = False
        self._failing = False
        self._leaving = False
        self._closed = False

    @property
    def waits(self) -> bool:
        return bool(self._lines)

    def offer(self, line: bytes) -> None:
        self._lines.append(line)
        self._size = size = self._size + len(line)
        if size > self._calm:
            self._look(len(line))

    def flush(self) -> None:
        if self._lines and self._notice_at != _NEVER:
            self._begin()

    def reopen(self) -> None:
        """There is no name under which something else could stand."""

    def retire(self, grace: float) -> None:
        self._clock.after(grace, self._leave)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._most = -1
            self._take_notice_at(_NEVER)
            self._cancel_timer()
            self._stop()

    @abstractmethod
    def _send(self) -> None:
        """Begin with what waits."""

    @abstractmethod
    def _stop(self) -> None:
        """Let go of everything, and `_drop` what is not under way any more."""

    # What it says of a batch

    def _wrote(self, count: int) -> None:
        self.stats.written_total += count
        self._forget(count)
        if count and self._failing:
            self._failing = False
            self._tell("sink-works", "info")

    def _drop(self, count: int) -> None:
        self.stats.dropped_total += count
        self._forget(count)

    def _over(self) -> None:
        self._take_notice_at(_AT_ONCE)
        if self._lines:
            self._notice()
        elif self._leaving:
            self.close()

    def _failed(self, error: object, pause: float) -> None:
        self._fault(error)
        self._timer = self._clock.after(pause, self._send_again)

    def _fault(self, error: object) -> None:
        self.stats.failed_total += 1
        self._failing = True
        self._tell("sink-failed", "warning", error=error)

    # Within

    def _take_notice_at(self, size: int) -> None:
        self._notice_at = size
        self._calm = min(size - 1, self._most)

    def _look(self, came: int) -> None:
        """Another line is here, of so many bytes."""
        if self._size > self._most:
            self._lines.pop()
            self._size -= came
            self._refuse()
        else:
            self._notice()

    def _notice(self) -> None:
        if self._size >= self._batch or self._leaving:
            self._begin()
        else:
            self._take_notice_at(self._batch)
            self._timer = self._clock.after(self._account.flush, self._begin)

    def _begin(self) -> None:
        self._cancel_timer()
        self._take_notice_at(_NEVER)
        self._send()

    def _send_again(self) -> None:
        self._timer = None
        self._send()

    def _leave(self) -> None:
        self._leaving = True
        if not self._lines:
            self.close()
        else:
            self.flush()
            self._clock.after(LAST_WITHIN, self.close)

    def _forget(self, count: int) -> None:
        lines = self._lines
        self._size -= sum(map(len, lines[:count]))
        self._full = self._full and not count
        del lines[:count]

    def _refuse(self) -> None:
        self.stats.dropped_total += 1
        if not self._full and not self._closed:
            self._full = True
            self._tell("sink-full", "warning", waiting=len(self._lines), bytes=self._size)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self, event: str, level: Level, **said: object) -> None:
        name = self._account.name
        self._account.log.limited(f"{event} {name}", LOG_EVERY, level, event, sink=name, **said)
