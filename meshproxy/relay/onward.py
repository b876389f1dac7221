"""A service for connections that go on to where they were made to, unless that is here: that would never end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from meshproxy.core.client import read
from meshproxy.model import Address
from meshproxy.net.conn import Conn
from meshproxy.net.origdst import Destination, is_here
from meshproxy.relay.entry import Service
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin


def answers(listening: Collection[Address], destination: Destination) -> bool:
    """Whether it is one of these addresses; a wildcard is every address of its family that this host has.

    To no address at all, such as a header may name, is to this host.
    """
    host, port = destination
    address = read(host)
    near = [each for each in listening if each.port == port and each.kind == f"ipv{address.version}"]
    if any(read(each.host) == address for each in near) or (near and address.is_unspecified):
        return True
    return any(each.is_wildcard for each in near) and is_here(host if address.version == 6 else str(address))


@dataclass(frozen=True, slots=True)
class Onward:
    service: Service
    state: ListenerState
    listening: tuple[Address, ...]
    """Where its own listener is, and where else nobody is led."""

    def behind(self, origin: Origin) -> Service | None:
        """Who was let in was not made to the listener itself."""
        return self.service.behind(origin)

    def start(self, conn: Conn, origin: Origin) -> None:
        # Who has told of no destination means the local address, and that is here.
        if origin.destination is None or answers(self.listening, origin.destination):
            self.state.turn_away(conn, origin, "loop")
        else:
            self.service.start(conn, origin)
