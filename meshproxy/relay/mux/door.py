"""Flows that the other end of a tunnel opens, as doors: each has one source, and is closed when nobody answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from meshproxy.net.mux.flow import Flow
from meshproxy.relay.live import ListenerState
from meshproxy.relay.origin import Origin
from meshproxy.relay.turned import REFUSED
from meshproxy.relay.udp import UdpService, UdpSession
from meshproxy.wire.mux.frames import Reason

NOBODY = ("unknown", 0)
"""The address of a source of which the other end has said none."""


@dataclass(frozen=True, slots=True)
class Flows:
    """Compiled: the front of a listener for those that come out of tunnels."""

    state: ListenerState
    choose: Callable[[Origin], UdpService | None]

    def serve(self, flow: Flow) -> None:
        """Where it goes and who began it is what the other end says, which is trusted with that."""
        purpose = flow.purpose
        origin = Origin(purpose.source, purpose.to[1], purpose.to)
        choose = self.choose
        service = choose(origin)
        if service is not None:
            FlowDoor(flow, origin, service)
            return
        self.state.turned.tell(None, origin, REFUSED["no_chain"], protocol="UDP")
        self.state.stats.rejected["no_chain"] += 1
        flow.refuse(Reason.FORBIDDEN)


class FlowDoor:
    __slots__ = ("_flow", "_origin", "_service", "_session")

    def __init__(self, flow: Flow, origin: Origin, service: UdpService) -> None:
        self._flow = flow
        self._origin = origin
        self._service = service
        self._session: UdpSession | None = None
        flow.on_data, flow.on_over = self._came, self._over

    def joined(self, session: UdpSession) -> None:
        self._session = session

    def left(self, _session: UdpSession, lost: bool) -> None:
        self._session = None
        if lost:
            self._flow.refuse(Reason.UNREACHABLE)
        else:
            self._flow.close()

    def reply(self, data: bytes, _source: Any) -> bool:
        return self._flow.send(data)

    @property
    def local(self) -> tuple[str, int]:
        return self._flow.purpose.to

    @property
    def goal(self) -> tuple[str, int] | None:
        return self._flow.purpose.to if self._origin.goal is not None else None

    def peer(self, _source: Any) -> tuple[str, int]:
        return self._flow.purpose.source or NOBODY

    def _came(self, data: bytes) -> None:
        self._service.receive(self, data, None)

    def _over(self, _error: OSError | None) -> None:
        if self._session is not None:
            self._session.gone()
