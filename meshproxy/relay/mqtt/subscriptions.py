"""What a client of MQTT has subscribed, as its broker sees it: so that another broker can be asked for the same.

    asked = [subscription, Code.NOT_AUTHORIZED]
    subscriptions.asked(7, asked, identifier, Code.QUOTA_EXCEEDED)      # those beyond the limit are refused with that
    subscriptions.answered(7, (1,))             # (1, 0x87): what the client is to hear; and from now on it counts
    subscriptions.replay(free_id)               # SUBSCRIBE packets for a broker that knows nothing of them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from meshproxy.wire.mqtt import Properties, Property, Subscribe, Subscription

AT_ONCE = 32
"""Filters in one SUBSCRIBE that is replayed."""
FAILED = 0x80
NEVER_RETAINED = 2

Asked = list[Subscription | int]
"""For each filter of a SUBSCRIBE what the broker is asked for, or why it is not."""


class Subscriptions:
    __slots__ = ("_asked", "_coming", "_held", "_left", "_most", "_replayed", "_turn")

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[bytes, tuple[Subscription, int]] = {}
        """With the subscription identifier; 0: none."""
        self._asked: dict[int, tuple[Asked, int, int, int]] = {}
        """With the identifier, how many of them would be new, and how many filters had been left before."""
        self._coming = 0
        """How many those are together."""
        self._replayed: dict[int, None] = {}
        """The ids of SUBSCRIBEs; an empty set would be three times as large."""
        self._turn = 0
        """How many filters were left while the broker had not answered everything."""
        self._left: dict[bytes, int] = {}
        """Which they were, and which of them they were last: what was asked for before that does not count any more."""

    def __len__(self) -> int:
        return len(self._held)

    def asked(self, number: int, asked: Asked, identifier: int, full: int) -> int:
        """For how many there was no room: the code `full` stands in their place then."""
        held, room = self._held, self._most - len(self._held) - self._coming
        new = refused = 0
        for place, each in enumerate(asked):
            if isinstance(each, int) or each.filter in held:
                continue
            if new < room:
                new += 1
            else:
                asked[place] = full
                refused += 1
        self._asked[number] = asked, identifier, new, self._turn
        self._coming += new
        return refused

    def answered(self, number: int, codes: Sequence[int]) -> tuple[int, ...]:
        """What the client is to hear: of those that the broker was not asked for, too."""
        if number not in self._asked:
            return tuple(codes)
        asked, identifier, new, turn = self._asked.pop(number)
        self._coming -= new
        said = iter(codes)
        heard = []
        for each in asked:
            if isinstance(each, int):
                heard.append(each)
                continue
            code = next(said, FAILED)
            heard.append(code)
            if code < FAILED and self._left.get(each.filter, 0) <= turn:
                self._held[each.filter] = each, identifier
        if not self._asked:
            self._left.clear()
        return tuple(heard)

    def granted(self, number: int) -> tuple[int, ...]:
        """There is no broker now: all that may be asked for is granted, and asked for when there is one."""
        asked = self._asked[number][0]
        return self.answered(number, [each.qos for each in asked if not isinstance(each, int)])

    def left(self, filter: bytes) -> None:
        self._held.pop(filter, None)
        if self._asked:
            self._turn += 1
            self._left[filter] = self._turn

    @property
    def replaying(self) -> bool:
        """Whether the broker has not said yet that it has them all."""
        return bool(self._replayed)

    def replay(self, free: Callable[[], int], *, five: bool) -> Iterator[Subscribe]:
        """Those with an identifier of their own one by one; retained messages are not asked for again where that can
        be said."""
        self._replayed.clear()
        by_identifier: dict[int, list[Subscription]] = {}
        for subscription, identifier in self._held.values():
            by_identifier.setdefault(identifier, []).append(subscription)
        for identifier, subscriptions in by_identifier.items():
            properties: Properties = {Property.SUBSCRIPTION_IDENTIFIER: (identifier,)} if identifier else {}
            for at in range(0, len(subscriptions), AT_ONCE):
                number = free()
                self._replayed[number] = None
                some = subscriptions[at : at + AT_ONCE]
                yield Subscribe(number, tuple(_quiet(each) for each in some) if five else tuple(some), properties)

    def is_replayed(self, number: int) -> bool:
        """Whether a SUBACK is for one of ours; to be asked once."""
        found = number in self._replayed
        self._replayed.pop(number, None)
        return found

    def being_replayed(self, number: int) -> bool:
        return number in self._replayed


def _quiet(said: Subscription) -> Subscription:
    return Subscription(said.filter, said.qos, said.no_local, said.as_published, NEVER_RETAINED)
