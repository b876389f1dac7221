"""What a reader of the admin side sees as it happens: requests as they end, and the numbers of each second.

    Stream(lambda feed: proxy.tap(query, told_to(feed, limit=10)))
    ticker = Ticker(second, clock)
    Stream(ticker.watch)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from meshproxy.admin.stream import Feed
from meshproxy.net.clock import Clock

AFTER = 0.1
"""Of a second, in which whoever counts has closed the last one."""
NUMBERS = ("requests", "errors", "p50", "p95", "p99", "received_bytes", "sent_bytes", "connections_active")

Row = dict[str, Any]

Told = Callable[[Sequence[bytes], int], None]
"""Hears of exchanges, a line of JSON each, and of how many more there were."""


def told_to(feed: Feed, limit: int | None) -> Told:
    """Ends after so many."""
    left = limit

    def told(lines: Sequence[bytes], lost: int) -> None:
        nonlocal left
        for line in lines[:left]:
            if feed.tell("exchange", line) and left is not None:
                left -= 1
        if lost and left != 0:
            feed.lose(lost)
        if left == 0:
            feed.end()

    return told


def second_of(window: Mapping[str, Any]) -> Row:
    """The last full second of a window, as `observe.window` shows it."""
    return {
        "time": window["end"],
        "total": _last(window["total"]),
        **{
            kind: {name: _last(numbers) for name, numbers in window[kind].items()}
            for kind in ("listeners", "clusters", "routes")
        },
    }


def _last(numbers: Mapping[str, Any]) -> Row:
    return {name: numbers[name][-1] for name in NUMBERS}


class Ticker:
    """Tells all who watch of each second; runs only while somebody does."""

    def __init__(self, second: Callable[[], Awaitable[Row]], clock: Clock) -> None:
        self._second = second
        self._clock = clock
        self._feeds: set[Feed] = set()
        self._runs: asyncio.Task[None] | None = None

    def watch(self, feed: Feed) -> Callable[[], None]:
        """Until what is returned is called."""
        self._feeds.add(feed)
        if self._runs is None:
            self._runs = asyncio.get_running_loop().create_task(self._run())
        return partial(self._feeds.discard, feed)

    async def _run(self) -> None:
        try:
            while True:
                await asyncio.sleep(1 - (self._clock.wall() - AFTER) % 1)
                if not self._feeds:
                    return
                # Of ten thousand routes it is long, and the loop may carry traffic too.
                data = await asyncio.to_thread(_line, await self._second())
                for feed in self._feeds:
                    feed.tell("second", data)
        finally:
            # If it has failed, they may ask again.
            self._runs = None
            for feed in self._feeds:
                feed.end()


def _line(row: Row) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode()
