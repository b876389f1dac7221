"""Where a house sends what its clients publish, other than to an uplink as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from meshproxy.core.mqtt.message import Message
from meshproxy.relay.mqtt.house import Done, Outlet
from meshproxy.wire.mqtt import Code


class Nowhere:
    """For what a client may not publish, and cannot be told so."""

    full = False

    def __init__(self) -> None:
        self.waiters: set[Callable[[], None]] = set()

    def publish(self, message: Message, done: Done) -> None:
        done(Code.SUCCESS)


class Lowered:
    """To another outlet, with a QoS that is no higher than this one."""

    def __init__(self, outlet: Outlet, qos: int) -> None:
        self._outlet = outlet
        self._qos = qos

    @property
    def full(self) -> bool:
        return self._outlet.full

    @property
    def waiters(self) -> set[Callable[[], None]]:
        return self._outlet.waiters

    def publish(self, message: Message, done: Done) -> None:
        self._outlet.publish(replace(message, qos=min(message.qos, self._qos)), done)
