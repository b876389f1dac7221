"""So many connections of a tunnel as there should be: made, and made again wherever one is lost.

Addresses take their turns.  Who cannot connect tries again soon: a link that was away is used within a second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import random

from meshproxy.model import Address
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import Conn
from meshproxy.net.quic.conn import QuicConn
from meshproxy.relay.mux.carrier import Carrier
from meshproxy.relay.mux.carries import Carries
from meshproxy.relay.mux.quic import QuicCarrier
from meshproxy.relay.mux.race import Attempt
from meshproxy.relay.mux.tunnel import Tunnel

FIRST_AGAIN, LAST_AGAIN = 0.05, 0.6
"""Seconds until a next try, where one has failed."""
BESIDE = 0.25
"""Seconds after which another try begins beside one of which nothing is heard: the kernel waits long after a link is
there again before it repeats what was lost."""
MOST_TRIES = 12
"""At a time: with what the kernel repeats of each after one and three seconds, one asks in each quarter of a second
until the first of them is given up.  Over a link that is only slow it is the first that is there first."""
HELLO_WITHIN = 5.0


LIVED = 5.0
"""Seconds after which a connection was a good one: who comes back at once from a shorter one is not dialled at once."""


Dial = Callable[[Address, Callable[[Conn | QuicConn | OSError], None]], Attempt[Conn | QuicConn]]


@dataclass(frozen=True, slots=True)
class Course:
    """How a tunnel is dialled."""

    dial: Dial
    addresses: Callable[[], Sequence[Address]]
    links: int = 1
    said: object = None
    """Connections that were made by another one are given up for new ones."""


class Dialler:
    def __init__(self, clock: Clock, tunnel: Tunnel) -> None:
        self._clock = clock
        self._tunnel = tunnel
        self._course: Course | None = None
        self._turn = 0
        self._failed = 0
        self._tries: dict[Attempt[Conn | QuicConn], None] = {}
        self._greeting: Carries | None = None
        self._since: dict[Carries, float] = {}
        """When each connection was there."""
        self._timer: Timer | None = None
        self._halted = False
        tunnel.on_change = self._changed

    def go_by(self, course: Course) -> None:
        """From now on: what there is carries until there is something else."""
        before, self._course = self._course, course
        staying = self._tunnel.staying
        if before is not None and course.said != before.said:
            self._stop()
        else:
            staying = staying[course.links :]
        for carrier in staying:
            self._tunnel.leave(carrier)
        self._next()

    def halt(self) -> None:
        self._halted = True
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._give_up()
        if self._greeting is not None:
            self._greeting.close()

    def _give_up(self) -> None:
        tries, self._tries = self._tries, {}
        for each in tries:
            each.cancel()

    def _changed(self) -> None:
        """A connection has come, has gone, or was not let in."""
        greeting = self._greeting
        if greeting is not None and (greeting.link is not None or greeting.over):
            self._greeting = None
            if greeting.link is not None:
                self._since[greeting] = self._clock.now()
            else:
                self._failed += 1
        for carrier in [each for each in self._since if each.over]:
            lived = self._clock.now() - self._since.pop(carrier)
            self._failed = self._failed + 1 if lived < LIVED else 0
        self._next()

    def _next(self) -> None:
        busy = bool(self._tries) or self._greeting is not None or self._timer is not None
        many = self._course.links if self._course is not None else 0
        if not (self._halted or busy) and len(self._tunnel.staying) < many:
            wait = 0.0
            if self._failed:
                wait = min(FIRST_AGAIN * 2 ** min(self._failed, 10), LAST_AGAIN) * (0.5 + random() / 2)  # noqa: S311
            self._timer = self._clock.after(wait, self._try)

    def _try(self) -> None:
        self._timer = None
        course = self._course
        assert course is not None
        addresses = course.addresses()
        if not addresses:
            self._lost()
            return
        address = addresses[self._turn % len(addresses)]
        self._turn += 1
        dial = course.dial(address, lambda outcome: self._dialled(dial, outcome))
        outcome = dial.begin()
        if outcome is not None:
            self._dialled(dial, outcome)
            return
        self._tries[dial] = None
        if len(self._tries) < MOST_TRIES:
            self._timer = self._clock.after(BESIDE, self._try)

    def _dialled(self, dial: Attempt[Conn | QuicConn], outcome: Conn | QuicConn | OSError) -> None:
        self._tries.pop(dial, None)
        if isinstance(outcome, OSError):
            if not self._tries and self._timer is None:
                self._lost()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._give_up()
        self._greeting = carrier = self._carrier(outcome)
        carrier.say(self._tunnel.hello())

    def _carrier(self, conn: Conn | QuicConn) -> Carries:
        if isinstance(conn, QuicConn):
            return QuicCarrier(self._clock, conn, self._tunnel, HELLO_WITHIN)
        carrier = Carrier(self._clock, conn, self._tunnel, HELLO_WITHIN)
        carrier.begin(b"")
        return carrier

    def _lost(self) -> None:
        self._failed += 1
        self._next()
