"""Everything that owns limits on behalf of the workers: the ledger, the shelves of buckets, and who asks Redis."""

from __future__ import annotations

import asyncio

from meshproxy.core.buckets import Shelves
from meshproxy.core.ledger import Ledger
from meshproxy.model import Config
from meshproxy.net.clock import Clock
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.plan import shelved, terms
from meshproxy.server.addresses import Addresses
from meshproxy.server.tally import Tallies


class OwnedLimits:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        workers: int,
        shelves: Shelves,
        addresses: Addresses,
        process: ProcessStats,
        log: Log,
    ) -> None:
        self.shelves = shelves
        self._tallies = Tallies(loop, clock, addresses.known, process, log)
        self.ledger = Ledger(clock, workers, self._tallies.draw)
        self._in_force = self._next = Config()
        self._terms = terms(self._next)

    def prepare(self, config: Config) -> None:
        """Before the workers do: they find their shelves."""
        self._next, self._terms = config, terms(config)
        self.shelves.keep(shelved(self._in_force) | shelved(config))

    def commit(self) -> None:
        self._in_force = config = self._next
        self.shelves.keep(shelved(config))
        self._tallies.keep(config)
        self.ledger.define(self._terms)

    def abort(self) -> None:
        self._next = self._in_force
        self.shelves.keep(shelved(self._in_force))

    def close(self) -> None:
        self._tallies.close()
