"""From a client's CONNECT to the CONNACK of a broker: another broker is tried where one does not answer.

    reaching = Reaching(means, cluster, asking, packet, level, hearer)
    reaching.begin()            # hearer.reached(line, connack) or hearer.unreachable(reason), once; then or at once
    line.conn.read_to(take); line.conn.start()          # from then on; its hearer hears `gone` when nothing more comes

A unit of the cluster's limit is held from the beginning to the end of a line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from meshproxy.cluster.balance import Asking
from meshproxy.cluster.cluster import CONNECT_FAILED, Cluster, Lease
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.core.limit import Stock
from meshproxy.errors import Failure
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.conn import Conn
from meshproxy.net.dial import Dialling, Outcome
from meshproxy.relay.mqtt.leaving import leave
from meshproxy.wire.mqtt import CONNACK, Code, Connack, Frames, Malformed, decode

ATTEMPTS = 3
"""Brokers tried for one session."""
LARGEST_CONNACK = 64 * 1024
LARGEST = 1 << 28
"""What comes behind it is somebody else's affair."""
BUSY = frozenset((Code.SERVER_UNAVAILABLE, Code.SERVER_BUSY, Code.SERVER_MOVED, Code.USE_ANOTHER_SERVER))
UNAVAILABLE_311 = 3


class Hearer(Protocol):
    """Whose session it is."""

    def reached(self, line: Line, connack: Connack, rest: bytes) -> None:
        """The broker has let it in, or has refused it; what came behind the CONNACK."""

    def missed(self, endpoint: Endpoint) -> None:
        """This one was asked in vain, and there may be others."""

    def unreachable(self, failure: Failure) -> None: ...

    def gone(self, line: Line, reason: str) -> None:
        """The broker has ended it, or is not to be used any more."""


@dataclass(frozen=True, slots=True)
class Means:
    clock: Clock
    within: float
    """Seconds for a CONNACK."""


class Line:
    """The connection of one session to its broker."""

    __slots__ = ("_clock", "_hearer", "conn", "lease", "unit")

    def __init__(self, conn: Conn, lease: Lease, unit: Stock, clock: Clock, hearer: Hearer) -> None:
        self.conn = conn
        self.lease = lease
        self.unit = unit
        self._clock = clock
        self._hearer: Hearer | None = hearer
        lease.pass_to(self)
        conn.handler = self

    def on_end(self, conn: Conn) -> None:
        self._tell("closed")

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._tell("reset")

    def drain(self) -> None:
        """The endpoint is not in the configuration any more."""
        self._tell("drain")

    def _tell(self, reason: str) -> None:
        if self._hearer is not None:
            self._hearer.gone(self, reason)

    def moved(self) -> None:
        """Count what has passed since the last time."""
        conn = self.conn
        self.lease.moved(conn.sent, conn.received)
        conn.sent = conn.received = 0

    def close(self) -> None:
        """What was written still goes.  Without a DISCONNECT before it the broker takes that for a failure."""
        if self._hearer is not None:
            self._hearer = None
            self.moved()
            leave(self._clock, self.conn)
            self.lease.done()
            self.unit.give()


