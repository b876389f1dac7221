"""Several workers as one: what the supervisor does with them.

    all prepare ── one refuses, hangs or dies ──► all abort: the old world everywhere
         └──────── all have agreed ──► the supervisor lets go of old sockets ──► all commit

Once all have agreed nothing goes back: a worker that does not commit in time is killed, and its successor starts in the
new world.  A berth that falls empty is filled again, at once the first time, then more and more slowly.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, MutableSequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from meshproxy.admin.live import Told
from meshproxy.core.buckets import Shelves
from meshproxy.core.overload import STAGES
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Config, encode
from meshproxy.net.channel import Channel, Message
from meshproxy.net.clock import Clock, at_once, in_slices
from meshproxy.net.doors import FIRST, Doors, Place
from meshproxy.observe.exposition import merged, without_gauges
from meshproxy.observe.history import ended
from meshproxy.observe.log import Level, Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.recent import merged as merged_recent
from meshproxy.observe.tap import Query
from meshproxy.observe.usage import measured
from meshproxy.server.addresses import Addresses
from meshproxy.server.beginnings import Beginnings
from meshproxy.server.board import ABSENT, present
from meshproxy.server.board import stage as stage_of
from meshproxy.server.courier import Courier
from meshproxy.server.ejections import ejections
from meshproxy.server.fitness import Fitness
from meshproxy.server.fleet import Row, open_doors
from meshproxy.server.limits import OwnedLimits
from meshproxy.server.line import Line, heard
from meshproxy.server.nursery import Death, Nursery
from meshproxy.server.papers import Papers
from meshproxy.server.peer import Gone, Peer
from meshproxy.server.sums import added, added_where_served
from meshproxy.server.taps import Taps
from meshproxy.server.tasks import Tasks

PREPARE_WITHIN = 10.0
COMMIT_WITHIN = 5.0
STATS_WITHIN = 2.0
PING_EVERY = 1.0
SLOW_AFTER = 0.5
"""Seconds without an answer after which nothing is passed to a worker."""
HUNG_AFTER = 6.0
"""Seconds more after which it is taken for hung, and killed."""
FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 10.0
DRAIN_LOOK_EVERY = 0.05
STEADY_AFTER = 30.0
"""A worker that has lived so long is not the one that keeps dying."""


class Berth:
    """A place for one worker, and the process that fills it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.peer: Peer | None = None
        self.pid = 0
        self.born = 0.0
        self.deaths = 0
        """Of workers that did not live long, in a row."""
        self.lessee: int | None = None
        """As whom the ledger of limits knows it; there it has no predecessor."""
        self.line: Line | None = None
        self.couriers: dict[str, Courier] = {}
        """By the kind of what they tell."""
        self.serves: frozenset[Place] = frozenset()
        self.counted = b""
        """What it said the last time that it was asked."""
        self.past: bytes | None = None
        """What its worker remembered when it was last asked."""


