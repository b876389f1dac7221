"""Where a listener needs sockets, and a socket with what serves behind it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from meshproxy import model
from meshproxy.core.table import Claims
from meshproxy.model.config import OF_TUNNELS
from meshproxy.net.doors import Place, Sockets
from meshproxy.net.listener import Acceptor
from meshproxy.net.udp import DatagramDoor
from meshproxy.plan.rim import Rim

Share = Callable[[Place], Sockets]
"""Gives the sockets that a worker serves at a place; called only for places that it does not serve yet."""

KINDS = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}


@dataclass(frozen=True, slots=True)
class Door:
    """A bound socket and what serves behind it in one generation."""

    live: Acceptor | DatagramDoor | None
    """None: only tunnels lead here."""
    open: Callable[[], None]
    shed: Callable[[], None] | None = None
    """Let nobody in, until it is opened again; None where everybody is let in."""


def places(said: model.Listener) -> tuple[Place, ...]:
    """Where a listener needs sockets."""
    alone = said.protocol in OF_TUNNELS
    return tuple(Place(address, KINDS[transport], alone) for address in said.listen for transport in said.transports)


def acceptor(place: Place, claims: Claims, rim: Rim, share: Share) -> Acceptor:
    elsewhere = None if place.alone else rim.elsewhere(place)
    return claims.claim(place, lambda: Acceptor(rim.loop, rim.clock, share(place), elsewhere))


def datagrams(place: Place, claims: Claims, rim: Rim, share: Share) -> DatagramDoor:
    return claims.claim(place, lambda: DatagramDoor(rim.loop, share(place)))
