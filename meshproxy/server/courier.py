"""What one worker is to know, of addresses or of fitness: told one message at a time, until it has heard it.

What changes meanwhile goes with the next message, and always as it is by then, so that a name may change as often as it
likes and a worker that is slow hears of it once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress

from meshproxy.errors import Invalid
from meshproxy.server.peer import Gone, Peer
from meshproxy.server.tasks import Tasks

WITHIN = 10.0
AGAIN_AFTER = 1.0


class Courier:
    def __init__(self, peer: Peer, kind: str, known: Mapping[str, object], tasks: Tasks) -> None:
        self._peer = peer
        self._kind = kind
        self._known = known
        self._tasks = tasks
        self._untold: set[str] = set()
        self._telling = False

    def tell(self, names: Iterable[str]) -> None:
        """Soon."""
        self._untold.update(names)
        if not self._telling:
            self._telling = True
            self._tasks.begin(self._tell_all())

    async def tell_now(self) -> None:
        """All that is known.  Raises Gone, TimeoutError, Invalid."""
        if self._known:
            await self._ask(self._known)

    async def _tell_all(self) -> None:
        with suppress(Gone):
            while self._untold:
                names, self._untold = self._untold, set()
                try:
                    await self._ask(names)
                except (TimeoutError, Invalid):
                    self._untold |= names
                    await asyncio.sleep(AGAIN_AFTER)
        self._telling = False

    async def _ask(self, names: Iterable[str]) -> None:
        said = {name: self._known[name] for name in names if name in self._known}
        await self._peer.ask(self._kind, within=WITHIN, body=json.dumps(said).encode())
