"""How endpoints are reached through a proxy that makes connections for us.

    via = through(tunnel, 1.0, reach, claims, lambda: (address of the proxy, found just now))
    dialling(cluster, 1.0, reach, claims, seats, count, via=via)
    in_turn([(tunnel, 2), (another, 1)], "far", 1.0, reach, claims, lambda tunnel: (its address))

The proxy itself is reached as the one endpoint of a cluster is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from errno import EAFNOSUPPORT, EHOSTUNREACH
from functools import partial
from hashlib import sha256

from meshproxy import model
from meshproxy.cluster.cluster import Caller, DialTo
from meshproxy.core.table import Claims
from meshproxy.model import Address, Named
from meshproxy.model.tunnels import Tunnel
from meshproxy.net.dial import Begin, Dialling, Outcome
from meshproxy.net.through.dial import NoWay, ThroughDial
from meshproxy.net.through.faults import ProxyRefused
from meshproxy.net.through.pool import Pool
from meshproxy.net.through.stream import StreamDial
from meshproxy.net.through.turns import InTurn, rotation
from meshproxy.plan.dialling import Offer, Reach, dialling
from meshproxy.plan.refusals import of_proxy, of_unreached
from meshproxy.plan.tls import ALPN, Papers
from meshproxy.wire.asking import Asking
from meshproxy.wire.connect import Connect, authority, basic, forwarded
from meshproxy.wire.h1.encode import Field
from meshproxy.wire.socks5 import Credentials, Socks5

Where = Callable[[], Address | None]
"""Where the proxy is now; None: its name is not known."""

OFFERED = {
    "connect": Offer((ALPN["h1"],)),
    "h2": Offer((ALPN["h2"],), only=ALPN["h2"]),
    "socks5": Offer(),
}


TO_PROXY = 10.0
"""Seconds for a connection that many are to share, whatever the patience of each."""

Asked = Callable[[tuple[str, int], str | None, Callable[[Outcome], None]], Dialling]
"""Begins to ask for a connection: to where, and on behalf of which client, if that is to be said."""


def through(
    said: Tunnel, cluster: str, timeout: float, reach: Reach, claims: Claims, where: Where, *, tells: bool = False
) -> DialTo:
    """For connections of this cluster; each within so many seconds, that to the proxy among them.

    The proxy is told for whom they are, if it `tells` so.
    """
    ask = _by_stream(said, timeout, reach, claims, where) if said.through == "h2" else _by_connection(
        said, timeout, reach, claims, where
    )
    tell = of_proxy(reach.log, cluster, said.name)

    def dial(address: Address, done: Callable[[Outcome], None], client: Caller | None = None, /) -> Dialling:
        if address.kind == "unix":
            return NoWay(OSError(EAFNOSUPPORT, "no proxy connects to a unix socket of this host"))

        def told(outcome: Outcome) -> None:
            if isinstance(outcome, ProxyRefused):
                tell(address, outcome)
            done(outcome)

        kept = client.client if tells and client is not None else None
        return ask((address.host, address.port), kept, told)

    return dial


def in_turn(
    proxies: Sequence[tuple[Tunnel, int]],
    cluster: str,
    timeout: float,
    reach: Reach,
    claims: Claims,
    where: Callable[[Tunnel], Address | None],
    *,
    tells: bool,
) -> DialTo:
    """The same by several, each with its share of connections."""
    ways = [through(each, cluster, timeout, reach, claims, partial(where, each), tells=tells) for each, _ in proxies]
    if len(ways) == 1:
        return ways[0]
    following = rotation([weight for _, weight in proxies])
    tell = [of_unreached(reach.log, cluster, each.name) for each, _ in proxies]

    def dial(address: Address, done: Callable[[Outcome], None], client: Caller | None = None, /) -> Dialling:
        places = following()
        begins = [partial(_towards, ways[place], address, client) for place in places]
        return InTurn(reach.clock, begins, timeout, done, lambda number, error: tell[places[number]](error))

    return dial


def _towards(way: DialTo, address: Address, client: Caller | None, done: Callable[[Outcome], None]) -> Dialling:
    return way(address, done, client)


def _by_connection(said: Tunnel, timeout: float, reach: Reach, claims: Claims, where: Where) -> Asked:
    """Each has one to the proxy."""
    reached, clock = _reaching(said, timeout, reach, claims, where), reach.clock
    socks = said.through == "socks5"
    credentials, fields = _credentials(said), () if socks else _fields(said)

    def by_connection(to: tuple[str, int], client: str | None, done: Callable[[Outcome], None]) -> Dialling:
        asking: Asking = Socks5(to, credentials) if socks else Connect(authority(*to), _for(client, fields))
        return ThroughDial(clock, reached, asking, timeout, done)

    return by_connection


def _by_stream(said: Tunnel, timeout: float, reach: Reach, claims: Claims, where: Where) -> Asked:
    """All share a few, which a reload leaves alone as long as the proxy is asked in the same way."""
    reached, fields = _reaching(said, TO_PROXY, reach, claims, where), _fields(said)
    key = "through", said.name, _digest(said, reach.papers)
    pool = claims.claim(key, lambda: Pool(reach.loop, reach.clock, reached, said.links, said.dead))

    def by_stream(to: tuple[str, int], client: str | None, done: Callable[[Outcome], None]) -> Dialling:
        return StreamDial(reach.clock, pool, to, _for(client, fields), timeout, done)

    return by_stream


def _reaching(said: Tunnel, timeout: float, reach: Reach, claims: Claims, where: Where) -> Begin:
    assert said.through is not None
    assert said.server is not None
    tls = said.tls
    if tls is not None and tls.sni is None and isinstance(said.server, Named):
        tls = replace(tls, sni=said.server.host)
    proxy = model.Cluster(said.name, (model.Endpoint(said.server),), tls=tls)
    at = ("tunnels", said.name, "tls")
    dial = dialling(proxy, timeout, reach, claims, dict, lambda _: None, OFFERED[said.through], where=at)

    def reached(done: Callable[[Outcome], None]) -> Dialling:
        found = where()
        if found is None:
            return NoWay(OSError(EHOSTUNREACH, "the name of the proxy is not known"))
        return dial(found, done)

    return reached


def _credentials(said: Tunnel) -> Credentials | None:
    if said.user is None or said.password is None:
        return None
    assert said.password.text is not None, "what is redacted has been filled in"
    return Credentials(said.user, said.password.text)


def _fields(said: Tunnel) -> tuple[Field, ...]:
    found = _credentials(said)
    return () if found is None else (basic(found.user, found.password),)


def _for(client: str | None, fields: tuple[Field, ...]) -> tuple[Field, ...]:
    return fields if client is None else (*fields, forwarded(client))


def _digest(said: Tunnel, papers: Papers) -> str:
    """A password must not stand where keys of the table are shown."""
    tls = said.tls
    sources = () if tls is None else (tls.ca, tls.crl, tls.certificate, tls.key)
    shown = [papers.get(source, "") for source in sources if isinstance(source, str)]
    return sha256(json.dumps([model.encode(said, redact=True), shown], sort_keys=True).encode()).hexdigest()
