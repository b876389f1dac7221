"""A session whose broker is a house of our own: a seat there, in the place of a connection."""

from __future__ import annotations

from typing import Any, Protocol

from meshproxy.core.mqtt.client import Client
from meshproxy.relay.mqtt.asides import House
from meshproxy.wire.mqtt import Connack, Frames, decode

LARGEST = 1 << 28


class Hearer(Protocol):
    def reached(self, line: Place, connack: Connack, rest: bytes) -> None: ...

    def gone(self, line: Place, reason: str) -> None: ...


class Place:
    """What a `Line` is to a broker."""

    __slots__ = ("_hearer", "conn")

    def __init__(self, seat: Any, hearer: Hearer) -> None:
        self.conn = seat
        self._hearer: Hearer | None = hearer
        seat.handler = self

    def on_end(self, conn: Any) -> None:
        self._tell("closed")

    def on_lost(self, conn: Any, error: OSError | None) -> None:
        self._tell("reset")

    def _tell(self, reason: str) -> None:
        if self._hearer is not None:
            self._hearer.gone(self, reason)

    def moved(self) -> None:
        """Nothing goes over a wire."""

    def close(self) -> None:
        """Without a DISCONNECT before it the house takes that for a failure."""
        if self._hearer is not None:
            self._hearer = None
            self.conn.close()


class Seating:
    """As `Reaching`, where a broker is always there."""

    __slots__ = ("_client", "_hearer", "_house", "_packet", "_seat")

    def __init__(self, house: House, client: Client, packet: bytes, hearer: Hearer) -> None:
        self._house = house
        self._client = client
        self._packet = packet
        self._hearer = hearer
        self._seat: Any = None

    def begin(self) -> None:
        self._seat = seat = self._house.seat(self._client)
        seat.handler = self
        seat.read_to(self._read)
        seat.start()
        seat.write(self._packet)

    def cancel(self) -> None:
        if self._seat is not None:
            self._seat.close()
            self._seat = None

    def on_end(self, conn: Any) -> None:
        """It is let in first."""

    def on_lost(self, conn: Any, error: OSError | None) -> None:
        """The same."""

    def _read(self, data: bytes) -> None:
        seat, self._seat = self._seat, None
        data, ((start, body, end), *_) = Frames(LARGEST).feed(data)
        connack = decode(self._client.level, data, start, body, end)
        assert isinstance(connack, Connack)
        seat.stop()
        self._hearer.reached(Place(seat, self._hearer), connack, data[end:])
