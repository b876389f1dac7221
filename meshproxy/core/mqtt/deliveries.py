"""The packet ids of what a broker delivers: those of a broker that is gone are the relay's own to bring to an end.

    deliveries = Deliveries()
    deliveries.sent(7, 2)                   # PUBLISH of QoS 2 to the client
    deliveries.acknowledged(7)              # PUBACK or PUBCOMP: it is over
    deliveries.received(7); deliveries.released(7)      # PUBREC of the client, PUBREL of the broker
    left = deliveries.orphaned()            # the broker is gone, and its session with it

A message that a client has seen under an id is brought to its end under that id by the relay, and until then no other
may have it: what the new broker sends under the same id is given another one on the way.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto

MOST = 65_535
"""Packet ids."""


class Stage(IntEnum):
    """What is waited for."""

    PUBACK = 1
    PUBREC = 2
    PUBREL = 3
    PUBCOMP = 4


class Settled(Enum):
    """What an acknowledgement was for."""

    OTHER = auto()
    """No orphan."""
    KNOWN = auto()
    """An orphan that waits for something else."""
    RELEASE = auto()
    """The client is to get a PUBREL."""
    OVER = auto()
    """The last that an orphan was waiting for."""


class Deliveries:
    __slots__ = ("_back", "_given", "_last", "orphans", "stages")

    def __init__(self) -> None:
        self.stages: dict[int, Stage] = {}
        """By the id that the client sees: of what the broker of now has sent."""
        self.orphans: dict[int, Stage] = {}
        """The same, of those before it."""
        self._given: dict[int, int] = {}
        """The client's id by the broker's, where they differ."""
        self._back: dict[int, int] = {}
        self._last = MOST

    @property
    def translating(self) -> bool:
        """Whether ids may differ, or be of messages that the broker of now does not know."""
        return bool(self.orphans or self._given)

    @property
    def open(self) -> int:
        """How many messages the client has not acknowledged, and has to have room for."""
        return len(self.stages) + len(self.orphans)

    @property
    def is_open(self) -> bool:
        """Whether the broker of now may have a message of QoS 2 that the client knows."""
        return any(stage is not Stage.PUBACK for stage in self.stages.values())

    def has(self, number: int) -> bool:
        """Whether what the broker sends under this id has been sent before."""
        return self._given.get(number, number) in self.stages

    def sent(self, number: int, qos: int) -> int:
        """Under which id the client is to get it."""
        given = self._given.get(number, number)
        if given in self.orphans or (given == number and given in self._back):
            given = self._free()
            self._given[number] = given
            self._back[given] = number
        if given not in self.stages:
            self.stages[given] = Stage.PUBACK if qos == 1 else Stage.PUBREC
        return given

    def acknowledged(self, given: int) -> None:
        """By the client."""
        self.stages.pop(given, None)
        number = self._back.pop(given, None)
        if number is not None:
            del self._given[number]

    def received(self, given: int) -> None:
        if given in self.stages:
            self.stages[given] = Stage.PUBREL

    def released(self, number: int) -> int:
        """The id under which the client is to hear of it."""
        given = self._given.get(number, number)
        if given in self.stages:
            self.stages[given] = Stage.PUBCOMP
        return given

    def broker_id(self, given: int) -> int:
        """What the broker calls what the client calls so."""
        return self._back.get(given, given)

    def orphaned(self) -> list[int]:
        """The ids of which the client waits for a PUBREL, which nobody else will send."""
        released = []
        for given, stage in self.stages.items():
            if stage is Stage.PUBREL:
                released.append(given)
                stage = Stage.PUBCOMP
            self.orphans[given] = stage
        self.stages.clear()
        self._given.clear()
        self._back.clear()
        return released

    def settle(self, given: int, stage: Stage, *, refused: bool = False) -> Settled:
        """An acknowledgement of the client; one that it says again, for it was sent the message again, changes nothing.

        `refused`: it is a PUBREC, and the last that is heard of the message.
        """
        waiting = self.orphans.get(given)
        if waiting is None:
            return Settled.OTHER
        if stage is not waiting:
            return Settled.KNOWN
        if stage is Stage.PUBREC and not refused:
            self.orphans[given] = Stage.PUBCOMP
            return Settled.RELEASE
        del self.orphans[given]
        return Settled.OVER

    def _free(self) -> int:
        number = self._last
        while number in self.stages or number in self.orphans or number in self._given:
            number = number - 1 or MOST
        self._last = number - 1 or MOST
        return number
