"""The process: its parts put together, and its life from start to drain.

    starting -> LIVE -> draining -> over
             `-> waiting: for the first policy of a source of which nothing is known yet

SIGTERM, SIGQUIT and `POST /drain` drain: readiness fails at once, the listeners close after `drain.delay`, and
connections may take `drain.timeout` to end.  `POST /drain?until_idle=25s` lets them stay open until nobody has been
connected for a moment.  SIGINT, a second one of those and `POST /quitquitquit` end it now.  SIGHUP reads the files
again, SIGUSR1 opens those of access logs anew.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from meshproxy import __version__
from meshproxy.admin.access import Access
from meshproxy.admin.api import admin_site, status_site
from meshproxy.admin.fronts import front_site
from meshproxy.admin.http import Server, Site
from meshproxy.admin.reload import DEFAULT_LAYER, Reloader
from meshproxy.errors import CannotBind, Invalid, Problem
from meshproxy.model import Address, Document
from meshproxy.net.address import words
from meshproxy.net.bound import Bound, bind
from meshproxy.net.clock import SWITCH_INTERVAL, LoopClock
from meshproxy.net.doors import Inherited, Place, Sockets
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.server.fleet import Fleet
from meshproxy.server.pod import Pod
from meshproxy.server.probes import Probes, Steered
from meshproxy.server.systemd import Notifier
from meshproxy.server.tasks import Tasks
from meshproxy.server.view import View
from meshproxy.sources.files import Files
from meshproxy.sources.store import Store

if TYPE_CHECKING:
    from meshproxy.server.broker import Broker
    from meshproxy.server.handover import Offer
    from meshproxy.server.sources import Sources

WATCH_EVERY = 1.0
IDLE_FOR = 1.0
"""Seconds without anybody: an application may be between two calls."""
IDLE_LOOK_EVERY = 0.05
FIRST_LOOK_EVERY = 0.05
"""Until somebody else of the pod has been seen: a Job may be done within a second."""


class Broken(Exception):
    """It has ended because a part of it was gone."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a process finds when it begins."""

    files: Files
    first: Callable[[], list[Document]]
    """Gives what reading the files for the first time gave, or raises what it raised."""
    store: Store
    log: Log
    notifier: Notifier = field(default_factory=lambda: Notifier({}))
    inherited: Inherited = field(default_factory=Inherited)
    handover: Path | None = None
    """Where a successor asks for the sockets."""
    take_over: bool = False
    """Whether to ask a predecessor."""
    pod: Pod | None = None
    """With which it is to end."""


