"""Tunnels over QUIC, compiled: where they arrive, and how they are dialled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from meshproxy import model
from meshproxy.core.table import Claims
from meshproxy.errors import Invalid, Problem
from meshproxy.model import Address
from meshproxy.model.tls import full_identity
from meshproxy.net.conn import Conn
from meshproxy.net.doors import Place
from meshproxy.net.quic.conn import QuicConn
from meshproxy.net.quic.dial import QuicDial, side
from meshproxy.net.quic.library import Missing
from meshproxy.net.quic.listener import QuicListener
from meshproxy.plan.dialling import Reach
from meshproxy.plan.doors import Door, Share, datagrams, places
from meshproxy.plan.rim import Rim
from meshproxy.plan.tls import client_terms, server_terms, told_at
from meshproxy.relay.mux.dialler import Dial
from meshproxy.relay.mux.gate import Gate
from meshproxy.relay.mux.race import Race


def quic_doors(said: model.Listener, gate: Gate, claims: Claims, rim: Rim, share: Share) -> tuple[Door, ...]:
    (server,) = said.tls
    with _told(f"listeners.{said.name}", "protocol", said.protocol, {"ca": "client_ca"}):
        own = side(server_terms(server, (), rim.papers), dials=False)

    def door(place: Place) -> Door:
        live = datagrams(place, claims, rim, share)
        listener: QuicListener = claims.claim(
            ("quic", place), lambda: QuicListener(rim.loop, rim.clock, live, own, gate.accept)
        )

        def open_it() -> None:
            listener.side = own
            listener.accepted = gate.accept
            live.serve(listener.received)

        return Door(live, open_it)

    return tuple(map(door, places(said)))


def quic_dial(said: model.Tunnel, reach: Reach, timeout: float) -> Dial:
    assert said.tls is not None
    names = frozenset(full_identity(each, reach.trust_domain) for each in said.tls.names)
    with _told(f"tunnels.{said.name}", "transport", said.transport, {}):
        own = side(client_terms(said.tls, reach.papers), dials=True, names=names)

    def dial(address: Address, done: Callable[[Conn | QuicConn | OSError], None]) -> QuicDial:
        return QuicDial(reach.loop, reach.clock, address, own, timeout, done)

    return dial


@contextmanager
def _told(where: str, key: str, value: str, names: Mapping[str, str]) -> Iterator[None]:
    """What is wrong with `tls` is told there, and that there is no QUIC where that is asked for."""
    try:
        with told_at(f"{where}.tls", names):
            yield
    except Missing as why:
        raise Invalid([Problem(f"{where}.{key}", f"`{key}` {value} {why}")]) from None


def racing(first: Dial, second: Dial) -> Dial:
    def dial(address: Address, done: Callable[[Conn | QuicConn | OSError], None]) -> Race[Conn | QuicConn]:
        return Race(partial(first, address), partial(second, address), done)

    return dial
