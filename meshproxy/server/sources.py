"""The sources of the configuration, each asked by a task of its own, in the process that steers and never in a worker.

    sources = Sources(reloader, fleet, stats, log)
    sources.begin(tasks)
    sources.missing             # those of which nothing is in force yet
    sources.rows()              # for /sources
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING
from uuid import uuid4

from meshproxy.admin.reload import Reloader
from meshproxy.model import Address, Source
from meshproxy.model.tls import ClientTls, full_identity
from meshproxy.net.tls.context import Terms, Unusable, client_context
from meshproxy.net.tls.faults import Broken
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats, SourceStats
from meshproxy.plan.tls import client_terms
from meshproxy.server.fleet import Fleet
from meshproxy.server.tasks import Tasks
from meshproxy.sources.asking import Asked, Unanswered
from meshproxy.sources.pace import Pace
from meshproxy.sources.places import Document, Instance, Repository
from meshproxy.sources.poller import Poller
from meshproxy.sources.push import Push
from meshproxy.wire import x509

if TYPE_CHECKING:
    from meshproxy.discovery.dns.watch import Resolves

Row = dict[str, object]
ANY_PORT = 0


class Sources:
    def __init__(self, reloader: Reloader, fleet: Fleet, stats: ProcessStats, log: Log) -> None:
        """For the configuration in force: its sources are those of the process, and stay."""
        self._reloader = reloader
        names = _Names(fleet, reloader)
        who = Instance(str(uuid4()), socket.gethostname(), reloader.clock.wall())
        self._sources = [
            _Asking(said, reloader, _Reach(said, names, reloader, fleet), who, stats, log)
            for said in reloader.config.sources
        ]

    def begin(self, tasks: Tasks) -> None:
        for source in self._sources:
            source.begin(tasks)

    @property
    def missing(self) -> list[str]:
        """Those of which nothing is in force: neither from now nor from before."""
        return [source.said.name for source in self._sources if source.said.name not in self._reloader.layers]

    def states(self) -> dict[str, str]:
        return {source.said.name: source.poller.state for source in self._sources}

    def rows(self) -> list[Row]:
        return [source.row() for source in self._sources]


class _Asking:
    """One source."""

    def __init__(
        self, said: Source, reloader: Reloader, reach: _Reach, who: Instance, stats: ProcessStats, log: Log
    ) -> None:
        self.said = said
        clock = reloader.clock
        counted = stats.sources[said.name] = SourceStats()
        self._asked = asked = _asked(said, reach)
        repository = Repository(asked, who) if said.is_repo else None
        self.poller = Poller(said, repository or Document(asked), reloader, clock, Pace(clock), counted, log)
        self.push: Push | None = None
        if repository is not None:
            target = repository.base + who.uuid
            self.push = Push(_asked(said, reach), target, self.poller.wake, clock, Pace(clock))

    def begin(self, tasks: Tasks) -> None:
        tasks.begin(self._poll())
        if self.push is not None:
            tasks.begin(self.push.run())

    async def _poll(self) -> None:
        try:
            await self.poller.run()
        finally:
            self._asked.close()

    def row(self) -> Row:
        poller = self.poller
        return {
            "name": self.said.name,
            "url": _shown(self.said.url),
            "kind": "repo" if self.said.is_repo else "document",
            "state": poller.state,
            "version": poller.version,
            "answered": round(poller.answered, 3) if poller.answered is not None else None,
            "next_in": round(poller.next_in, 1),
            "push": self.push.connected if self.push is not None else None,
            "error": poller.error,
        }


def _asked(said: Source, reach: _Reach) -> Asked:
    token = said.token.text if said.token is not None else None
    return Asked(said.url, within=said.timeout, reach=reach, token=token)


def _shown(url: str) -> str:
    """Some put what is secret into a query."""
    place, mark, _ = url.partition("?")
    return f"{place}{mark and '?...'}"


class _Names:
    """From the names of control planes to their addresses."""

    def __init__(self, fleet: Fleet, reloader: Reloader) -> None:
        self._addresses = fleet.addresses
        self._reloader = reloader
        self._resolver: Resolves | None = None

    async def addresses(self, host: str) -> list[Address]:
        try:
            return [_address(str(ip_address(host)))]
        except ValueError:
            """It is a name."""
        from meshproxy.discovery.dns import ResolveError

        if self._resolver is None:
            self._resolver = await asyncio.to_thread(self._addresses.resolver, self._reloader.config.dns.servers)
        try:
            answer = await self._resolver.resolve(host)
        except ResolveError as error:
            raise Unanswered(f"its name: {error}") from None
        return [_address(found) for found in answer.addresses]


def _address(host: str) -> Address:
    return Address("ipv6" if ":" in host else "ipv4", host, ANY_PORT)


class _Reach:
    """How one source is got at."""

    def __init__(self, said: Source, names: _Names, reloader: Reloader, fleet: Fleet) -> None:
        self._said = said.tls or ClientTls()
        self._names = names
        self._reloader = reloader
        self._fleet = fleet
        self._known: tuple[Terms, ssl.SSLContext] | None = None
        self.server_name = self._said.sni

    async def addresses(self, host: str) -> Iterable[Address]:
        return await self._names.addresses(host)

    async def context(self) -> ssl.SSLContext:
        """With what the files hold now that the source names."""
        said, terms = self._said, client_terms(self._said, self._fleet.papers.known)
        if self._known is None or self._known[0] != terms:
            named = said.verify == "name" and not said.names
            try:
                found = await asyncio.to_thread(client_context, terms, chain=said.verify != "off", named=named)
            except Unusable as why:
                raise Unanswered(f"`tls.{why.part}` {why}") from None
            self._known = terms, found
        return self._known[1]

    def check(self, certificate: bytes) -> None:
        if self._said.verify != "name" or not self._said.names:
            return
        domain = self._reloader.config.node.trust_domain
        names = {full_identity(name, domain) for name in self._said.names}
        try:
            shown = x509.read(certificate).names
        except x509.Unreadable as why:
            raise Broken("invalid", str(why)) from None
        if names.isdisjoint(shown):
            raise Broken("wrong_name")
