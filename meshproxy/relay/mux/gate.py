"""Where connections of tunnels arrive: a service of a listener, for who has proved to be the other end of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from meshproxy.net.clock import Clock
from meshproxy.net.conn import Conn
from meshproxy.net.quic.conn import QuicConn
from meshproxy.relay.live import ListenerState
from meshproxy.relay.mux.carrier import Carrier
from meshproxy.relay.mux.carries import Carries
from meshproxy.relay.mux.quic import QuicCarrier
from meshproxy.relay.mux.tunnel import Tunnel
from meshproxy.relay.origin import Origin
from meshproxy.wire.mux.frames import Fault, Reason
from meshproxy.wire.mux.hello import Hello


@dataclass(frozen=True, slots=True)
class Accepted:
    """A tunnel that the other end dials."""

    tunnel: Tunnel
    identities: Collection[str]
    """Who that may be."""


@dataclass(frozen=True, slots=True)
class Gate:
    state: ListenerState
    clock: Clock
    tunnels: Mapping[str, Accepted]
    within: float
    """Seconds for the hello."""

    def start(self, conn: Conn, origin: Origin) -> None:
        origin.called()
        arrived = Arrived(self, origin.identity)
        arrived.carrier = carrier = Carrier(self.clock, conn, arrived, self.within, arrived.over)
        early, origin.early = origin.early, b""
        carrier.begin(early)

    def accept(self, conn: QuicConn) -> None:
        """By QUIC, which has verified its certificate."""
        state = self.state
        if not state.limit.take_at_once():
            state.stats.rejected["limit"] += 1
            conn.close()
            return
        state.came()
        assert conn.certificate is not None
        identity = conn.certificate.identity or None
        state.identified(identity)
        arrived = Arrived(self, identity)
        arrived.carrier = QuicCarrier(self.clock, conn, arrived, self.within, arrived.over)

    def behind(self, origin: Origin) -> None:
        """A tunnel goes on as it was: its streams are what is begun anew."""


class Arrived:
    """One connection, from its arrival until it is over."""

    __slots__ = ("_gate", "_identity", "_tunnel", "carrier")

    def __init__(self, gate: Gate, identity: str | None) -> None:
        """It has proved to be that one."""
        self._gate = gate
        self._identity = identity
        self._tunnel: Tunnel | None = None
        self.carrier: Carries
        gate.state.connections.add(self)

    def greeted(self, carrier: Carries, hello: Hello) -> None:
        accepted = self._gate.tunnels.get(hello.tunnel)
        # Who is not told apart learns nothing of which tunnels there are.
        if accepted is None or self._identity not in accepted.identities:
            raise Fault(Reason.IDENTITY, "this tunnel is not for you")
        self._tunnel = accepted.tunnel
        accepted.tunnel.attach(carrier, hello)

    def gone(self, carrier: Carries, why: Fault | OSError | None) -> None:
        """Before it belonged to a tunnel."""

    def heard(self, carrier: Carries) -> None:
        """Nothing but its hello."""

    def over(self, why: Fault | OSError | None) -> None:
        reason = "done" if why is None else "reset" if isinstance(why, OSError) else "error"
        self._gate.state.closed(self, reason)

    # As a connection of the listener

    def account(self) -> None:
        """What goes through is counted where it comes out."""

    def leave(self) -> None:
        if self._tunnel is not None:
            self._tunnel.leave(self.carrier)

    def drain(self) -> None:
        """Its streams go on by another one, if there is one in time."""
        self.carrier.close()
