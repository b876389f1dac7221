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
from meshproxy.net.address import let_pass_as_others, words
from meshproxy.net.bound import Bound, bind, share_port

FIRST = 0
"""The number of the worker that has what only one can have; one that dies is replaced by one with the same number."""


class Place(NamedTuple):
    """Where a socket is bound, and whether it is for streams or for datagrams."""

    address: Address
    kind: int
    alone: bool = False
    """Whether one worker serves all that comes there: the first."""


def place_of(sock: socket.socket) -> Place:
    """Where a socket is bound, as a configuration would say it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        path = name.decode() if isinstance(name, bytes) else name
        return Place(Address("unix", path=path.replace("\0", "@", 1)), sock.type)
    return Place(Address("ipv6" if sock.family == socket.AF_INET6 else "ipv4", name[0], name[1]), sock.type)


Sockets = tuple[socket.socket, ...]
Held = dict[Place, Bound]


class Inherited:
    """Sockets that were bound before this process began, by a predecessor or by whoever started it."""

    def __init__(self) -> None:
        self._sockets: dict[Place, Sockets] = {}

    def add(self, place: Place, sock: socket.socket) -> None:
        self._sockets[place] = (*self._sockets.get(place, ()), sock)

    @property
    def sockets(self) -> list[socket.socket]:
        return [sock for sockets in self._sockets.values() for sock in sockets]

    def take(self, place: Place) -> Bound | None:
        """Its file is not ours, unless the predecessor goes."""
        sockets = self._sockets.pop(place._replace(alone=False), ())
        if not sockets:
            return None
        bound = Bound(place.address, sockets)
        bound.give_away()
        return bound

    def close_rest(self) -> list[Place]:
        """Close what nobody has taken, and say what that was."""
        rest, self._sockets = self._sockets, {}
        for sockets in rest.values():
            for sock in sockets:
                sock.close()
        return list(rest)


class Doors:
    def __init__(self, workers: int = 1, inherited: Inherited | None = None) -> None:
        self._workers = workers
        self._inherited = inherited or Inherited()
        self._held: Held = {}
        self._next: Held = {}

    def open(self, place: Place) -> None:
        if place not in self._next:
            self._next[place] = self._held.get(place) or self._inherited.take(place) or self._bind(place)

    def take_for_others(self, place: Place) -> None:
        """What was sent to others and is brought here as it is.  Raises OSError."""
        for sock in self._next[place].sockets:
            try:
                let_pass_as_others(sock)
            except OSError as error:
                why = f"{place.address}: `tproxy` takes CAP_NET_ADMIN: {error.strerror}"
                raise OSError(error.errno, why) from None

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
        if place.alone:
            return tuple(sock.dup() for sock in sockets) if worker == FIRST else ()
        mine = sockets[worker :: self._workers]
        if not mine and place.kind == socket.SOCK_STREAM:
            # Connections may be accepted by several; a conversation of datagrams would be torn apart.
            mine = (sockets[worker % len(sockets)],)
        return tuple(sock.dup() for sock in mine)

    def copies(self) -> Iterable[tuple[Place, Sockets]]:
        """Of everything in force."""
        return [(place, tuple(sock.dup() for sock in bound.sockets)) for place, bound in self._held.items()]

    @property
    def bound(self) -> Iterable[Bound]:
        """All that is in force."""
        return self._held.values()

    def local(self, place: Place) -> str:
        """Where it is bound, in words; the port is the one that the kernel chose, if it was asked to."""
        return words(self._held[place].sockets[0].getsockname())

    def _bind(self, place: Place) -> Bound:
        """127.0.0.1:80 can be bound while the generation that leaves still holds 0.0.0.0:80, or the other way round.

        The kernel allows it to sockets that share their port.  Only those that must do, since such a port is also open
        to other processes of the same user that want to share it.
        """
        address, kind, alone = place
        rivals = [
            sock
            for (other, other_kind, _), bound in {**self._held, **self._next}.items()
            if other_kind == kind and other.kind == address.kind != "unix" and bound.port == address.port
            for sock in bound.sockets
        ]
        for sock in rivals:
            share_port(sock)
        copies = 1 if alone or address.kind == "unix" else self._workers
        return bind(address, kind, copies=copies, shared=bool(rivals))


def _release(leaving: Held, staying: Held) -> list[Place]:
    gone = [place for place in leaving if place not in staying]
    for place in gone:
        leaving[place].release()
    return gone
