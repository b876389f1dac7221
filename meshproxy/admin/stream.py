"""An answer that goes on: events for one reader, as server-sent events are written.

    Stream(begin)                              # what a site answers; `begin(feed)` gives what ends it again
    feed.tell("exchange", b'{"status": 503}')  # from then on, by whoever has something to say
    feed.end()

Whoever tells never waits for the reader: what it does not take in time is lost, and it is told how much that was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

EVENT_STREAM = "text/event-stream"
MOST_BYTES = 1024 * 1024
"""That wait for one reader."""
MOST_AT_ONCE = 64 * 1024
SILENCE = 10.0
"""Seconds after which a comment says that all is well; by then a reader that has gone is noticed too."""
HEARTBEAT = b":\n\n"


class Feed:
    """What waits for one reader."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._ended = False
        self._some = asyncio.Event()

    def tell(self, event: str, data: bytes) -> bool:
        """One event; the data is one line.  False: it is lost."""
        piece = b"event: %b\ndata: %b\n\n" % (event.encode(), data)
        if self._ended:
            return False
        if self._waiting and self._bytes + len(piece) > MOST_BYTES:
            self.lose(1)
            return False
        self._waiting.append(piece)
        self._bytes += len(piece)
        self._some.set()
        return True

    def lose(self, count: int) -> None:
        """So many events could not be told."""
        self._lost += count
        self._some.set()

    def end(self) -> None:
        """What waits is still to be taken."""
        self._ended = True
        self._some.set()

    async def take(self) -> bytes:
        """What is to be sent next; nothing when it has ended."""
        if not (self._waiting or self._lost or self._ended):
            self._some.clear()
            try:
                async with asyncio.timeout(SILENCE):
                    await self._some.wait()
            except TimeoutError:
                return HEARTBEAT
        taken: list[bytes] = []
        size = 0
        while self._waiting and size < MOST_AT_ONCE:
            piece = self._waiting.popleft()
            taken.append(piece)
            size += len(piece)
        self._bytes -= size
        if self._lost and not self._waiting:
            taken.append(b'event: lost\ndata: {"count":%d}\n\n' % self._lost)
            self._lost = 0
        return b"".join(taken)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer to a request, without a length."""

    begin: Callable[[Feed], Callable[[], None]]
