"""A connection through a tunnel, as an attempt to connect.

It is over when it begins: nobody waits for the other end.  Only where a tunnel has just been made, and has never been
there yet, it is waited for: who begins anew serves what comes at once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from meshproxy.cluster.cluster import Caller
from meshproxy.model import Address
from meshproxy.net.clock import Clock, Timer
from meshproxy.net.dial import Outcome
from meshproxy.relay.mux.tunnel import Tunnel
from meshproxy.wire.mux.metadata import Purpose


def unreachable(tunnel: str) -> OSError:
    return OSError(errno.ENETUNREACH, f"tunnel {tunnel}: {os.strerror(errno.ENETUNREACH)}")


class Opening:
    __slots__ = ("_address", "_client", "_clock", "_done", "_lane", "_timer", "_tunnel", "_within")

    def __init__(
        self,
        clock: Clock,
        tunnel: Tunnel,
        address: Address,
        client: Caller | None,
        lane: int,
        within: float,
        done: Callable[[Outcome], None],
    ) -> None:
        self._clock = clock
        self._tunnel = tunnel
        self._address = address
        self._client = client
        self._lane = lane
        self._within = within
        self._done = done
        self._timer: Timer | None = None

    def begin(self) -> Outcome | None:
        if self._address.kind == "unix":
            return OSError(errno.EAFNOSUPPORT, "no tunnel leads to a unix socket of this host")
        if not self._tunnel.coming:
            return self._opened()
        self._timer = self._clock.after(self._within, self._over)
        self._tunnel.awaited_by[self._over] = None
        return None

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._tunnel.awaited_by.pop(self._over, None)

    def _over(self) -> None:
        """It is there, or has not come in time."""
        if self._timer is not None:
            self.cancel()
            done = self._done
            done(self._opened())

    def _opened(self) -> Outcome:
        purpose, client = Purpose((self._address.host, self._address.port)), self._client
        if client is not None:
            purpose = Purpose(purpose.to, client.source, client.identity or "")
        conn = self._tunnel.open(purpose, self._lane)
        return unreachable(self._tunnel.way.name) if conn is None else conn
