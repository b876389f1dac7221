"""The connections of HTTP/2 to one proxy, which all who ask for a connection through it share.

    pool = Pool(loop, clock, dial, most=4, dead=15.0)
    StreamDial(clock, pool, ("10.1.0.5", 80), (), timeout, done).begin()

Another one is made when those that are there take no more streams, up to `most`; who finds no room waits, within its
own timeout.
"""

from __future__ import annotations

import asyncio

from meshproxy.net.clock import Clock
from meshproxy.net.dial import Begin, Dialling, Outcome
from meshproxy.net.through.carrier import Carrier
from meshproxy.net.through.faults import ProxyRefused
from meshproxy.net.through.stream import StreamDial
from meshproxy.wire.asking import Why


class Pool:
    __slots__ = ("_attempt", "_carriers", "_clock", "_dead", "_dial", "_loop", "_most", "_retired", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, dial: Begin, most: int, dead: float) -> None:
        """`dial` makes a connection to the proxy on which HTTP/2 is spoken."""
        self._loop = loop
        self._clock = clock
        self._dial = dial
        self._most = most
        self._dead = dead
        self._carriers: list[Carrier] = []
        """That may take streams, now or later."""
        self._waiting: dict[StreamDial, None] = {}
        """In their turn."""
        self._attempt: Dialling | None = None
        self._retired = False

    @property
    def carriers(self) -> int:
        return len(self._carriers)

    def retire(self, grace: float) -> None:
        """What is carried goes on for as long as who uses it likes; new connections are made by others."""
        self._retired = True
        self._close_if_unused()

    # For who asks

    def ask(self, who: StreamDial) -> None:
        self._waiting[who] = None
        self.serve()

    def forget(self, who: StreamDial) -> None:
        self._waiting.pop(who, None)
        self._close_if_unused()

    # For carriers

    def serve(self) -> None:
        waiting = self._waiting
        for carrier in tuple(self._carriers):
            while waiting and carrier.takes:
                who = next(iter(waiting))
                del waiting[who]
                who.open_on(carrier)
        if waiting:
            self._grow()
        else:
            self._close_if_unused()

    def gone(self, carrier: Carrier) -> None:
        self._carriers.remove(carrier)
        if not carrier.settled_once:
            # The next one would fare no better.
            self._fail(ProxyRefused(Why.MALFORMED, "it does not speak HTTP/2"))
        elif self._waiting:
            self._grow()

    # Connections

    def _grow(self) -> None:
        unsettled = any(not carrier.settled_once for carrier in self._carriers)
        if self._attempt is not None or unsettled or len(self._carriers) >= self._most:
            return
        self._attempt = self._dial(self._dialled)
        outcome = self._attempt.begin()
        if outcome is not None:
            # Whoever asks is told later, not while it asks.
            self._loop.call_soon(self._dialled, outcome)

    def _dialled(self, outcome: Outcome) -> None:
        self._attempt = None
        if isinstance(outcome, OSError):
            self._fail(outcome)
        else:
            self._carriers.append(Carrier(self._loop, self._clock, outcome, self, self._dead))
            self._close_if_unused()

    def _fail(self, error: OSError) -> None:
        waiting, self._waiting = self._waiting, {}
        for who in waiting:
            who.failed(error)

    def _close_if_unused(self) -> None:
        if self._retired and not self._waiting:
            for carrier in tuple(self._carriers):
                carrier.close()
