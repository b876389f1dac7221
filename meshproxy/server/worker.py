"""A worker: one event loop's world of live state, and the generation that is in force in it.

Two steps change the generation: `prepare` builds the next one beside the present and may refuse; `commit` takes it, or
`abort` forgets it.  Traffic sees one swap or none.
"""

from __future__ import annotations

import asyncio

from meshproxy.core.table import Claims, Table
from meshproxy.model import Config
from meshproxy.net.clock import Clock, in_slices
from meshproxy.net.doors import Doors
from meshproxy.net.splice import Pipes
from meshproxy.observe.metrics import Stats
from meshproxy.plan import Group, Listener, Rim, Snapshot, compile_config


class Worker:
    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, stats: Stats) -> None:
        self._rim = Rim(loop, clock, stats, Pipes(), Doors(loop, clock))
        self._table = Table()
        self._next: tuple[Claims, Snapshot] | None = None
        self.current: Snapshot | None = None

    async def prepare(self, config: Config) -> None:
        """Raises Invalid, and then nothing has happened."""
        assert self._next is None, "one preparation at a time"
        claims = self._table.begin()
        try:
            self._next = claims, await in_slices(compile_config(config, claims, self._rim))
        except BaseException:
            claims.abort()
            raise

    def abort(self) -> None:
        if self._next is not None:
            claims, _ = self._next
            self._next = None
            claims.abort()

    async def commit(self) -> None:
        assert self._next is not None, "commit follows prepare"
        claims, snapshot = self._next
        self._next = None
        self.current = snapshot
        for listener in snapshot.listeners:
            for door in listener.doors:
                door.open()
        await in_slices(claims.commit(snapshot.config.drain.timeout))

    @property
    def connections(self) -> int:
        return sum(listener.state.stats.connections_active for listener in self.listeners)

    def account(self) -> None:
        """Bring the counters up to date: open connections add to them only when asked."""
        for listener in self.listeners:
            listener.state.account()

    def close_doors(self) -> None:
        """Let nobody in any more; who is in may go on.  There is no way back."""
        for listener in self.listeners:
            for door in listener.doors:
                door.live.retire(grace=1)

    def close(self) -> None:
        """End everything now."""
        self.close_doors()
        for listener in self.listeners:
            listener.state.drain()
        self._rim.pipes.close()

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return self.current.listeners if self.current is not None else ()

    @property
    def clusters(self) -> tuple[Group, ...]:
        return self.current.clusters if self.current is not None else ()

    @property
    def loop_name(self) -> str:
        return type(self._rim.loop).__module__.partition(".")[0]
