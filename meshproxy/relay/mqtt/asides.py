"""What a client publishes and its own broker does not get: who takes it in its place, and who has taken which.

    asides = Asides(client, heard)
    asides.publish(house, 7, packet)            # by a seat there, which answers as a broker does
    asides.released(7, pubrel)                  # whether it was one of these
    asides.publish(house, 8, packet, known=True)        # the client has its PUBREC already

A house is a broker of our own: for a topic that belongs to another cluster, for what is to be stored, or for nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from meshproxy.core.mqtt.client import Client
from meshproxy.wire.mqtt import PUBACK, PUBCOMP, PUBREC, Ack, Code, Frames, decode, encode

LARGEST_ANSWER = 64 * 1024


class Seat(Protocol):
    """One client's place in a house: a connection, as far as whoever writes to it can tell."""

    handler: Any
    fed_by: Any

    def read_to(self, take: Callable[[bytes], None]) -> None: ...

    def start(self) -> None: ...

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class Reader(Protocol):
    """Whose messages these are: it has other reasons too for not reading."""

    def stop(self) -> None: ...

    def answered(self) -> None: ...


class House(Protocol):
    def seat(self, client: Client) -> Seat: ...


class Asides:
    __slots__ = (
        "_client", "_ended", "_full", "_heard", "_known", "_reader", "_refused", "_released", "_seats", "_taken",
    )  # fmt: skip

    def __init__(
        self, client: Client, reader: Reader, heard: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        """`heard` gets the answers that are the client's; `reader` is stopped while a seat is full; `ended` hears that
        something was not taken, and that nothing else can be said of it."""
        self._client = client
        self._reader = reader
        self._full = 0
        """How many seats are."""
        self._heard = heard
        self._ended = ended
        self._seats: dict[House, Seat] = {}
        self._taken: dict[int, Seat] = {}
        """By packet id: who has a message that is not acknowledged entirely."""
        self._known: set[int] = set()
        """The client has had its PUBREC from somebody else."""
        self._released: dict[int, bytes] = {}
        """And has answered that before the seat has said the same."""
        self._refused: set[int] = set()
        """What it knows of is not taken after all, and it has still to say that it goes on."""

    def __contains__(self, number: int) -> bool:
        return number in self._taken or number in self._refused

    def __len__(self) -> int:
        return len(self._taken)

    def publish(self, house: House, number: int, packet: bytes, *, known: bool = False) -> None:
        """`known`: the client has its PUBREC already."""
        seat = self._seats.get(house)
        if seat is None:
            seat = self._seats[house] = house.seat(self._client)
            seat.handler = self
            seat.fed_by = self
            seat.read_to(partial(self._answered, Frames(LARGEST_ANSWER)))
            seat.start()
        if number:
            self._taken[number] = seat
        if known:
            self._known.add(number)
        seat.write(packet)

    def released(self, number: int, packet: bytes) -> bool:
        seat = self._taken.get(number)
        if seat is None:
            return self._over(number)
        if number in self._known:
            self._released[number] = packet
        else:
            seat.write(packet)
        return True

    def _over(self, number: int) -> bool:
        if number not in self._refused:
            return False
        self._refused.discard(number)
        self._heard(encode(Ack(PUBCOMP, number), self._client.level))
        return True

    @property
    def full(self) -> bool:
        return self._full > 0

    def hold(self) -> None:
        self._full += 1
        self._reader.stop()

    def release(self) -> None:
        self._full -= 1
        if not self._full:
            self._reader.answered()

    def close(self) -> None:
        for seat in self._seats.values():
            seat.close()
        self._seats.clear()

    def on_end(self, conn: Any) -> None:
        """A message was not taken, and in 3.1.1 that cannot be said in any other way."""
        self._ended()

    def on_lost(self, conn: Any, error: OSError | None) -> None:
        self._ended()

    def _answered(self, frames: Frames, data: bytes) -> None:
        buffer, cuts = frames.feed(data)
        for start, body, end in cuts:
            ack = decode(self._client.level, buffer, start, body, end)
            if not isinstance(ack, Ack):
                self._ended()
                return
            number = ack.id
            refused = ack.code >= Code.UNSPECIFIED_ERROR
            seat = self._taken.get(number)
            if seat is None:
                continue
            if ack.kind == PUBREC and number in self._known:
                self._known.discard(number)
                release = self._released.pop(number, None)
                if refused:
                    # The client cannot be told any more.
                    del self._taken[number]
                    self._refused.add(number)
                    if release is not None:
                        self._over(number)
                elif release is not None:
                    seat.write(release)
                continue
            if ack.kind in (PUBACK, PUBCOMP) or refused:
                del self._taken[number]
            self._heard(buffer[start:end])
