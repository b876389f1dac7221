"""How endpoints are reached: in plain, or by TLS, with the proof of who they are.

    dial = dialling(cluster, 1.0, reach, claims, seats, count)
    dial(address, done).begin()
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256

from meshproxy import model
from meshproxy.cluster.balance import Seat
from meshproxy.cluster.cluster import Caller, DialTo
from meshproxy.core.table import Claims
from meshproxy.model import Address
from meshproxy.model.address import CLIENT
from meshproxy.model.tls import ClientTls, full_identity
from meshproxy.net.clock import Clock
from meshproxy.net.deadlines import Deadlines
from meshproxy.net.dial import Dial, Dialling, Outcome, Way
from meshproxy.net.tls import Broken, Session, TlsConn, TlsDial
from meshproxy.net.tls.proof import proof
from meshproxy.observe.log import Log
from meshproxy.plan.refusals import of_endpoint
from meshproxy.plan.tls import Papers, client_context_of
from meshproxy.relay.live import Kept
from meshproxy.schema.shapes import Path

MOST_SESSIONS = 1024
"""Kept to be resumed, of those with one cluster."""

Seats = Callable[[], Mapping[Address, Seat]]
Names = frozenset[str]
Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Reach:
    """What it takes to connect."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    deadlines: Deadlines
    log: Log
    papers: Papers
    trust_domain: str
    made: Callable[[str, socket.socket], None] | None = None
    """Hears of each connection that is made, and by which cluster; None: nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What may be spoken, by ALPN."""

    protocols: tuple[str, ...] = ()
    only: str | None = None
    """What has to be chosen."""


NOTHING = Offer()


def demands_of(said: model.Cluster, trust_domain: str, papers: Papers) -> str:
    """What its endpoints have to prove, in short; nothing, if that is nothing.  Who we are is not a part of it."""
    tls = said.tls
    if tls is None:
        return ""
    asked = replace(tls, certificate=None, key=None, resume=True)
    believed = [papers.get(source, "") for source in (tls.ca, tls.crl) if source is not None]
    return sha256(json.dumps([model.encode(asked), trust_domain, believed], sort_keys=True).encode()).hexdigest()


def dialling(
    said: model.Cluster,
    timeout: float,
    reach: Reach,
    claims: Claims,
    seats: Seats,
    count: Told,
    offered: Offer = NOTHING,
    via: DialTo | None = None,
    where: Path | None = None,
) -> DialTo:
    """`seats` are who is in it now; `count` hears of each handshake that goes well.

    `offered` by ALPN, where TLS is spoken and the cluster does not say it itself; `via`: the way to them, if that is
    not the direct one, within the same timeout; `where` what is said of TLS stands, if not in a cluster.
    """
    loop, clock = reach.loop, reach.clock
    made = None if reach.made is None else partial(reach.made, said.name)
    foreign = said.source == CLIENT
    # Nobody's address, until it is known for whom.
    way = Way(said.keepalive, "" if foreign else said.source, foreign, made=made)

    def dial_plain(address: Address, done: Callable[[Outcome], None], client: Caller | None = None, /) -> Dialling:
        kept = client.client if foreign and client is not None else None
        return Dial(loop, clock, address, timeout, done, way if kept is None else way.of(kept))

    reached = dial_plain if via is None else via
    if said.tls is None:
        return reached
    if offered.protocols and not said.tls.alpn:
        said = replace(said, tls=replace(said.tls, alpn=offered.protocols))
    assert said.tls is not None
    only = offered.only
    assured = _Assured(said, said.tls, reach, claims, where or ("clusters", said.name, "tls"))
    tell = of_endpoint(reach.log, said.name)

    def dial(address: Address, done: Callable[[Outcome], None], client: Caller | None = None, /) -> Dialling:
        name, names = assured.expected(address, seats().get(address))

        def check(conn: TlsConn) -> None:
            assured.check(conn.session, names)
            if only is not None and conn.session.ssl.selected_alpn_protocol() != only:
                raise Broken("not_chosen", only)
            count("resumed" if conn.session.ssl.session_reused else "full")

        def told(outcome: Outcome) -> None:
            if isinstance(outcome, Broken):
                tell(address, outcome)
            done(outcome)

        session = partial(assured.session, address, name, bool(names))
        return TlsDial(
            reach.deadlines, lambda plain: reached(address, plain, client), timeout, told, session, check
        )

    return dial


@dataclass(frozen=True, slots=True)
class _Known:
    """A context, and the sessions that can be resumed in it, by whom they were with."""

    context: ssl.SSLContext
    sessions: dict[tuple[Address, str | None], ssl.SSLSession] = field(default_factory=dict)


class _Assured:
    """TLS as a cluster speaks it, and whom it believes."""

    __slots__ = ("_clock", "_known", "_said", "_trust_domain")

    def __init__(
        self, cluster: model.Cluster, said: ClientTls, reach: Reach, claims: Claims, where: Path
    ) -> None:
        self._said = said
        self._clock = reach.clock
        self._trust_domain = reach.trust_domain

        def known(*, named: bool) -> _Known:
            context, digest = client_context_of(where, said, reach.papers, claims, named=named)
            found: _Known = claims.claim(("sessions", *where[:2], digest), lambda: Kept(_Known(context))).value
            return found

        named = {not said.names}
        if any(endpoint.identity is not None for endpoint in cluster.members):
            named.add(False)
        self._known = {each: known(named=each) for each in named}
        """By whether OpenSSL compares a certificate with the name that is asked for, or we look for one of several."""

    def expected(self, address: Address, seat: Seat | None) -> tuple[str | None, Names]:
        """The server name to ask for, and the names of which one must be in its certificate; none: that name."""
        said = self._said
        host = said.sni or (seat.host if seat is not None else "") or address.host.partition("%")[0]
        name = host.removesuffix(".") or None
        if said.verify != "name":
            return name, frozenset()
        if seat is not None and seat.identity is not None:
            return name, frozenset((full_identity(seat.identity, self._trust_domain),))
        return name, frozenset(full_identity(each, self._trust_domain) for each in said.names)

    def session(self, address: Address, name: str | None, names: bool, _first: bytes) -> Session:
        known = self._known[not names]
        key = (address, name)
        if not self._said.resume:
            return Session(known.context, name=name)

        def keep(session: ssl.SSLSession) -> None:
            sessions = known.sessions
            if key not in sessions and len(sessions) >= MOST_SESSIONS:
                del sessions[next(iter(sessions))]
            sessions[key] = session

        return Session(known.context, name=name, resumed=known.sessions.get(key), keep=keep)

    def check(self, session: Session, names: Names) -> None:
        """Raises Broken."""
        if self._said.verify == "off":
            return
        certificate = proof(session, self._clock.wall())
        if names and (certificate is None or names.isdisjoint(certificate.names)):
            raise Broken("wrong_name")
