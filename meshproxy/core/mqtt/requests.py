"""What a client of MQTT has asked of its broker and the broker has not answered: kept, in order, until it has.

    requests = Requests()
    requests.asked(7, packet)               # PUBLISH of QoS 1 or 2, SUBSCRIBE, UNSUBSCRIBE, as they were written
    requests.answered(7)                    # PUBACK, PUBCOMP, SUBACK, UNSUBACK
    requests.received(8)                    # PUBREC: what is to be done
    requests.released(8, pubrel)            # whether this PUBREL of the client may go on now
    requests.lost()                         # the broker is gone
    again = requests.again(present=False)   # there is one again: what it is to be asked, and what nobody can know

QoS 2 is exactly once as far as anybody can tell.  As long as no PUBREL was sent the old broker has not passed the
message on, and whoever comes next is given it anew, under the same id: a broker that has it already knows it by that.
The client, which has its PUBREC, is spared the second.  Where a PUBREL was sent and not answered only a broker that
has the session can be asked to go on; where none has, the message is the old one's own, and is not sent again.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

from meshproxy.wire.mqtt import PUBLISH, PUBREL

DUPLICATE = 0x08
"""The bit in the first byte of a PUBLISH that may have been sent before."""


class Received(Enum):
    """What becomes of a PUBREC."""

    TELL = auto()
    """It goes on to the client."""
    KNOWN = auto()
    """The client has got it from the broker before this one, and has not said more."""
    RELEASE = auto()
    """The same, and the client has answered: its PUBREL, which is kept, is to be sent now."""


class Again(NamedTuple):
    packets: list[bytes]
    """To be sent, in order."""
    in_doubt: list[int]
    """Ids of messages that are the old broker's own; for the client they are done."""


class Requests:
    __slots__ = ("_again", "_owed", "_told", "kept")

    def __init__(self) -> None:
        self.kept: dict[int, bytes] = {}
        """By packet id: the PUBLISH, SUBSCRIBE or UNSUBSCRIBE, or the PUBREL that came after a PUBLISH."""
        self._told: set[int] = set()
        """The client has a PUBREC of the broker of now, and has not answered it."""
        self._again: set[int] = set()
        """The client has had its PUBREC from a broker before; of this one it has not come yet."""
        self._owed: dict[int, bytes] = {}
        """PUBRELs for which the broker of now is not ready."""

    @property
    def waiting(self) -> int:
        """How many wait for a broker, and not for the client."""
        return len(self.kept) - len(self._told) - len(self._again) + len(self._owed)

    @property
    def is_open(self) -> bool:
        """Whether a broker may have the beginning of a message of QoS 2."""
        return any(packet[0] >> 4 == PUBREL or packet[0] & 4 for packet in self.kept.values())

    @property
    def unsettled(self) -> bool:
        """Whether any PUBREC may be one that the client knows."""
        return bool(self._again)

    def asked(self, number: int, packet: bytes) -> None:
        self.kept[number] = packet

    def answered(self, number: int) -> bytes | None:
        """It is over; the PUBREL of the client, if that is held back."""
        self.kept.pop(number, None)
        if self._told or self._again:
            self._told.discard(number)
            self._again.discard(number)
            return self._owed.pop(number, None)
        return None

    def received(self, number: int) -> Received:
        if number not in self._again:
            packet = self.kept.get(number)
            if packet is not None and packet[0] >> 4 == PUBLISH:
                self._told.add(number)
            return Received.TELL
        self._again.discard(number)
        release = self._owed.pop(number, None)
        if release is None:
            self._told.add(number)
            return Received.KNOWN
        self.kept[number] = release
        return Received.RELEASE

    def is_known(self, number: int) -> bool:
        """Whether the client has its PUBREC from a broker before, so that this one's refusal cannot be told."""
        return number in self._again

    def released(self, number: int, packet: bytes) -> bool:
        if number in self._again:
            self._owed[number] = packet
            return False
        self._told.discard(number)
        self.kept[number] = packet
        return True

    def lost(self) -> None:
        """The broker of now is gone."""
        self._again |= self._told
        self._told.clear()

    def again(self, *, present: bool) -> Again:
        """`present`: whether the broker has the session, and goes on where it was."""
        packets, in_doubt = [], []
        for number, packet in self.kept.items():
            kind = packet[0] >> 4
            if kind == PUBLISH:
                packets.append(bytes((packet[0] | DUPLICATE,)) + packet[1:])
            elif kind == PUBREL and not present:
                in_doubt.append(number)
            else:
                packets.append(packet)
        for number in in_doubt:
            del self.kept[number]
        return Again(packets, in_doubt)
