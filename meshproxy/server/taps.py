"""The taps of one worker, and of all of them: what each has seen is told ten times a second at most.

A worker tells the next part when the last one was heard, so that whoever steers is never told more than it can take;
what has come meanwhile is kept as far as a `Tap` keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from itertools import count

from meshproxy.admin.live import Told
from meshproxy.net.channel import Message
from meshproxy.observe.tap import Query, Tap, read_filter
from meshproxy.observe.watch import Watch
from meshproxy.server.peer import Peer

EVERY = 0.1

Tell = Callable[[Sequence[bytes], int], Awaitable[bool]]
"""Lines of JSON, and how many more there were.  False: they have not arrived."""


def open_tap(watch: Watch, query: Query, tell: Tell) -> Callable[[], None]:
    """What is returned closes it.  The query has been read before."""
    some = asyncio.Event()
    tap = Tap(read_filter(query), some.set)

    async def run() -> None:
        while True:
            await some.wait()
            some.clear()
            await asyncio.sleep(EVERY)
            lines, lost = tap.take()
            if not await tell(lines, lost):
                tap.lose(len(lines) + lost)

    running = asyncio.get_running_loop().create_task(run())
    watch.open(tap)

    def close() -> None:
        watch.close(tap)
        running.cancel()

    return close


class Taps:
    """Those that are open on all workers, also on one that comes later."""

    def __init__(self, peers: Callable[[], Iterable[Peer]]) -> None:
        self._peers = peers
        self._numbers = count(1)
        self._open: dict[int, tuple[Query, Told]] = {}

    def open(self, query: Query, told: Told) -> Callable[[], None]:
        number = next(self._numbers)
        self._open[number] = query, told
        for peer in self._peers():
            self._begin(peer, number)

        def close() -> None:
            del self._open[number]
            for peer in self._peers():
                peer.tell("untap", number=number)

        return close

    def greet(self, peer: Peer) -> None:
        """A worker has come."""
        for number in self._open:
            self._begin(peer, number)

    async def heard(self, message: Message) -> None:
        """`tapped`, of a worker; it may be late."""
        fields: Mapping[str, int] = message.fields
        if fields["number"] in self._open:
            _, told = self._open[fields["number"]]
            told(message.body.splitlines(), fields["lost"])

    def _begin(self, peer: Peer, number: int) -> None:
        query, _ = self._open[number]
        peer.tell("tap", number=number, query={key: [*values] for key, values in query.items()})
