"""MQTT within WebSocket, compiled: a service before the one that takes MQTT."""

from __future__ import annotations

from meshproxy.model.websocket import WebSocket
from meshproxy.plan.rim import Rim
from meshproxy.relay.entry import Service
from meshproxy.relay.live import ListenerState
from meshproxy.relay.mqtt.websocket import WebSocketService
from meshproxy.wire.h1 import Limits, RequestCodec

LIMITS = Limits(head=16 * 1024)


def websocket(said: WebSocket, inner: Service, state: ListenerState, rim: Rim, within: float) -> Service:
    """`within`: seconds for the request, or for the first byte of who does not ask."""
    return WebSocketService(
        inner,
        state,
        rim.clock,
        RequestCodec(LIMITS),
        rim.http.dates.line,
        within,
        frozenset(path.encode("ascii") for path in said.paths),
        frozenset(origin.encode("ascii") for origin in said.origins),
    )
