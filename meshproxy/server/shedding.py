"""What a worker with too much to do lets go of: it is measured a few times a second, and done where a stage changes.

    none ─► keep_alive: connections end with their next answer, and idle ones at once
              └► low: `low` rules are refused ─► connections: so are new connections, and all rules but `high` ones

How the measures become a stage says `core.overload`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable

from meshproxy import model
from meshproxy.core.overload import CONNECTIONS, NONE, STAGES, Overload
from meshproxy.net.clock import Clock, in_slices
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.stats import Stats
from meshproxy.plan import Door
from meshproxy.relay.live import Guests
from meshproxy.server import container
from meshproxy.server.tasks import Tasks

MEMORY_EVERY = 4
"""Looks.  It takes reading some files."""


class Shedding:
    def __init__(
        self,
        overload: Overload,
        guests: Guests,
        stats: Stats,
        clock: Clock,
        log: Log,
        doors: Callable[[], Iterable[Door]],
    ) -> None:
        """`doors` are those of the generation in force."""
        self._overload = overload
        self._guests = guests
        self._stats = stats
        self._clock = clock
        self._log = log
        self._doors = doors
        self._listeners: tuple[model.Listener, ...] = ()
        """None, where nobody wants to know."""
        self._looks = 0
        self._memory: float | None = None
        self._tasks = Tasks()

    def use(self, config: model.Config) -> None:
        """Another generation is in force, whose doors are open."""
        before = self._overload.stage
        self._overload.use(config.overload)
        self._listeners = config.listeners if config.overload is not None else ()
        self._looks = 0
        if before != self._overload.stage:
            self._change(before)
        elif before == CONNECTIONS:
            self._shut()

    def look(self, lag: float) -> None:
        """`lag` is how late the loop was."""
        if not self._listeners:
            return
        if self._looks % MEMORY_EVERY == 0:
            self._memory = container.memory_share()
        self._looks += 1
        before = self._overload.stage
        connections = self._connections()
        if self._overload.look(self._clock.now(), lag=lag, memory=self._memory, connections=connections):
            self._change(before, lag=self._overload.lag, memory=self._memory, connections=connections)

    def close(self) -> None:
        self._tasks.cancel()

    def _connections(self) -> float:
        """Of the listener that is the fullest, as far as this worker can tell: others have about as many."""
        counted, workers = self._stats.listeners, self._guests.workers
        return max(
            counted[said.name].connections_active * workers / said.max_connections for said in self._listeners
        )

    def _change(self, before: int, **measured: float | None) -> None:
        stage = self._overload.stage
        tell = self._log.warning if stage > before else self._log.info
        shown = {name: round(value, 3) for name, value in measured.items() if value is not None}
        tell("overload", stage=STAGES[stage], before=STAGES[before], **shown)
        for number, counted in enumerate(self._stats.worker.stages.values(), 1):
            counted.in_force = int(stage >= number)
            counted.entered_total += int(before < number <= stage)
        self._guests.rank(stage)
        if before == NONE:
            self._tasks.begin(in_slices(self._end_idle()))
        if stage == CONNECTIONS:
            self._shut()
        elif before == CONNECTIONS:
            for door in self._doors():
                if door.shed is not None:
                    door.open()

    def _shut(self) -> None:
        for door in self._doors():
            if door.shed is not None:
                door.shed()

    def _end_idle(self) -> Generator[None, None, None]:
        for state in tuple(self._guests.states):
            for connection in tuple(state.connections):
                if self._overload.stage == NONE:
                    return
                if connection in state.connections:  # it may have ended meanwhile
                    connection.leave()
                yield
