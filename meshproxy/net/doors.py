"""The bound sockets of the proxy.  One owner opens them; every worker serves its share of each.

    doors.open(place)          # for the next generation: the one in force, or a new one; raises OSError
    doors.share(place, 0)      # copies for the first worker, which closes them when it has done with them
    doors.commit()             # or abort(): nothing happened

The owner's copies outlive a worker, so that what stands in a dead worker's queue is served by its successor.  Where
there are several workers, an address has a socket for each of them: the kernel spreads connections over the sockets,
and sends datagrams from one source always to the same one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import NamedTuple

from meshproxy.model import Address
from meshproxy.net.address import words
from meshproxy.net.bound import Bound, bind, share_port


class Place(NamedTuple):
    """Where a socket is bound, and whether it is for streams or for datagrams."""

    address: Address
    kind: int


Sockets = tuple[socket.socket, ...]
Held = dict[Place, Bound]


class Doors:
    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._held: Held = {}
        self._next: Held = {}

    def open(self, place: Place) -> None:
        if place not in self._next:
            self._next[place] = self._held.get(place) or self._bind(place)

    def commit(self) -> list[Place]:
        """Close what the next generation has not asked for, and say what that was."""
        before, self._held, self._next = self._held, self._next, {}
        return _release(before, self._held)

    def abort(self) -> None:
        fresh, self._next = self._next, {}
        _release(fresh, self._held)

    def close(self) -> None:
        self.abort()
        self.commit()

    @property
    def places(self) -> Iterable[Place]:
        """What the next generation has, or the one in force where none is being prepared."""
        return (self._next or self._held).keys()

    def share(self, place: Place, worker: int) -> Sockets:
        """Copies of the sockets at which that worker serves."""
        sockets = (self._next.get(place) or self._held[place]).sockets
        mine = sockets[worker :: self._workers] or (sockets[worker % len(sockets)],)
        return tuple(sock.dup() for sock in mine)

    def local(self, place: Place) -> str:
        """Where it is bound, in words; the port is the one that the kernel chose, if it was asked to."""
        return words(self._held[place].sockets[0].getsockname())

    def _bind(self, place: Place) -> Bound:
        """127.0.0.1:80 can be bound while the generation that leaves still holds 0.0.0.0:80, or the other way round.

        The kernel allows it to sockets that share their port.  Only those that must do, since such a port is also open
        to other processes of the same user that want to share it.
        """
        address, kind = place
        rivals = [
            sock
            for (other, other_kind), bound in {**self._held, **self._next}.items()
            if other_kind == kind and other.kind == address.kind != "unix" and bound.port == address.port
            for sock in bound.sockets
        ]
        for sock in rivals:
            share_port(sock)
        copies = 1 if address.kind == "unix" else self._workers
        return bind(address, kind, copies=copies, shared=bool(rivals))


def _release(leaving: Held, staying: Held) -> list[Place]:
    gone = [place for place in leaving if place not in staying]
    for place in gone:
        leaving[place].release()
    return gone