class Crew:
    def __init__(
        self,
        nursery: Nursery,
        board: MutableSequence[int],
        shelves: Shelves,
        doors: Doors,
        process: ProcessStats,
        log: Log,
        clock: Clock,
    ) -> None:
        self.doors = doors
        self._nursery = nursery
        self._board = board
        self._process = process
        self._log = log
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()
        """Held while the crew changes: from prepare to commit or abort, and while a berth is filled."""
        self._lessees = count()
        self._berths = [Berth(number) for number in range(len(board))]
        self._next = b""
        self._in_force = b""
        self._beginnings = Beginnings(clock)
        self.papers = Papers(clock, process, log)
        self.addresses = Addresses(self._loop, clock, process, log)
        self.addresses.told = self._tell_addresses
        self._limits = OwnedLimits(self._loop, clock, len(board), shelves, self.addresses, process, log)
        self._ledger = self._limits.ledger
        self.fitness = Fitness(
            self._loop, clock, self.addresses.known, lambda: self.papers.known, process, log
        )
        self.fitness.checks.told = partial(self._tell, "health")
        self.fitness.ejections.told = partial(self._tell, "ejected")
        self._departed: dict[str, Any] = Stats().snapshot()
        self._ended: deque[bytes] = deque(maxlen=len(board))
        """What those remembered that have died since."""
        self._tasks = Tasks()
        self._taps = Taps(self._peers)
        self._closing = False
        self.broken = ""
        process.workers = 0
        nursery.open(self._loop, born=self._born, died=self._died, lost=self._nursery_lost)

    # Configurations

    async def prepare(self, config: Config) -> None:
        await self._turn.acquire()
        try:
            open_doors(config, self.doors)
            await self.papers.prepare(config)
            # With its papers: a successor that comes later finds those with which this configuration was taken.
            self._next = json.dumps({"config": encode(config), "papers": self.papers.known}).encode()
            self._limits.prepare(config)
            await self.addresses.prepare(config)
            self._beginnings.prepare(config)
            await self.fitness.prepare(config)
            if not self._in_force:
                for berth in self._berths:
                    if berth.peer is None:
                        self._fill(berth)
            places = frozenset(self.doors.places)
            await self._all(self._prepare(berth, self._next, places) for berth in self._manned())
        except BaseException:
            self.abort()
            raise

    async def commit(self) -> None:
        self._in_force = self._next
        # The owner lets go first: the workers' copies are then the last, and they serve who stands in the queue.
        self.doors.commit()
        self.papers.commit()
        self.addresses.commit()
        self._beginnings.commit()
        self.fitness.commit()
        empty = [berth for berth in self._berths if berth.peer is None]
        try:
            self._limits.commit()
            await asyncio.gather(*(self._commit_or_kill(berth) for berth in self._manned()))
        finally:
            self._turn.release()
        # Who died before there was anything to serve has no successor yet.
        for berth in empty:
            self._tasks.begin(self._refill(berth))

    def abort(self) -> None:
        for peer in self._peers():
            peer.tell("abort")
        self.fitness.abort()
        self._limits.abort()
        self.addresses.abort()
        self.papers.abort()
        self.doors.abort()
        self._turn.release()

    async def _prepare(self, berth: Berth, config: bytes, places: frozenset[Place]) -> None:
        """Raises Invalid, whatever the reason."""
        peer, complaint = berth.peer, f"worker {berth.number}: "
        if peer is None:
            raise Invalid([Problem("", f"{complaint}died")])
        new = places - berth.serves
        peer.tell_sockets((place, sock) for place in new for sock in self.doors.share(place, berth.number))
        began = self._beginnings.known
        if began:
            peer.tell("plans", body=json.dumps(began).encode())
        try:
            for courier in berth.couriers.values():
                await courier.tell_now()
            await peer.ask("prepare", within=PREPARE_WITHIN, body=config)
        except TimeoutError:
            raise Invalid([Problem("", f"{complaint}did not answer within {PREPARE_WITHIN:g} s")]) from None
        except Gone:
            raise Invalid([Problem("", f"{complaint}died")]) from None

    async def _commit(self, berth: Berth) -> None:
        peer = berth.peer
        if peer is None:
            raise Gone
        if berth.lessee is None:
            berth.lessee = next(self._lessees)
            berth.line = Line(peer)
            self._ledger.join(berth.lessee, berth.line.say)
        if berth.line is not None:
            berth.line.flush()
        await peer.ask("commit", within=COMMIT_WITHIN)
        berth.serves = frozenset(self.doors.places)

    async def _commit_or_kill(self, berth: Berth) -> None:
        try:
            await self._commit(berth)
        except (TimeoutError, Gone, Invalid) as error:
            self._kill(berth, f"it did not take the new configuration: {error!r}")

    async def _all(self, work: Iterable[Coroutine[Any, Any, None]]) -> None:
        """Wait for all of it, then raise what went wrong."""
        results = await asyncio.gather(*work, return_exceptions=True)
        problems: list[Problem] = []
        for result in results:
            if isinstance(result, Invalid):
                problems += result.problems
            elif isinstance(result, BaseException):
                raise result
        if problems:
            raise Invalid([*dict.fromkeys(problems)])

    # Workers come and go

    def _manned(self) -> list[Berth]:
        return [berth for berth in self._berths if berth.peer is not None]

    def _peers(self) -> list[Peer]:
        return [berth.peer for berth in self._berths if berth.peer is not None]

    def _fill(self, berth: Berth) -> None:
        channel = Channel(self._loop, self._nursery.fork(berth.number))
        handlers = {
            "pass": self._pass_on,
            "to_first": self._lead_to_first,
            "limits": lambda message: self._hear_of_limits(berth, message),
            "ejected": lambda message: self.fitness.ejections.hear(ejections(message.body)),
            "tapped": self._taps.heard,
        }
        peer = Peer(channel, handlers, lambda: self._empty(berth))
        berth.peer = peer
        fitness = self.fitness
        told: dict[str, Mapping[str, object]] = {
            "addresses": self.addresses.known, "health": fitness.checks.known, "ejected": fitness.ejections.known
        }
        berth.couriers = {kind: Courier(peer, kind, known, self._tasks) for kind, known in told.items()}
        berth.pid = 0
        berth.born = self._clock.now()
        berth.serves = frozenset()
        self._process.workers += 1
        peer.tell("level", level=self._log.level)
        self._taps.greet(peer)
        self._tasks.begin(self._watch(berth, peer))

    def _empty(self, berth: Berth) -> None:
        """Its worker is gone."""
        berth.peer = None
        if berth.pid:
            # It may have been given up alive.
            self._nursery.kill(berth.pid)
        self._board[berth.number] = ABSENT
        if berth.lessee is not None:
            self._ledger.leave(berth.lessee)
            berth.lessee = None
        self._process.workers -= 1
        counted = Stats().snapshot()
        at_once(added(counted, berth.counted))
        self._departed = merged([self._departed, without_gauges(counted)])
        berth.counted = b""
        if berth.past is not None:
            self._ended.append(ended(berth.past))
            berth.past = None
        if self._closing:
            return
        self._process.worker_deaths_total += 1
        if self._clock.now() - berth.born > STEADY_AFTER:
            berth.deaths = 0
        berth.deaths += 1
        if self._in_force and not self.broken:
            self._tasks.begin(self._refill(berth))

    async def _refill(self, berth: Berth) -> None:
        if berth.deaths > 1:
            await asyncio.sleep(min(FIRST_BACK_OFF * 2 ** min(berth.deaths - 2, 10), LONGEST_BACK_OFF))
        async with self._turn:
            if self._closing or self.broken or berth.peer is not None:
                return
            try:
                self._fill(berth)
            except OSError as error:
                self._log.error("worker-not-made", worker=berth.number, error=error)
                berth.deaths += 1
                self._tasks.begin(self._refill(berth))
                return
            try:
                await self._prepare(berth, self._in_force, frozenset(self.doors.places))
                await self._commit(berth)
            except (Invalid, TimeoutError, Gone) as error:
                self._kill(berth, f"it did not come up: {error!r}")

    async def _watch(self, berth: Berth, peer: Peer) -> None:
        with suppress(Gone):
            while berth.peer is peer:
                await asyncio.sleep(PING_EVERY)
                if await self._answers(peer, SLOW_AFTER):
                    continue
                self._board[berth.number] = ABSENT
                if not await self._answers(peer, HUNG_AFTER):
                    self._kill(berth, f"it did not answer for {HUNG_AFTER:g} s")

    async def _answers(self, peer: Peer, within: float) -> bool:
        try:
            await peer.ask("ping", within=within)
        except TimeoutError:
            return False
        return True

    def _kill(self, berth: Berth, why: str) -> None:
        if berth.peer is not None:
            self._log.error("worker-killed", worker=berth.number, pid=berth.pid, why=why)
            berth.peer.close()
            self._empty(berth)

    def _born(self, number: int, pid: int) -> None:
        self._berths[number].pid = pid
        self._log.info("worker-started", worker=number, pid=pid)

    def _died(self, death: Death) -> None:
        tell = self._log.info if self._closing else self._log.error
        tell("worker-ended", pid=death.pid, reason=death.reason)

    def _nursery_lost(self) -> None:
        """No worker can be made any more, so that somebody has to start all of it anew."""
        self.broken = "the process that makes workers is gone"
        self._log.error("nursery-lost", pid=self._nursery.pid)

    # What all of them do

    @property
    def connections(self) -> int:
        return sum(map(present, self._board))

    @property
    def stage(self) -> int:
        return max(map(stage_of, self._board))

    def _pass_on(self, message: Message) -> None:
        """A worker has accepted a connection and has too many; the one it names serves it, or whoever is there."""
        (sock,) = message.sockets
        to = message.fields.pop("to")
        for berth in sorted(self._manned(), key=lambda berth: berth.number != to):
            peer = berth.peer
            if peer is not None and peer.tell("adopt", sockets=[sock.dup()], **message.fields):
                break
        sock.close()

    def _lead_to_first(self, message: Message) -> None:
        """A worker wants to use its tunnels; where it is not there, whoever asks sees the end, and asks again."""
        (sock,) = message.sockets
        peer = self._berths[FIRST].peer
        if peer is None:
            sock.close()
        else:
            peer.tell("lead_in", sockets=[sock])

    def _tell_addresses(self, name: str) -> None:
        self._tell("addresses", name)
        self.fitness.checks.renew(name)

    def _tell(self, kind: str, key: str) -> None:
        for berth in self._manned():
            if kind in berth.couriers:
                berth.couriers[kind].tell([key])

    def _hear_of_limits(self, berth: Berth, message: Message) -> None:
        for said in heard(message):
            if berth.lessee is not None:
                self._ledger.hear(berth.lessee, said)

    async def stats(self) -> dict[str, Any]:
        await asyncio.gather(*(self._ask_stats(berth) for berth in self._manned()))
        own = Stats()
        await in_slices(measured(own.worker))
        total = own.snapshot()
        # Of one moment: who dies while this is added up is not counted twice.
        serving, departed = [berth.counted for berth in self._berths], self._departed
        for body in serving:
            await in_slices(added(total, body))
        await in_slices(added_where_served(total, departed))
        return total

    async def _ask_stats(self, berth: Berth) -> None:
        """What a worker that does not answer said the last time is better than nothing."""
        peer = berth.peer
        if peer is not None:
            with suppress(TimeoutError, Gone):
                berth.counted = await peer.ask("stats", within=STATS_WITHIN)

    async def recent(self, most: int) -> Row:
        return merged_recent(await asyncio.gather(*(self._ask_recent(peer, most) for peer in self._peers())), most)

    async def _ask_recent(self, peer: Peer, most: int) -> Row:
        """Of a worker that does not answer it is nothing."""
        with suppress(TimeoutError, Gone, Invalid):
            found: Row = json.loads(await peer.ask("recent", within=STATS_WITHIN, most=most))
            return found
        return merged_recent([], 0)

    def tap(self, query: Query, told: Told) -> Callable[[], None]:
        return self._taps.open(query, told)

    async def history(self, seconds: int) -> list[bytes]:
        await asyncio.gather(*(self._ask_history(berth, seconds) for berth in self._manned()))
        return [*(berth.past for berth in self._berths if berth.past is not None), *self._ended]

    async def _ask_history(self, berth: Berth, seconds: int) -> None:
        peer = berth.peer
        if peer is not None:
            with suppress(TimeoutError, Gone):
                berth.past = await peer.ask("history", within=STATS_WITHIN, seconds=seconds)

    def workers(self) -> list[Row]:
        return [
            {
                "worker": berth.number,
                "pid": berth.pid,
                "connections": present(self._board[berth.number]),
                "overload": STAGES[stage_of(self._board[berth.number])],
                "uptime_seconds": round(self._clock.now() - berth.born, 3),
            }
            for berth in self._manned()
        ]

    def set_log_level(self, level: Level) -> None:
        for peer in self._peers():
            peer.tell("level", level=level)

    def reopen(self) -> None:
        for peer in self._peers():
            peer.tell("reopen")

    # The end

    async def drain(self, within: float) -> None:
        async with self._turn:
            self._closing = True
            self.doors.close()
            for peer in self._peers():
                peer.tell("drain", within=within)
        while self._manned():  # noqa: ASYNC110 - workers end one by one, and how long they may take is their affair
            await asyncio.sleep(DRAIN_LOOK_EVERY)

    def close(self) -> None:
        self._closing = True
        self._tasks.cancel()
        self.fitness.close()
        self._limits.close()
        self.addresses.close()
        self.doors.close()
        for peer in self._peers():
            peer.tell("drain", within=0)
            peer.close()
        self._nursery.close()
