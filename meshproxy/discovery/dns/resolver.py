"""From a name to its addresses, IPv4 and IPv6: the hosts file, then the servers, each as often as the settings say."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import ip_address

from meshproxy.discovery.dns.exchange import ask
from meshproxy.discovery.dns.settings import Settings, candidates, system
from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.observe.log import Log
from meshproxy.wire.dns import AAAA, NO_ERROR, NO_SUCH_NAME, RCODES, A, Found, Malformed, Name, Reply, found

MOST_QUESTIONS = 64
"""At once, so that a thousand names do not take two thousand descriptors."""

FAMILIES = {4: A, 6: AAAA}


@dataclass(frozen=True, slots=True)
class Answer:
    addresses: tuple[str, ...]
    """At least one, and in order, so that two answers which say the same are equal."""
    ttl: float
    missing: int | None = None
    """The version of IP of which no server would say whether there are addresses."""


class ResolveError(LookupError):
    """No address to be had, and why.  That a name has none is `certain` for so many seconds."""

    def __init__(self, message: str, certain: float = 0) -> None:
        super().__init__(message)
        self.certain = certain


class Resolver:
    """Asks each time anew, and remembers nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, settings: Settings) -> None:
        self._loop = loop
        self._clock = clock
        self._settings = settings
        self._room = asyncio.Semaphore(MOST_QUESTIONS)

    async def resolve(self, name: str) -> Answer:
        try:
            full_names = candidates(name, self._settings)
        except ValueError as error:
            raise ResolveError(f"a name {error}") from None
        if (known := self._settings.hosts.get(name.lower().removesuffix("."))) is not None:
            return _from_hosts(name, known)
        negative: list[Found] = []
        for full_name in full_names:
            outcomes = dict(zip(FAMILIES, await self._both(full_name), strict=True))
            answers = [outcome for outcome in outcomes.values() if isinstance(outcome, Found)]
            silent = {version: outcome for version, outcome in outcomes.items() if isinstance(outcome, str)}
            addresses = in_order(address for answer in answers for address in answer.addresses)
            if addresses:
                ttl = min(answer.ttl for answer in answers if answer.addresses)
                return Answer(addresses, ttl, next(iter(silent), None))
            if silent:
                # The next name would be another host, of which only a server may say that it is meant.
                raise ResolveError(f"{name}: {next(iter(silent.values()))}")
            negative += answers
        why = "it has no usable address" if any(answer.exists for answer in negative) else "there is no such name"
        raise ResolveError(f"{name}: {why}", min(answer.ttl for answer in negative))

    async def _both(self, name: Name) -> list[Found | str]:
        return await asyncio.gather(*(self._find(name, kind) for kind in FAMILIES.values()))

    async def _find(self, name: Name, kind: int) -> Found | str:
        """What the first server says that says anything; if none does, why."""
        faults: dict[str, str] = {}
        for _ in range(self._settings.attempts):
            for server in self._settings.servers:
                try:
                    async with self._room:
                        query, reply = await ask(self._loop, self._clock, server, name, kind, self._settings.timeout)
                    fault = _unwilling(reply)
                    if not fault:
                        return found(query, reply)
                except OSError as error:
                    fault = error.strerror or str(error)
                except Malformed as error:
                    fault = str(error)
                faults[str(server)] = fault
        return "; ".join(f"{server}: {fault}" for server, fault in faults.items())


def _unwilling(reply: Reply) -> str:
    if reply.rcode not in (NO_ERROR, NO_SUCH_NAME):
        return RCODES.get(reply.rcode, f"code {reply.rcode}")
    return "it does not ask other servers" if reply.is_referral else ""


def _from_hosts(name: str, known: Iterable[str]) -> Answer:
    addresses = in_order(known)
    if not addresses:
        raise ResolveError(f"{name}: it has no usable address in the hosts file")
    return Answer(addresses, math.inf)


def of_system(
    loop: asyncio.AbstractEventLoop, clock: Clock, log: Log, servers: tuple[Address, ...]
) -> Resolver:
    """As the system says, but for the servers, if any are said.  Of its files one may be long: call it in a thread."""
    try:
        settings = system()
    except (OSError, ValueError) as error:
        log.error("system-names-not-read", error=error)
        settings = Settings()
    return Resolver(loop, clock, replace(settings, servers=servers or settings.servers))


def in_order(addresses: Iterable[str]) -> tuple[str, ...]:
    """IPv4 first.  What nobody can connect to is left out: 0.0.0.0 is how a filter says that it blocks a name."""
    parsed = {ip_address(address) for address in addresses}
    usable = (ip for ip in parsed if not (ip.is_unspecified or ip.is_multicast))
    return tuple(map(str, sorted(usable, key=lambda ip: (ip.version, ip.packed, str(ip)))))
