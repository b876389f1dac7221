"""The addresses of the names of endpoints: resolved once for all workers, and kept resolved.

    await addresses.prepare(config)     # asks for the names that are new, and waits a moment for what they say
    worker.hear(addresses.known)        # before it prepares; what changes later is told as it comes
    addresses.commit()                  # or abort()

What goes wrong with DNS is logged, counted and shown, and is no reason to refuse a configuration: a name without an
address is an endpoint that is not there.  The resolver is loaded only where there are names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Literal

from meshproxy.model import Address, Config
from meshproxy.net.address import routed
from meshproxy.net.clock import Clock
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats

if TYPE_CHECKING:
    from meshproxy.discovery.dns import ResolveError, Watch
    from meshproxy.discovery.dns.watch import Resolves

Servers = tuple[Address, ...]
FIRST_WITHIN = 2.0
"""Seconds that a configuration waits for the first answers of its new names, of all of them together."""
ANY_PORT = 9
LOG_EVERY = 600.0
"""Seconds between two lines about one name."""


class Addresses:
    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, process: ProcessStats, log: Log) -> None:
        self.known: dict[str, tuple[str, ...]] = {}
        """The last good ones of each name that ever had any."""
        self.told: Callable[[str], None] = lambda _: None
        """Hears of a name of the configuration in force that its addresses are others."""
        self._loop = loop
        self._clock = clock
        self._process = process
        self._log = log
        self._asked: tuple[Servers, Resolves] | None = None
        self._next: tuple[Servers, Resolves] | None = None
        self._names: frozenset[str] = frozenset()
        self._watches: dict[str, Watch] = {}
        self._fresh: dict[str, Watch] = {}
        self._awaited: set[str] = set()
        self._all_heard = asyncio.Event()

    def failure(self, name: str) -> str | None:
        """If it could not be resolved the last time, why."""
        watch = self._watches.get(name)
        return str(watch.failure) if watch is not None and watch.failure is not None else None

    async def prepare(self, config: Config) -> None:
        self._names = frozenset(config.names)
        self._next = self._asked
        servers = config.dns.servers
        if self._names and (self._asked is None or self._asked[0] != servers):
            # Of the system's files one may be long.
            self._next = servers, await asyncio.to_thread(self.resolver, servers)
        self._fresh = self._watch(self._names - self._watches.keys())
        self._awaited = set(self._fresh)
        if self._awaited:
            await self._hear_all()

    async def _hear_all(self) -> None:
        self._all_heard.clear()
        late = self._clock.after(FIRST_WITHIN, self._all_heard.set)
        try:
            await self._all_heard.wait()
        finally:
            late.cancel()

    def commit(self) -> None:
        for name in self._watches.keys() - self._names:
            self._watches.pop(name).stop()
            self.known.pop(name, None)
        if self._next is not self._asked:
            self._asked = self._next
            for watch in self._watches.values():
                watch.stop()
            self._watches = self._watch(self._watches)
        self._watches |= self._fresh
        for name in self._fresh.keys() & self.known.keys():
            # It may have changed since it was prepared.
            self.told(name)
        self._fresh = {}

    def abort(self) -> None:
        for name, watch in self._fresh.items():
            watch.stop()
            self.known.pop(name, None)
        self._fresh = {}

    def close(self) -> None:
        self.abort()
        for watch in self._watches.values():
            watch.stop()

    def resolver(self, servers: Servers) -> Resolves:
        from meshproxy.discovery.dns import of_system

        return of_system(self._loop, self._clock, self._log, servers)

    def _watch(self, names: Iterable[str]) -> dict[str, Watch]:
        if self._next is None:
            return {}
        from meshproxy.discovery.dns import Watch

        _, resolver = self._next
        return {
            name: Watch(
                self._loop, self._clock, resolver, name, partial(self._resolved, name), partial(self._failed, name)
            )
            for name in names
        }

    def _resolved(self, name: str, addresses: tuple[str, ...]) -> None:
        addresses = _within_reach(addresses)
        if addresses != self.known.get(name):
            self.known[name] = addresses
            self._log.debug("name-resolved", name=name, addresses=" ".join(addresses))
            if name in self._watches:
                self.told(name)
        self._first_heard(name)

    def _failed(self, name: str, error: ResolveError) -> None:
        self._process.resolutions_failed_total += 1
        self._log.limited(f"name {name}", LOG_EVERY, "warning", "name-not-resolved", name=name, error=error)
        self._first_heard(name)

    def _first_heard(self, name: str) -> None:
        self._awaited.discard(name)
        if not self._awaited:
            self._all_heard.set()


def _within_reach(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Of a name that has both families a host may have a way to one alone; the first of each speaks for it."""
    firsts = {_kind(host): host for host in reversed(addresses)}
    reached = {kind for kind, host in firsts.items() if routed(Address(kind, host, ANY_PORT))}
    return tuple(host for host in addresses if _kind(host) in reached) or addresses


def _kind(host: str) -> Literal["ipv4", "ipv6"]:
    return "ipv6" if ":" in host else "ipv4"
