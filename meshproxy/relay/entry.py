"""From an accepted socket to the chain that serves it: the limit, the PROXY header, the hello, the choice."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from meshproxy.core.client import Within
from meshproxy.core.limit import Flow
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.origdst import Destination, original
from meshproxy.relay.arrival import Greeted, Introduced
from meshproxy.relay.expecting import Expect
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.turned import REFUSED
from meshproxy.wire.mux.metadata import Purpose


class Service(Protocol):
    def start(self, conn: Conn, origin: Origin) -> None:
        """Take the connection over; it is counted in, and whoever takes it counts it out."""

    def behind(self, origin: Origin) -> Service | None:
        """Who serves what comes next on a connection that was let in by an earlier generation, if it may go on."""


S = TypeVar("S", covariant=True)
Choose = Callable[[Origin], Service | None]
IsOurs = Callable[[Destination, Destination], bool]
"""Whether the proxy itself has made the connection between two addresses."""
Connect = Callable[[socket.socket], Conn]
"""Makes the client's end of a connection."""


@dataclass(frozen=True, slots=True)
class Rule(Generic[S]):
    """One chain's match; None matches anything."""

    ports: frozenset[int] | None
    sources: Within | None
    service: S
    names: Callable[[str | None], object] | None = None
    """Tells whether a server name is meant."""
    protocols: frozenset[bytes] | None = None
    """Of ALPN."""
    destinations: Within | None = None
    greeted: bool = False
    """Whether it has to be known how a connection begins."""
    passes_tls: bool = False
    """Whether it serves TLS that passes through, and nothing else."""
    speaks: frozenset[str] | None = None
    """What is spoken."""

    @property
    def anywhere(self) -> bool:
        """Whether any addresses match."""
        return self.ports is None and self.sources is None and self.destinations is None

    @property
    def anyhow(self) -> bool:
        """Whether any beginning matches."""
        return self.names is None and self.protocols is None and self.speaks is None

    def addressed(self, origin: Origin) -> bool:
        """Whether its addresses match."""
        if self.ports is not None and origin.port not in self.ports:
            return False
        if self.sources is not None and not self.sources(origin.address):
            return False
        return self.destinations is None or self.destinations(origin.goal)

    def matches(self, origin: Origin) -> bool:
        if not self.addressed(origin):
            return False
        if self.speaks is not None and origin.begins not in self.speaks:
            return False
        hello = origin.hello
        if self.names is not None and (hello is None or not self.names(hello.name)):
            return False
        return self.protocols is None or (hello is not None and not self.protocols.isdisjoint(hello.alpn))


def chooser(rules: Sequence[Rule[S]]) -> Callable[[Origin], S | None]:
    """The first rule that matches decides; a rule for everything needs no asking."""
    if rules and rules[0].anywhere and rules[0].anyhow:
        only = rules[0].service
        return lambda _: only
    return lambda origin: next((rule.service for rule in rules if rule.matches(origin)), None)


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """From whom a PROXY header is demanded, and for how long it is waited for.  Everybody else is refused."""

    trusted: Within
    trust_unix: bool
    timeout: float
    optional: bool = False
    """Nobody is refused who sends none."""

    def trusts(self, origin: Origin) -> bool:
        return self.trust_unix if origin.source is None else self.trusted(origin.address)


@dataclass(frozen=True, slots=True)
class Entry:
    """Compiled: the front of one listener, for one generation."""

    connect: Connect
    clock: Clock
    state: ListenerState
    rate: Flow | None
    header: ProxyHeader | None
    expect: Expect | None
    """None: nothing is decided by how a connection begins."""
    choose: Choose
    is_ours: IsOurs | None = None
    """None: nothing is redirected to it."""

    def accept_redirected(self, sock: socket.socket, peer: Any) -> None:
        destination = original(sock)
        is_ours = self.is_ours
        if is_ours is not None and is_ours((peer[0], peer[1]), destination):
            connect = self.connect
            self._turn_away(connect(sock), Origin(_source(peer), destination[1], destination), "loop")
        else:
            self.accept(destination[1], sock, peer, destination)

    def accept(self, port: int | None, sock: socket.socket, peer: Any, destination: Destination | None = None) -> None:
        """`port` is the listening socket's, or that of the destination; a unix socket has none."""
        connect = self.connect
        conn = connect(sock)
        origin = Origin(_source(peer), port, destination)
        if self.state.limit.take():
            self._within_limit(conn, origin, True)
        else:
            self.state.limit.ask(partial(self._within_limit, conn, origin))

    def accept_stream(self, conn: Conn, purpose: Purpose) -> None:
        """Of a tunnel: where it goes and who began it is what the other end says, which is trusted with that."""
        origin = Origin(purpose.source, purpose.to[1], purpose.to)
        origin.vouched = purpose.identity
        if self.state.limit.take():
            self._within_limit(conn, origin, True)
        else:
            self.state.limit.ask(partial(self._within_limit, conn, origin))

    def shed(self, port: int | None, sock: socket.socket, peer: Any) -> None:
        """There is too much to do as it is."""
        connect = self.connect
        self._turn_away(connect(sock), Origin(_source(peer), port), "overload")

    def _within_limit(self, conn: Conn, origin: Origin, granted: bool) -> None:
        if not granted:
            self._turn_away(conn, origin, "limit")
        elif self.rate is None or self.rate.take():
            self._let_in(conn, origin)
        else:
            self.rate.ask(partial(self._within_rate, conn, origin))

    def _within_rate(self, conn: Conn, origin: Origin, granted: bool) -> None:
        if granted:
            self._let_in(conn, origin)
        else:
            self.state.limit.give()
            self._turn_away(conn, origin, "rate_limit")

    def _turn_away(self, conn: Conn, origin: Origin, reason: str) -> None:
        """It has not been counted in."""
        self.state.turned.tell(conn, origin, REFUSED[reason])
        conn.abort()
        self.state.stats.rejected[reason] += 1

    def _let_in(self, conn: Conn, origin: Origin) -> None:
        self.state.came()
        header = self.header
        if header is None or (header.optional and not header.trusts(origin)):
            self.introduced(conn, origin)
        else:
            Introduced(self, header, conn, origin)

    def introduced(self, conn: Conn, origin: Origin) -> None:
        origin.conn = conn
        expect = self.expect
        hello = expect(origin) if expect is not None else None
        if hello is None:
            self.hand_on(conn, origin)
        else:
            Greeted(self, hello, conn, origin)

    def hand_on(self, conn: Conn, origin: Origin) -> None:
        service = self.choose(origin)
        if service is not None:
            service.start(conn, origin)
        else:
            self.state.turn_away(conn, origin, "no_chain")

    def accept_failed(self, _error: OSError) -> None:
        self.state.stats.accept_errors_total += 1


def _source(peer: Any) -> tuple[str, int] | None:
    """None: a unix socket's other end has no name."""
    return (peer[0], peer[1]) if isinstance(peer, tuple) else None
