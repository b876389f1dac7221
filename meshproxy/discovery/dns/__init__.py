"""Hosts by name: names are resolved without a thread, and those of endpoints asked for again when their TTL is over.

    resolver = Resolver(loop, clock, system())               # one for a process, of /etc/resolv.conf and /etc/hosts
    answer = await resolver.resolve("books.shop")            # Answer(addresses=("10.0.0.1", "fd00::1"), ttl=30)

    def told(addresses: tuple[str, ...]) -> None:            # at first, and when they are others
        cluster.update(addresses)

    def failed(error: ResolveError) -> None:                 # the last good addresses stay, and it asks again
        log.limited(watch.name, 60, "warning", "not_resolved", error=error)

    watch = Watch(loop, clock, resolver, "books.shop", told, failed)
    ...
    watch.stop()

Where to read on: `settings.py` (what the system says), `exchange.py` (one question to one server), `resolver.py` (which
servers, which names), `watch.py` (when again), `remembered.py` (names that clients say).  The messages themselves are
`meshproxy.wire.dns`.
"""

from meshproxy.discovery.dns.remembered import Remembered
from meshproxy.discovery.dns.resolver import Answer, ResolveError, Resolver, of_system
from meshproxy.discovery.dns.settings import Settings, from_texts, system, system_servers
from meshproxy.discovery.dns.watch import Pace, Watch

__all__ = [
    "Answer", "Pace", "Remembered", "ResolveError", "Resolver", "Settings", "Watch", "from_texts", "of_system",
    "system", "system_servers",
]  # fmt: skip
