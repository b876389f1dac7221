"""A worker: one event loop's world of live state, and the generation that is in force in it.

Two steps change the generation: `prepare` builds the next one beside the present and may refuse; `commit` takes it, or
`abort` forgets it.  Traffic sees one swap or none.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, MutableSequence
from typing import Any

from meshproxy.cluster.outlier import Ejection
from meshproxy.core.buckets import Shelves
from meshproxy.core.limit import Limits, Said
from meshproxy.core.overload import Overload
from meshproxy.core.table import Claims, Table
from meshproxy.model import Config
from meshproxy.net.abroad import Abroad
from meshproxy.net.clock import Clock, in_slices
from meshproxy.net.collector import settle, settling
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.doors import Place
from meshproxy.net.listener import Acceptor, Elsewhere
from meshproxy.net.sinks import emptied
from meshproxy.net.splice import Pipes
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.peers import Peers
from meshproxy.observe.usage import measured
from meshproxy.observe.watch import Watch
from meshproxy.plan import Door, Listener, Share, Snapshot, compile_config
from meshproxy.plan.group import Known
from meshproxy.plan.rim import Rim
from meshproxy.plan.tunnels import Live
from meshproxy.plan.verdicts import Verdicts, about
from meshproxy.relay.http.dates import Dates
from meshproxy.relay.http.ids import Ids
from meshproxy.relay.http.site import Site
from meshproxy.relay.live import Guests
from meshproxy.relay.mux.indoors import Indoors
from meshproxy.relay.mux.tunnel import Tunnel
from meshproxy.server.seconds import Seconds
from meshproxy.server.shedding import Shedding

LAG_EVERY = 0.25
DRAIN_LOOK_EVERY = 0.05
LAST_LINES_WITHIN = 1.0
"""Seconds for what logs and traces have to tell at the end."""


class Worker:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        board: MutableSequence[int],
        shelves: Shelves,
        number: int,
        say: Callable[[Said], None],
        log: Log,
        elsewhere: Callable[[Place], Elsewhere | None] = lambda _: None,
        eject: Callable[[str, Ejection], None] = lambda *_: None,
        first: Callable[[socket.socket], object] = socket.socket.close,
    ) -> None:
        """`board` says how many connections each worker has; this one's stand at `number`.  `shelves` are shared too.

        `say` carries what is said of limits to their owner; what that answers goes to `limits.hear`.  `eject` tells
        of an endpoint that is ejected here; `first` brings a socket to the first worker, which takes it by `lead_in`.
        """
        self.limits = Limits(clock, say)
        self.stats = Stats()
        self._clock = clock
        self._guests = Guests(board, number)
        pipes = Pipes()
        self.watch = Watch(lambda: clock.wall() - clock.now())
        self._http = Site(loop, clock, clock.now, pipes, Deadlines(clock), Ids(), Dates(), set())
        self.overload = Overload()
        self._verdicts = Verdicts(clock.now, eject)
        self._table = Table()
        indoors = Indoors(loop, clock, self._tunnel, first)
        self._rim = Rim(
            loop, clock, self.stats, pipes, self._guests, self.limits, shelves, elsewhere, self._http, log, {},
            self.overload, {}, self._verdicts, set(), set(), self.watch, {}, Peers(), Abroad(), indoors,
        )
        self._shedding = Shedding(self.overload, self._guests, self.stats, clock, log, lambda: self._doors)
        self.seconds = Seconds(
            clock, self.stats, self.settle, self._account, lambda: self._guests.count, self._rim.peers
        )
        self._preparing = False
        self._next: tuple[Claims, Snapshot] | None = None
        self._heard: dict[str, tuple[str, ...]] = {}
        self.current: Snapshot | None = None

    # Configurations

    async def prepare(self, config: Config, share: Share, papers: Mapping[str, str]) -> None:
        """`papers` is what the files hold that it names.  Raises Invalid, and then nothing has happened."""
        assert not self._preparing, "one preparation at a time"
        self._preparing = True
        self._rim.papers.update(papers)
        claims = self._table.begin()
        try:
            with settling(self._rim.loop):
                self._next = claims, await in_slices(compile_config(config, claims, self._rim, share))
        except BaseException:
            claims.abort()
            self._settle()
            raise
        finally:
            # Keys are among them.
            self._rim.papers.clear()

    def plans(self, began: Mapping[str, float]) -> None:
        """When those began that the next configuration has."""
        self._rim.began.clear()
        self._rim.began.update(began)

    def abort(self) -> None:
        if self._next is not None:
            claims, _ = self._next
            self._next = None
            claims.abort()
            self._preparing = False
        if not self._preparing:
            self._settle()

    async def commit(self) -> None:
        assert self._next is not None, "commit follows prepare"
        claims, snapshot = self._next
        self._next = None
        before, self.current = self.current, snapshot
        for group in snapshot.groups.values():
            group.follow(self._verdicts)
        self.show_connections()
        for door in self._doors:
            door.open()
        snapshot.tunnels.begin()
        self._shedding.use(snapshot.config)
        said = snapshot.config.metrics
        self.watch.use(said.slow, said.keep)
        if not said.peers:
            self._rim.peers.forget()
        retiring = claims.commit(snapshot.config.drain.timeout)
        self._settle()
        await in_slices(retiring)
        for span in snapshot.bridges:
            # Not before one that is gone has left the brokers: they may know it by the same name.
            span.open()
        # To let go of ten thousand rules takes a moment too: it is not the moment of the swap.
        await asyncio.sleep(0)
        del before
        await asyncio.sleep(0)
        settle()

    def hear(self, known: Known) -> None:
        """These names have these addresses now.  A generation that is being prepared sees the same ones to its end."""
        self._heard.update(known)
        if not self._preparing:
            self._take_heard()

    def hear_health(self, fit: Mapping[str, bool]) -> None:
        """What checks have found; see `plan.verdicts`."""
        self._verdicts.hear(fit)
        self._follow(fit)

    def hear_ejected(self, ejected: Mapping[str, Ejection]) -> None:
        """Whom other workers have ejected."""
        self._verdicts.hear_ejected(ejected)
        self._follow(ejected)

    def _follow(self, heard: Mapping[str, object]) -> None:
        groups = self.current.groups if self.current is not None else {}
        for name in dict.fromkeys(map(about, heard)):
            if name in groups:
                groups[name].follow(self._verdicts)

    def _settle(self) -> None:
        """What was prepared is in force, or forgotten, and so are the names that nothing in force has."""
        self._preparing = False
        self._take_heard()
        named = self.current.named if self.current is not None else {}
        for name in self._rim.known.keys() - named.keys():
            del self._rim.known[name]
        groups = self.current.groups.values() if self.current is not None else ()
        self._verdicts.forget({key for group in groups for key in (group.check, group.judge, group.gate) if key})

    def _take_heard(self) -> None:
        known = self._rim.known
        heard = {name: addresses for name, addresses in self._heard.items() if addresses != known.get(name)}
        self._heard.clear()
        known.update(heard)
        if self.current is not None:
            named, grace = self.current.named, self.current.config.drain.timeout
            for group in dict.fromkeys(group for name in heard for group in named.get(name, ())):
                group.renew(self._table, self._rim, grace)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        return self.current.listeners if self.current is not None else ()

    @property
    def _doors(self) -> Iterator[Door]:
        return (door for listener in self.listeners for door in listener.doors)

    def adopt(self, place: Place, sock: socket.socket, peer: Any) -> None:
        """Serve a connection that another worker has accepted there."""
        door = self._table.get(place)
        if isinstance(door, Acceptor):
            door.adopt(sock, peer)
        else:
            sock.close()

    def lead_in(self, sock: socket.socket) -> None:
        """Another worker has the other end, and wants to use a tunnel of this one."""
        self._rim.indoors.take(sock)

    def _tunnel(self, key: str) -> Tunnel | None:
        live = self._table.get(("tunnel", key))
        return live.tunnel if isinstance(live, Live) else None

    # What it counts

    @property
    def connections(self) -> int:
        return self._guests.count

    def show_connections(self) -> None:
        """On the board; nothing is passed to a worker that has not."""
        if self.current is not None:
            self._guests.show()

    async def counted(self) -> dict[str, Any]:
        """A snapshot of the counters, brought up to date: open connections add to them only when asked."""
        await in_slices(self._account())
        await in_slices(self.settle())
        await in_slices(measured(self.stats.worker))
        return await in_slices(self.stats.in_steps())

    def settle(self) -> Generator[None, None, None]:
        """Bring what is counted of requests up to date, in steps."""
        for teller in tuple(self._rim.tellers):
            teller.settle()
            yield

    def _account(self) -> Generator[None, None, None]:
        for state in tuple(self._guests.states):
            yield from state.account()
        yield from self._http.account()
        if self.current is not None:
            self.current.tunnels.account()

    def measure_lag(self) -> None:
        """From now on, again and again."""
        due = self._clock.now() + LAG_EVERY

        def late() -> None:
            lag = max(0.0, self._clock.now() - due)
            self.stats.worker.loop_lag_seconds.observe(lag)
            self.measure_lag()
            self._shedding.look(lag)

        self._clock.after(LAG_EVERY, late)

    # The end

    async def drain(self, within: float) -> None:
        """Let nobody in any more, and return when everybody has left or the time is over.  There is no way back."""
        self.close_doors()
        self._halt_bridges()
        for state in tuple(self._guests.states):
            state.leave()
        end, indoors = self._clock.now() + within, self._rim.indoors
        # What is watched are plain numbers.
        while (self.connections or indoors.busy) and self._clock.now() < end:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_LOOK_EVERY)

        await emptied(self._rim.sinks, LAST_LINES_WITHIN)

    def reopen(self) -> None:
        """Files of logs may have been moved away."""
        for sink in tuple(self._rim.sinks):
            sink.reopen()

    def close_doors(self) -> None:
        for door in self._doors:
            if door.live is not None:
                door.live.close()

    def _halt_bridges(self) -> None:
        for span in self.current.bridges if self.current is not None else ():
            span.live.halt()

    def close(self) -> None:
        """End everything now."""
        self._shedding.close()
        self.seconds.close()
        self.close_doors()
        self._halt_bridges()
        if self.current is not None:
            self.current.tunnels.close()
        for state in tuple(self._guests.states):
            state.drain()
        self._http.close()
        for sink in tuple(self._rim.sinks):
            sink.close()
        self._rim.pipes.close()