class Reaching:
    __slots__ = (
        "_asking", "_cluster", "_conn", "_dial", "_dialled_at", "_first", "_hearer", "_lease", "_level", "_means",
        "_over", "_packet", "_timer", "_tried", "_unit",
    )  # fmt: skip

    def __init__(
        self, means: Means, cluster: Cluster, asking: Asking, packet: bytes, level: int, hearer: Hearer
    ) -> None:
        self._means = means
        self._cluster = cluster
        self._asking = asking
        self._packet = packet
        self._level = level
        self._hearer = hearer
        self._tried: tuple[Endpoint, ...] = ()
        self._unit: Stock | None = None
        self._lease: Lease | None = None
        self._dial: Dialling | None = None
        self._dialled_at = 0.0
        self._conn: Conn | None = None
        self._first = b""
        """What has come, as long as that is no CONNACK."""
        self._timer: Timer | None = None
        self._over = False

    def begin(self) -> None:
        limit = self._cluster.limit
        if limit.take():
            self._enter(True)
        else:
            limit.ask(self._enter)

    def cancel(self) -> None:
        """Nothing is heard of it any more."""
        if not self._over:
            self._over = True
            self._leave()

    def drain(self) -> None:
        """The endpoint that is being tried is not in the configuration any more."""
        self._failed("drain")

    def _enter(self, granted: bool) -> None:
        if granted:
            self._unit = self._cluster.limit
        if self._over:
            self._give_back()
        elif granted:
            self._try_next()
        else:
            self._cluster.stats.overflow_total += 1
            self._give_up(OVERFLOW)

    def _try_next(self) -> None:
        lease = self._cluster.pick(self, self._tried, self._asking)
        if isinstance(lease, Failure):
            self._give_up(CONNECT_FAILED if self._tried else lease)
            return
        self._lease = lease
        self._dialled_at = self._means.clock.now()
        self._first = b""
        dial = self._cluster.dial(lease.endpoint.address, self._dialled)
        outcome = dial.begin()
        if outcome is None:
            self._dial = dial
        else:
            self._dialled(outcome)

    def _dialled(self, outcome: Outcome) -> None:
        self._dial = None
        lease, means = self._lease, self._means
        assert lease is not None
        if isinstance(outcome, OSError):
            lease.failed(outcome)
            self._next()
            return
        lease.opened()
        self._conn = conn = outcome
        conn.handler = self
        self._timer = means.clock.after(means.within, self._expired)
        conn.read_to(self._read)
        conn.write(self._packet)
        conn.start()

    def _read(self, data: bytes) -> None:
        self._first += data
        if self._first[0] >> 4 != CONNACK:
            self._failed("protocol")
            return
        try:
            buffer, cuts = Frames(LARGEST).feed(self._first)
            if not cuts:
                if len(self._first) > LARGEST_CONNACK:
                    self._failed("protocol")
                return
            start, body, end = cuts[0]
            connack = decode(self._level, buffer, start, body, end)
        except Malformed:
            self._failed("protocol")
            return
        assert isinstance(connack, Connack)
        busy = connack.code == UNAVAILABLE_311 if self._level == 4 else connack.code in BUSY
        if busy and len(self._tried) + 1 < ATTEMPTS and self._cluster.size > 1:
            self._failed("busy")
            return
        self._reached(connack, self._first[end:])

    def _reached(self, connack: Connack, rest: bytes) -> None:
        conn, lease, unit = self._conn, self._lease, self._unit
        assert conn is not None
        assert lease is not None
        assert unit is not None
        stats = lease.cluster.stats
        seconds = self._means.clock.now() - self._dialled_at
        stats.connect_seconds.observe(seconds)
        if lease.cluster.heed is not None:
            lease.cluster.heed(lease.endpoint, None, 0, seconds)
        self._over = True
        self._stop_timer()
        conn.stop()
        line = Line(conn, lease, unit, self._means.clock, self._hearer)
        self._conn = self._lease = self._unit = None
        self._hearer.reached(line, connack, rest)

    def on_end(self, conn: Conn) -> None:
        self._failed("closed")

    def on_lost(self, conn: Conn, error: OSError | None) -> None:
        self._failed("reset")

    def _expired(self) -> None:
        self._timer = None
        self._failed("timeout")

    def _failed(self, _word: str) -> None:
        """It was connected, and no CONNACK came of it."""
        if self._over:
            return
        lease = self._lease
        if lease is not None and lease.cluster.heed is not None:
            lease.cluster.heed(lease.endpoint, CONNECT_FAILED, 0, 0.0)
        self._next()

    def _next(self) -> None:
        lease = self._lease
        assert lease is not None
        self._tried += (lease.endpoint,)
        self._hearer.missed(lease.endpoint)
        self._drop()
        if len(self._tried) < ATTEMPTS:
            self._try_next()
        else:
            self._give_up(CONNECT_FAILED)

    def _give_up(self, failure: Failure) -> None:
        self._over = True
        self._leave()
        self._hearer.unreachable(failure)

    def _leave(self) -> None:
        self._drop()
        self._give_back()

    def _drop(self) -> None:
        """What is being tried."""
        self._stop_timer()
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._conn is not None:
            self._conn.abort()
            self._conn = None
        if self._lease is not None:
            self._lease.done()
            self._lease = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_back(self) -> None:
        if self._unit is not None:
            self._unit.give()
            self._unit = None


OVERFLOW = Failure("limit", 503, "UO")
