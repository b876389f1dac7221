"""A connection on which a broker has let us in, and what that broker takes."""

from __future__ import annotations

from meshproxy.net.conn import Conn
from meshproxy.wire.mqtt import V5, Connack, Property

MOST_WINDOW = 1 << 14
"""So that there are always packet ids left."""
UNSAID_WINDOW = 16
"""A broker of 3.1.1 cannot say what it takes: mosquitto 2.0.11 loses what it acknowledges beyond 20 of QoS 2."""
ANY_SIZE = 1 << 28


class Way:
    __slots__ = (
        "_conn", "_corked", "full", "identifiers", "level", "most_packet", "most_qos", "retain", "window"
    )  # fmt: skip

    def __init__(self, conn: Conn, level: int, said: Connack, window: int) -> None:
        """`window`: how many messages of QoS 1 and 2 may be under way, as far as we are concerned."""
        properties = said.properties
        self.level = level
        theirs = MOST_WINDOW if level == V5 else UNSAID_WINDOW
        self.window = min(window, properties.get(Property.RECEIVE_MAXIMUM, theirs), MOST_WINDOW)
        self.most_packet: int = properties.get(Property.MAXIMUM_PACKET_SIZE, ANY_SIZE)
        self.most_qos: int = properties.get(Property.MAXIMUM_QOS, 2)
        self.retain = bool(properties.get(Property.RETAIN_AVAILABLE, 1))
        self.identifiers = level == V5 and bool(properties.get(Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE, 1))
        self.full = conn.full
        """Whether bytes wait that the broker has not taken."""
        self._conn = conn
        self._corked: list[bytes] | None = None

    def write(self, data: bytes) -> None:
        if self._corked is not None:
            self._corked.append(data)
        else:
            self._conn.write(data)

    def cork(self) -> None:
        """What is written goes out as one, when it is uncorked."""
        self._corked = []

    def uncork(self) -> None:
        corked, self._corked = self._corked, None
        if corked:
            self._conn.write(b"".join(corked))

    def resume(self) -> None:
        """It may be read again."""
        self._conn.start()
