"""Tunnels within the proxy, by which its other workers use those of the first.

    another proxy ──── a tunnel ──── worker 0 ──── a pair of sockets, as a tunnel ──── worker 1

    indoors.dial(address, done)         # in another worker: one end of a pair is given to the first
    indoors.take(sock)                  # there

So an end, a failure and a reader that is slow are what they are in every tunnel.  Such a one is there while what it
leads to has a session: who has another endpoint finds out at once that this one cannot be reached.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from weakref import WeakSet

from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.mux.conn import StreamConn, as_reason
from meshproxy.net.mux.flow import Flow
from meshproxy.observe.metrics.tunnels import TunnelStats
from meshproxy.relay.mux.carrier import Carrier
from meshproxy.relay.mux.carries import Carries, Why
from meshproxy.relay.mux.tunnel import Tunnel, Way
from meshproxy.wire.mux.frames import Fault, Reason
from meshproxy.wire.mux.hello import Hello
from meshproxy.wire.mux.metadata import Purpose
from meshproxy.wire.mux.terms import Role, Terms

HELLO_WITHIN = 5.0
DEAD = 15.0
MOST_STREAMS = 100_000
"""What the tunnels themselves take is less, or the same."""


class Indoor(Tunnel):
    """One end.  Its streams wait for nobody: a worker that is gone does not come back."""

    lanes: Sequence[str] = ("",)
    """The classes of the tunnel that it leads to."""

    def open(self, purpose: Purpose, klass: int = 0) -> StreamConn | None:
        """Among themselves all are equals; the class is said to who sends it out."""
        return super().open(replace(purpose, lane=self.lanes[klass]))

    def talk(self, purpose: Purpose, klass: int = 0) -> Flow | None:
        return super().talk(replace(purpose, lane=self.lanes[klass]))

    def gone(self, carrier: Carries, why: Why) -> None:
        super().gone(carrier, why)
        if not self.carriers:
            self._end(Reason.NONE)


def indoor(key: str, role: Role) -> Way:
    return Way(key, role, Terms(streams=MOST_STREAMS), resume=0.0, dead=DEAD)


class Indoors:
    """What a worker has of them."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        find: Callable[[str], Tunnel | None],
        first: Callable[[socket.socket], object],
    ) -> None:
        """`find` knows by its key a tunnel that is in force; `first` has a socket brought to the first worker."""
        self._loop = loop
        self._clock = clock
        self._find = find
        self._first = first
        self._within: WeakSet[Indoor] = WeakSet()

    # In the first worker

    @property
    def busy(self) -> bool:
        """Whether another worker has a stream here, or has not heard all of one."""
        return any(each.streams for each in self._within)

    def take(self, sock: socket.socket) -> None:
        Carrier(self._clock, Conn(self._loop, sock), self, HELLO_WITHIN).begin(b"")

    def greeted(self, carrier: Carries, hello: Hello) -> None:
        tunnel = self._find(hello.tunnel)
        if tunnel is None or tunnel.session is None:
            raise Fault(Reason.UNREACHABLE, "the tunnel is not there")
        way = indoor(hello.tunnel, Role.ACCEPTS)
        within = Indoor(self._loop, self._clock, way, partial(self._pass_on, tunnel), TunnelStats())
        within.serve_flow = partial(self._talk_on, tunnel)
        self._within.add(within)
        tunnel.indoors.add(within)
        within.attach(carrier, hello)

    def gone(self, carrier: Carries, why: Why) -> None:
        """Before it was known where it leads to."""

    def heard(self, carrier: Carries) -> None:
        """Nothing but its hello."""

    def _pass_on(self, tunnel: Tunnel, conn: StreamConn, purpose: Purpose) -> None:
        onward = tunnel.open(replace(purpose, lane=""), tunnel.class_named(purpose.lane))
        if onward is None:
            conn.refuse(Reason.UNREACHABLE)
        else:
            _Passing(conn, onward)

    def _talk_on(self, tunnel: Tunnel, flow: Flow) -> None:
        onward = tunnel.talk(replace(flow.purpose, lane=""), tunnel.class_named(flow.purpose.lane))
        if onward is None:
            flow.refuse(Reason.UNREACHABLE)
        else:
            for one, other in ((flow, onward), (onward, flow)):
                one.on_data, one.on_over = other.send, other.ends_as

    # In another one

    def dial(self, _address: Address, _done: Callable[[Conn | OSError], None]) -> _Asking:
        return _Asking(self._loop, self._first)


class _Passing:
    """A stream of another worker, and the one by which it goes on."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: StreamConn, other: StreamConn) -> None:
        self._one, self._other = one, other
        for conn, sink in ((one, other), (other, one)):
            conn.handler = self
            conn.relay_to(sink, None)
        one.start()
        other.start()

    def on_end(self, conn: Conn) -> None:
        self._beside(conn).end()

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        conn.close()
        if error is not None:
            self._beside(conn).refuse(as_reason(error))

    def _beside(self, conn: Conn) -> StreamConn:
        return self._other if conn is self._one else self._one


class _Asking:
    """The way to the first worker: it is made at once, or not at all."""

    __slots__ = ("_first", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, first: Callable[[socket.socket], object]) -> None:
        self._loop = loop
        self._first = first

    def begin(self) -> Conn | OSError:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            return error
        ours.setblocking(False)
        theirs.setblocking(False)
        self._first(theirs)
        return Conn(self._loop, ours)

    def cancel(self) -> None:
        """There is nothing under way."""
