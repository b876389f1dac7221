"""What is spoken on a connection is told by how it begins.

    AutoService(state, clock, within=3.0, told=((is_http, http), (looks_like_connect, mqtt)), tcp=tcp)

What is none of these goes on as TCP, if there is a service for that, and so does a client that says too little in
time: in many protocols the server is the first to speak.  What was read goes on with the connection, in its `Origin`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshproxy.errors import Failure
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.relay.arrival import Arrival
from meshproxy.relay.entry import Service
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.turned import GONE

Looks = Callable[[bytes], bool | None]
"""Whether a connection that begins so speaks it; None: more is needed."""


@dataclass(frozen=True, slots=True)
class AutoService:
    state: ListenerState
    clock: Clock
    within: float
    """Seconds for the bytes by which it is told."""
    told: tuple[tuple[Looks, Service], ...]
    """What is told apart; each of these knows after a few dozen bytes."""
    tcp: Service | None
    """For all else; None: it is refused."""

    def start(self, conn: Conn, origin: Origin) -> None:
        Told(self, conn, origin).begin()

    def behind(self, origin: Origin) -> Service | None:
        """The only ones who ask are those who could begin anew."""
        return next(filter(None, (service.behind(origin) for _, service in self.told)), None)


class Told(Arrival):
    __slots__ = ("_auto", "_chosen")

    reason = "protocol"

    def __init__(self, auto: AutoService, conn: Conn, origin: Origin) -> None:
        self._auto = auto
        self._chosen = auto.tcp
        super().__init__(auto, auto.within, conn, origin)

    def _understand(self, data: bytes) -> Origin | None:
        undecided = False
        for looks, service in self._auto.told:
            found = looks(data)
            if found:
                self._chosen = service
                break
            undecided = undecided or found is None
        else:
            if undecided:
                return None
        return self._with(data)

    def _with(self, data: bytes) -> Origin:
        if self._chosen is None:
            raise ValueError("nothing that is served here begins like this")
        self._origin.early = data
        return self._origin

    def _go_on(self, origin: Origin) -> None:
        assert self._chosen is not None
        self._chosen.start(self._conn, origin)

    def _fail(self, why: Failure) -> None:
        """It will say no more for now, or has ended: nothing but TCP could make something of that."""
        if self._chosen is None:
            super()._fail(why)
            return
        self._conn.stop()
        self._leave()
        self._go_on(self._with(self._buffer))

    def on_end(self, conn: Conn) -> None:
        conn.unread_end()
        self._fail(GONE)

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        super()._fail(GONE)
