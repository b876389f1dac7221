"""The connections that the proxy itself has made, to know them again if the kernel brings them back.

    abroad.made("books", sock)
    abroad.back({"books"}, ("10.1.0.2", 40000), ("10.1.2.3", 80))     # True: who comes from there to there is ourselves

Rules that redirect what the proxy sends make of one connection as many as there may be.  The two addresses of a
connection say which one it is, wherever the kernel has led it.  Of several workers each knows its own: a loop is
noticed when it comes back to one that was in it.

What one listener has sent may be for another one: a workload asks its neighbour, or itself.  So it is back only where
it would be sent once more, which is where the cluster that has made it is led to.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from weakref import WeakKeyDictionary, WeakValueDictionary

from meshproxy.net.origdst import Destination

Pair = tuple[Destination, Destination]


class Abroad:
    def __init__(self) -> None:
        self._away: WeakValueDictionary[Pair, socket.socket] = WeakValueDictionary()
        """By where each comes from and where it goes."""
        self._cluster: WeakKeyDictionary[socket.socket, str] = WeakKeyDictionary()

    def made(self, cluster: str, sock: socket.socket) -> None:
        try:
            here, there = sock.getsockname(), sock.getpeername()
        except OSError:
            return  # it is over, as whoever uses it will see
        if isinstance(here, tuple):
            self._away[(here[0], here[1]), (there[0], there[1])] = sock
            self._cluster[sock] = cluster

    def back(self, led_to: Collection[str], source: Destination, destination: Destination) -> bool:
        sock = self._away.get((source, destination))
        return sock is not None and sock.fileno() >= 0 and self._cluster[sock] in led_to
