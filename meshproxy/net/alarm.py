"""An ear for sockets that fail while nobody reads or writes them."""

from __future__ import annotations

import asyncio
import select
from functools import lru_cache
from typing import Protocol

YOUTH = 1.0
"""Seconds at most before the alarm watches a connection.  Most are over by then, and have not paid for it."""


class Watched(Protocol):
    fd: int

    def look_for_failure(self) -> None: ...

    def come_of_age(self) -> None:
        """It is watched from now on."""


class Alarm:
    """Tells connections that their socket has failed; one for each loop.

    A loop tells that only to whoever reads or writes, and uvloop calls the reader of a socket that has failed a single
    time, whatever it leaves unread.  An epoll of our own is asked for nothing, and is told of failures all the same.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._later = loop.call_later
        self._epoll = select.epoll()
        self._young: dict[int, Watched] = {}
        self._watched: dict[int, Watched] = {}
        self._growing = False
        loop.add_reader(self._epoll.fileno(), self._ring)

    def watch(self, conn: Watched) -> None:
        self._young[conn.fd] = conn
        if not self._growing:
            self._growing = True
            self._later(YOUTH, self._come_of_age)

    def forget(self, conn: Watched) -> None:
        """Closing its socket does the rest."""
        if self._young.pop(conn.fd, None) is None:
            del self._watched[conn.fd]

    def let_go(self, conn: Watched) -> None:
        """Its socket goes on as somebody else's."""
        if self._young.pop(conn.fd, None) is None:
            del self._watched[conn.fd]
            self._epoll.unregister(conn.fd)

    def _come_of_age(self) -> None:
        self._growing = False
        grown, self._young = self._young, {}
        self._watched |= grown
        for fd, conn in grown.items():
            self._epoll.register(fd, select.EPOLLET)
            conn.come_of_age()

    def _ring(self) -> None:
        for fd, _ in self._epoll.poll(0):
            if (conn := self._watched.get(fd)) is not None:
                conn.look_for_failure()


@lru_cache(maxsize=1)
def alarm_of(loop: asyncio.AbstractEventLoop) -> Alarm:
    """A process has one loop; a test that has another gets another."""
    return Alarm(loop)
