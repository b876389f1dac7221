"""From an accepted socket to the chain that serves it: the limit, the PROXY header, the choice."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from meshproxy.core.client import Address, Network, read
from meshproxy.core.limit import Flow
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.relay.live import ListenerState
from meshproxy.wire import proxy_protocol
from meshproxy.wire.proxy_protocol import Endpoint, Header

Networks = Sequence[Network]


class Origin:
    """Who connected to which port, as far as there are addresses, and what was read to find that out."""

    __slots__ = ("_address", "conn", "destination", "early", "port", "source")

    def __init__(
        self, source: Endpoint | None, port: int | None, destination: Endpoint | None = None, early: bytes = b""
    ) -> None:
        self.source = source
        self.port = port
        self.destination = destination
        """Told by a PROXY header; else the connection's own local address is meant."""
        self.early = early
        self.conn: Conn | None = None
        """Once it is let in."""
        self._address: Address | None = None

    @property
    def client(self) -> str | None:
        """The address of who connected; None for a unix socket."""
        return self.source[0] if self.source is not None else None

    @property
    def address(self) -> Address | None:
        """The same to compare with; read once, and only where somebody asks."""
        if self._address is None and self.source is not None:
            self._address = read(self.source[0])
        return self._address

    def within(self, networks: Networks) -> bool:
        address = self.address
        return address is not None and any(address in network for network in networks)


class Service(Protocol):
    def start(self, conn: Conn, origin: Origin) -> None:
        """Take the connection over; it is counted in, and whoever takes it counts it out."""


Choose = Callable[[Origin], Service | None]
Connect = Callable[[socket.socket], Conn]
"""Makes the client's end of a connection."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One chain's match; None matches anything."""

    ports: frozenset[int] | None
    sources: Networks | None
    service: Service

    def matches(self, origin: Origin) -> bool:
        if self.ports is not None and origin.port not in self.ports:
            return False
        return self.sources is None or origin.within(self.sources)


def chooser(rules: Sequence[Rule]) -> Choose:
    """The first rule that matches decides; a rule for everything needs no asking."""
    if rules and rules[0].ports is None and rules[0].sources is None:
        only = rules[0].service
        return lambda _: only
    return lambda origin: next((rule.service for rule in rules if rule.matches(origin)), None)


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """From whom a PROXY header is demanded, and for how long it is waited for.  Everybody else is refused."""

    trusted: Networks
    trust_unix: bool
    timeout: float

    def trusts(self, origin: Origin) -> bool:
        return self.trust_unix if origin.source is None else origin.within(self.trusted)


@dataclass(frozen=True, slots=True)
class Entry:
    """Compiled: the front of one listener, for one generation."""

    connect: Connect
    clock: Clock
    state: ListenerState
    rate: Flow | None
    header: ProxyHeader | None
    choose: Choose

    def accept(self, port: int | None, sock: socket.socket, peer: Any) -> None:
        """`port` is the listening socket's; a unix socket has none."""
        connect = self.connect
        conn = connect(sock)
        origin = Origin((peer[0], peer[1]) if isinstance(peer, tuple) else None, port)
        if self.state.limit.take():
            self._within_limit(conn, origin, True)
        else:
            self.state.limit.ask(partial(self._within_limit, conn, origin))

    def shed(self, _port: int | None, sock: socket.socket, _peer: Any) -> None:
        """There is too much to do as it is."""
        connect = self.connect
        self._turn_away(connect(sock), "overload")

    def _within_limit(self, conn: Conn, origin: Origin, granted: bool) -> None:
        if not granted:
            self._turn_away(conn, "limit")
        elif self.rate is None or self.rate.take():
            self._let_in(conn, origin)
        else:
            self.rate.ask(partial(self._within_rate, conn, origin))

    def _within_rate(self, conn: Conn, origin: Origin, granted: bool) -> None:
        if granted:
            self._let_in(conn, origin)
        else:
            self.state.limit.give()
            self._turn_away(conn, "rate_limit")

    def _turn_away(self, conn: Conn, reason: str) -> None:
        conn.abort()
        self.state.stats.rejected[reason] += 1

    def _let_in(self, conn: Conn, origin: Origin) -> None:
        self.state.came()
        if self.header is None:
            self.hand_on(conn, origin)
        else:
            Arrival(self, self.header, conn, origin)

    def hand_on(self, conn: Conn, origin: Origin) -> None:
        origin.conn = conn
        service = self.choose(origin)
        if service is not None:
            service.start(conn, origin)
        else:
            self.refuse(conn, "no_chain")

    def refuse(self, conn: Conn, reason: str) -> None:
        conn.abort()
        self.state.rejected(reason)

    def accept_failed(self, _error: OSError) -> None:
        self.state.stats.accept_errors_total += 1


class Arrival:
    """A connection whose PROXY header is still to come."""

    __slots__ = ("_buffer", "_conn", "_entry", "_origin", "_timer")

    def __init__(self, entry: Entry, header: ProxyHeader, conn: Conn, origin: Origin) -> None:
        self._entry = entry
        self._conn = conn
        self._origin = origin
        self._buffer = b""
        self._timer = entry.clock.after(header.timeout, self.drain)
        entry.state.connections.add(self)
        conn.handler = self
        conn.read_to(self._read)
        if header.trusts(origin):
            conn.start()
        else:
            self.drain()

    def _read(self, data: bytes) -> None:
        self._buffer += data
        try:
            header = proxy_protocol.parse(self._buffer)
        except proxy_protocol.Malformed:
            self.drain()
            return
        if header is not None:
            self._conn.stop()
            self._leave()
            self._entry.hand_on(self._conn, self._told_by(header))

    def _told_by(self, header: Header) -> Origin:
        early = self._buffer[header.length :]
        source, destination = header.source, header.destination
        if source is None or destination is None:
            return Origin(self._origin.source, self._origin.port, early=early)
        return Origin(source, destination[1], destination, early)

    def on_end(self, conn: Conn) -> None:
        self.drain()

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.drain()

    def account(self) -> None:
        """Nothing has been relayed yet."""

    def leave(self) -> None:
        """It has little time as it is."""

    def drain(self) -> None:
        """Whatever the cause, it ends the same way: without a header nobody comes in."""
        self._leave()
        self._entry.refuse(self._conn, "proxy_protocol")

    def _leave(self) -> None:
        self._timer.cancel()
        self._entry.state.connections.discard(self)