class Process:
    """Everything that one `meshproxy run` is."""

    def __init__(self, setting: Setting, fleet: Callable[[ProcessStats], Fleet]) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = LoopClock(self._loop)
        self._setting = setting
        self._log = setting.log
        self._stats = ProcessStats(__version__)
        self.fleet = fleet(self._stats)
        self._probes = Probes(self._loop, self._clock, self._log, setting.inherited)
        steered = Steered(self.fleet, self._probes)
        self._reloader = Reloader(steered, setting.store, self._stats, self._log, self._clock)
        self._state = "starting"
        self.started = self._stats.started_seconds = self._clock.wall()
        self.admin_address = ""
        self._awaited: Mapping[str, object] = {}
        """Files that the configuration in `-c` names, which was refused: one of them may be on its way."""
        self._offer: Offer | None = None
        self._relieved = False
        self._alone = False
        """Nobody is left who could come."""
        self._until_idle = 0.0
        self._draining = asyncio.Event()
        self._over = asyncio.Event()
        self._tasks = Tasks()
        self._servers: list[tuple[Server, Bound]] = []
        self._sources: Sources | None = None
        self._broker: Broker | None = None

    @property
    def state(self) -> str:
        waits = self._state == "LIVE" and self._sources is not None and self._sources.missing
        return "waiting" if waits else self._state

    async def run(self) -> None:
        """Start, serve until told to end, drain.  Raises Invalid if it cannot start, and Broken."""
        try:
            await self.start()
            await self.ended()
        finally:
            await self.close()
        if self.fleet.broken:
            raise Broken(self.fleet.broken)

    async def start(self) -> None:
        _raise_descriptor_limit()
        sys.setswitchinterval(SWITCH_INTERVAL)
        # A signal that comes this early is not lost either: it is looked at as soon as there is something to drain.
        for number in (signal.SIGTERM, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self.drain)
        self._loop.add_signal_handler(signal.SIGINT, self.quit)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: self._tasks.begin(self._reload_asked()))
        self._loop.add_signal_handler(signal.SIGUSR1, self.fleet.reopen)
        setting = self._setting
        predecessor = None
        if setting.take_over and setting.handover is not None:
            from meshproxy.server.handover import Predecessor

            predecessor = await Predecessor.find(setting.handover, setting.inherited)
        await self._reloader.begin(setting.first, "files")
        for problem in setting.store.problems:
            self._log.warning("record-skipped", problem=problem)
        if self._reloader.config.sources:
            from meshproxy.server.sources import Sources

            self._sources = Sources(self._reloader, self.fleet, self._stats, self._log)
        if self._reloader.config.broker is not None:
            from meshproxy.server.broker import Broker

            self._broker = Broker(self._reloader.config.broker.listen, self._log, self._clock)
        self._serve_admin()
        unused = setting.inherited.close_rest()
        for place in unused:
            self._log.warning("socket-not-needed", address=place.address)
        if self._broker is not None:
            self._broker.start()
        self._tasks.begin(self._watch())
        if self._sources is not None:
            self._sources.begin(self._tasks)
        if setting.pod is not None:
            self._tasks.begin(self._end_with(setting.pod))
        if setting.notifier.watchdog_interval is not None:
            self._tasks.begin(self._say_alive(setting.notifier.watchdog_interval))
        # What has been made so far stays; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        if not self._draining.is_set():
            self._state = "LIVE"
        self._log.info(
            "ready", version=__version__, admin=self.admin_address, generation=self._reloader.generation
        )
        if predecessor is not None:
            await predecessor.relieve()
            self._take_files(predecessor.files, unused)
        if setting.handover is not None:
            self._offer = self._make_offer(setting.handover)
        setting.notifier.ready(self._status())

    async def close(self) -> None:
        if self._offer is not None:
            self._offer.close()
        self._tasks.cancel()
        self.fleet.close()
        if self._broker is not None:
            self._broker.close()
        await self._probes.close()
        for server, bound in self._servers:
            await server.close()
            bound.release()

    # A hot restart

    def _make_offer(self, path: Path) -> Offer | None:
        from meshproxy.server.handover import Offer, Running

        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Offer(path, Running(self._copies, self._files, self._hold, self._leave))
        except OSError as error:
            self._log.warning("no-handover", path=path, error=error)
            return None

    def _copies(self) -> Iterable[tuple[Place, Sockets]]:
        admin = [
            (Place(bound.address, socket.SOCK_STREAM), tuple(sock.dup() for sock in bound.sockets))
            for _, bound in self._servers
        ]
        return [*self.fleet.doors.copies(), *self._probes.doors.copies(), *admin]

    def _hold(self, held: bool) -> None:
        self._reloader.closed = held
        self._log.info("successor-comes" if held else "successor-failed")

    def _leave(self, successor: int) -> None:
        self._log.info("successor-serves", pid=successor)
        self._setting.notifier.main_pid(successor)
        for bound in self._all_bound():
            bound.give_away()
        self._relieved = True
        if not self._draining.is_set():
            self.drain()

    def _take_files(self, files: frozenset[str], unused: list[Place]) -> None:
        """The predecessor's are ours now: to remove at the end, or at once where nobody serves them any more."""
        for bound in self._all_bound():
            if str(bound.address) in files:
                bound.take_over()
        for place in unused:
            if str(place.address) in files:
                Bound(place.address, ()).release()

    def _files(self) -> list[str]:
        return [str(bound.address) for bound in self._all_bound() if bound.has_file]

    def _all_bound(self) -> list[Bound]:
        return [*self.fleet.doors.bound, *self._probes.doors.bound, *(bound for _, bound in self._servers)]

    # The end

    async def ended(self, within: float | None = None) -> None:
        """Wait until it has drained, or for that many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._draining.wait()
                await self._drain()

    def drain(self, until_idle: float = 0.0) -> None:
        """Asked for twice, it is meant to be quick.  Before listeners close it may take so long until nobody comes."""
        if self._draining.is_set():
            self._over.set()
        self._until_idle = until_idle
        self._state = "draining"
        self._draining.set()

    def quit(self) -> None:
        self._over.set()
        self.drain()

    async def _drain(self) -> None:
        self._reloader.closed = True
        said = self._reloader.config.drain
        delay = 0.0 if self._relieved or self._alone else said.delay
        if self._relieved:
            # Whoever asks now is to be answered by the successor.
            self._probes.stop_listening()
            for server, _ in self._servers:
                server.stop_listening()
        else:
            self._setting.notifier.stopping()
        self._log.info("draining", connections=self.fleet.connections, delay=delay, timeout=said.timeout)
        if await self._over_within(delay) or await self._over_before_idle(self._until_idle - delay):
            return
        left = self._loop.create_task(self.fleet.drain(said.timeout))
        over = self._loop.create_task(self._over.wait())
        await asyncio.wait((left, over), return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        over.cancel()
        self._log.info("drained", cut=self.fleet.connections)

    async def _over_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    async def _over_before_idle(self, within: float) -> bool:
        """Wait until nobody has been connected for a moment, or so long; or until it is meant to be quick."""
        now = self._clock.now
        end, since = now() + within, now()
        while now() < end and now() - since < IDLE_FOR:
            if await self._over_within(IDLE_LOOK_EVERY):
                return True
            if self.fleet.connections:
                since = now()
        return False

    # The admin side

    def _serve_admin(self) -> None:
        admin, status = self._reloader.config.admin, self._reloader.config.status
        view = View(self, self.fleet, self._reloader, self._setting.store, self._sources, self._stats, self._log)
        access = Access(admin.listen, admin.token.text if admin.token is not None else None, os.getuid())
        self.admin_address = self._serve("admin", admin.listen, admin_site(view, access))
        if status is not None:
            self._serve("status", status.listen, status_site(view))
        for place, front in enumerate(self._reloader.config.fronts):
            for address in front.listen:
                self._serve(f"fronts[{place}]", address, front_site(view, front))

    def _serve(self, section: str, address: Address, site: Site) -> str:
        try:
            inherited = self._setting.inherited.take(Place(address, socket.SOCK_STREAM))
            bound = inherited or bind(address, socket.SOCK_STREAM)
        except OSError as error:
            raise CannotBind([Problem(f"{section}.listen", str(error.strerror))]) from None
        server = Server(site, self._log)
        server.listen(tuple(sock.dup() for sock in bound.sockets))
        self._servers.append((server, bound))
        return words(bound.sockets[0].getsockname())

    # Work beside the traffic

    async def _reload_asked(self) -> None:
        """By SIGHUP.  systemd waits for the end of what it has asked for, whatever becomes of it."""
        self._setting.notifier.reloading()
        await self._reload_files("SIGHUP")
        self._setting.notifier.ready(self._status())

    async def _reload_files(self, source: str) -> None:
        try:
            await self._reloader.put_documents(DEFAULT_LAYER, self._setting.files.read, source=source)
        except Invalid:
            # Logged and counted by the reloader, and shown in /server_info.
            self._awaited = self.fleet.papers.tried
        else:
            self._awaited = {}

    def _status(self) -> str:
        refusal = self._reloader.refusal
        refused = f"; the last one was refused: {refusal.problems[0]}" if refusal is not None else ""
        return f"serves configuration {self._reloader.generation}{refused}"

    async def _say_alive(self, every: float) -> None:
        while True:
            self._setting.notifier.watchdog()
            await asyncio.sleep(every)

    async def _end_with(self, pod: Pod) -> None:
        while not await asyncio.to_thread(pod.over):  # noqa: ASYNC110 - nobody tells of processes of others
            await asyncio.sleep(WATCH_EVERY if pod.begun else FIRST_LOOK_EVERY)
        if not self._draining.is_set():
            self._log.info("pod-over")
            self._alone = True
            self.drain()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY)
            if self._draining.is_set():
                return
            if self.fleet.broken:
                self.drain()
            if await asyncio.to_thread(self._setting.files.changed):
                await self._reload_files("files")
            elif not self._reloader.closed and await self.fleet.papers.changed(self._awaited):
                await self._reloader.renew()
                if self._awaited:
                    await self._reload_files("files")


def _raise_descriptor_limit() -> None:
    """Every connection takes two descriptors, and the usual soft limit is there for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
