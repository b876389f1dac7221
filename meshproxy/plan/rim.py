"""What a worker has, whatever its configuration says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from meshproxy.core.buckets import Shelves
from meshproxy.core.limit import Limits
from meshproxy.core.overload import Overload
from meshproxy.net.abroad import Abroad
from meshproxy.net.clock import Clock
from meshproxy.net.doors import Place
from meshproxy.net.listener import Elsewhere
from meshproxy.net.sinks import Sink
from meshproxy.net.splice import Pipes
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.stats import Stats
from meshproxy.observe.peers import Peers
from meshproxy.observe.telling import Teller, Watch
from meshproxy.plan.verdicts import Verdicts
from meshproxy.relay.http.site import Site
from meshproxy.relay.live import Guests
from meshproxy.relay.mux.indoors import Indoors


@dataclass(frozen=True, slots=True)
class Rim:
    loop: asyncio.AbstractEventLoop
    clock: Clock
    stats: Stats
    pipes: Pipes
    guests: Guests
    limits: Limits
    shelves: Shelves
    """Of limits by a value."""
    elsewhere: Callable[[Place], Elsewhere | None]
    """Who takes connections that are accepted at a place, if this worker has too many."""
    http: Site
    log: Log
    known: dict[str, tuple[str, ...]]
    """The addresses of the names of endpoints."""
    overload: Overload
    began: dict[str, float]
    """When each plan of timed steps was first put in force."""
    verdicts: Verdicts
    tellers: set[Teller]
    """Who counts requests, and settles that when somebody looks."""
    sinks: set[Sink]
    """Where lines go, of logs and traces."""
    watch: Watch
    """Who keeps what went wrong, and shows what is looked at live."""
    papers: dict[str, str]
    """By its path, what each file holds that the configuration names; there only while one is compiled."""
    peers: Peers
    """What other proxies have said of themselves."""
    abroad: Abroad
    """Connections to endpoints, where some may be led back."""
    indoors: Indoors
    """The way to the tunnels, which the first worker has."""
