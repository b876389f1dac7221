"""Where TLS ends: a service before another, which gets connections as if they were plain, and knows who they are.

    hello -> a turn -> the certificate that is meant -> handshake -> who it is -> the service behind

Whoever has not said hello yet waits for nobody and keeps nobody waiting.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from meshproxy.core.peer import Peer
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.tls import Broken, Handshake, Session, TlsConn
from meshproxy.net.tls.proof import proof
from meshproxy.relay.entry import Service
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.turned import DRAINED, without_tls
from meshproxy.relay.turns import Turns

HANDSHAKE = 22
"""What a record of TLS begins with, if it is one of a handshake."""

Answer = Callable[[Conn, str | None, int, str], None]
"""Says to a client of HTTP that it cannot be served, and closes: what they agreed on by ALPN, the status, the reason in
words."""
IN_WORDS = {"plain": "this port speaks TLS", "no_certificate": "a client certificate is required"}


class Admission:
    """Live, for as long as its certificate and its CA are in force: by what connections are let in.

    Where they are to be drained when it is replaced, it knows them.
    """

    __slots__ = ("_clock", "_guests", "context")

    def __init__(self, context: ssl.SSLContext, clock: Clock, *, drains: bool) -> None:
        self.context = context
        self._clock = clock
        self._guests: WeakSet[TlsConn] | None = WeakSet() if drains else None

    def admit(self, conn: TlsConn) -> None:
        if self._guests is not None:
            self._guests.add(conn)

    def retire(self, grace: float) -> None:
        if self._guests:
            for handler in self._handlers():
                handler.leave()
            self._clock.after(grace, self._drain)

    def _drain(self) -> None:
        for handler in self._handlers():
            handler.drain()

    def _handlers(self) -> Iterator[Any]:
        """Of those that are still there, each a connection of its listener; the end of one may be that of another."""
        for conn in tuple(self._guests or ()):
            if not conn.closed:
                yield conn.handler


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """One certificate of ours, and what is asked of those to whom it is shown."""

    admission: Admission
    identity: str
    """Who it says that we are."""
    required: bool
    """Whether the client has to show one too."""
    refusal: int
    """The status of HTTP with which one is refused that has none; 0: OpenSSL has refused it already."""
    by_subject: bool
    """Whether the common name alone says who the client is."""


@dataclass(frozen=True, slots=True, eq=False)
class TlsService:
    inner: Service
    state: ListenerState
    clock: Clock
    deadlines: Deadlines
    within: float
    """Seconds for a handshake."""
    turns: Turns
    choose: Callable[[str | None], Certified]
    """By the server name that is asked for."""
    permissive: bool
    answer: Answer | None
    """None: it is not HTTP."""
    tell: Callable[[Origin, Broken], None]
    """Of those with whom no TLS comes about."""

    def start(self, conn: Conn, origin: Origin) -> None:
        if origin.plain and self.permissive:
            self.inner.start(conn, origin)
        else:
            Securing(self, conn, origin).begin()

    def behind(self, origin: Origin) -> Service | None:
        peer = origin.peer
        if peer is None:
            return self.inner if self.permissive else None
        certified = self.choose(peer.name)
        if peer.certificate is None:
            return None if certified.required else self.inner
        return self.inner if certified.by_subject == peer.by_subject else None


class Securing:
    """One connection, until it is secure, or refused."""

    __slots__ = ("_certified", "_conn", "_first", "_handshake", "_origin", "_service", "deadline", "over")

    def __init__(self, service: TlsService, conn: Conn, origin: Origin) -> None:
        self._service = service
        self._conn = conn
        self._origin = origin
        self._first = b""
        self._handshake: Handshake | None = None
        self._certified: Certified | None = None
        self.over = False
        self.deadline = service.deadlines.now() + service.within
        service.state.connections.add(self)
        conn.handler = self

    def begin(self) -> None:
        conn, origin = self._conn, self._origin
        early, origin.early = origin.early, b""
        if early:
            self._hello(early)
            return
        # A hello takes longer to make than we take to get here: there is no use in looking at once.
        conn.read_to(self._hello)
        self._wait()
        conn.start()

    def _wait(self) -> None:
        service = self._service
        service.deadlines.watch(self, service.within)

    def _hello(self, data: bytes) -> None:
        """Who has said nothing yet has no turn to wait for."""
        self._first = data
        service = self._service
        if service.turns.ask(self):
            self.turn()
        elif self._handshake is None and not self.over:
            self._conn.stop()
            self._wait()

    def turn(self) -> None:
        service = self._service
        service.deadlines.forget(self)
        left = max(self.deadline - service.deadlines.now(), 0.0)
        self._handshake = Handshake(service.deadlines, self._conn, self._session, left, self._done)
        self._handshake.begin(self._first)

    def _session(self, first: bytes) -> Session:
        if first[0] != HANDSHAKE:
            raise Broken("plain")
        hello = self._origin.hello
        self._certified = certified = self._service.choose(hello.name if hello is not None else None)
        return Session(certified.admission.context, server=True)

    def _done(self, outcome: TlsConn | Broken) -> None:
        self._end()
        if isinstance(outcome, TlsConn):
            self._secure(outcome)
        else:
            self._refuse(self._conn, outcome, 400 if outcome.word == "plain" else 0)

    def _end(self) -> None:
        service = self._service
        self.over = True
        self._handshake = None
        service.deadlines.forget(self)
        service.state.connections.discard(self)
        service.turns.give_back(self)

    def _secure(self, conn: TlsConn) -> None:
        service, origin, certified = self._service, self._origin, self._certified
        assert certified is not None
        try:
            origin.peer = peer = self._peer(conn.session, certified)
        except Broken as error:
            self._refuse(conn, error, 0)
            return
        if certified.required and peer.certificate is None:
            self._refuse(conn, Broken("no_certificate"), certified.refusal)
            return
        service.state.stats.handshakes["resumed" if conn.session.ssl.session_reused else "full"] += 1
        certified.admission.admit(conn)
        if peer.identity:
            service.state.identified(peer.identity)
        origin.conn = conn
        service.inner.start(conn, origin)

    def _peer(self, session: Session, certified: Certified) -> Peer:
        hello = self._origin.hello
        return Peer(
            proof(session, self._service.clock.wall()),
            hello.name if hello is not None else None,
            certified.identity,
            session.ssl,
            certified.by_subject,
        )

    def _refuse(self, conn: Conn, why: Broken, status: int) -> None:
        """With an answer of HTTP, if there is a status for it."""
        service = self._service
        service.state.stats.handshakes[why.word] += 1
        service.tell(self._origin, why)
        if service.answer is None:
            status = 0
        if self._first or why.word != "closed":
            service.state.turned.tell(
                conn, self._origin, without_tls(why.word), since=self.deadline - service.within, status=status
            )
        if service.answer is not None and status:
            agreed = conn.session.ssl.selected_alpn_protocol() if isinstance(conn, TlsConn) else None
            service.answer(conn, agreed, status, IN_WORDS[why.word])
        else:
            conn.close()
            service.state.rejected("tls")

    # Before its handshake

    def expired(self) -> None:
        if self._handshake is not None:
            self._handshake.expired()
        else:
            self._end()
            self._refuse(self._conn, Broken("timeout"), 0)

    def on_end(self, conn: Conn) -> None:
        self._end()
        self._refuse(conn, Broken("closed"), 0)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self.on_end(conn)

    # As a connection of its listener

    def account(self) -> None:
        """Nothing has been relayed yet."""

    def leave(self) -> None:
        """It has little time as it is."""

    def drain(self) -> None:
        service = self._service
        service.state.turned.tell(self._conn, self._origin, DRAINED, since=self.deadline - service.within)
        if self._handshake is not None:
            self._handshake.cancel()
        else:
            self._conn.abort()
        self._end()
        service.state.rejected("tls")
