"""One uplink of a house, and what is subscribed over it: each filter once, for all seats that want it.

With a broker of 5.0 each filter has a Subscription Identifier, so that a message says for which filters it is, and
nobody gets a copy that was meant for somebody else's overlapping filter.  To one of 3.1.1 its topic has to be matched.

A seat that subscribes gets the retained messages although the filter is subscribed already: it is subscribed again, and
what comes with the retain flag goes to those who wait for it alone.  In 5.0 that is done under a second identifier, and
at once taken back by the first with "retain as published": so what is retained and what is published with the retain
flag in the meantime are told apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Protocol

from meshproxy.core.mqtt.message import Message
from meshproxy.core.mqtt.topic import Filters
from meshproxy.relay.mqtt.branch import Branch, Fetch, give, spread
from meshproxy.relay.mqtt.echoes import Echoes
from meshproxy.relay.mqtt.house import Done, Outlet
from meshproxy.relay.mqtt.parcel import Parcel
from meshproxy.relay.mqtt.seat import Seat
from meshproxy.wire.mqtt import V5, Code, Subscription

LATE = 30.0
"""Seconds after the answer to a subscription in which its retained messages may still come."""
MOST_FETCHES = 32
"""Of one filter, within that time: of more than that the oldest is taken to be over."""
MOST_SEEN = 100_000
"""Topics of one."""
MOST_NUMBERS = 268_435_455

Hear = Callable[[Message, bool, tuple[int, ...], Callable[[], None]], None]


class Uplink(Outlet, Protocol):
    """Our own session with a cluster."""

    @property
    def up(self) -> bool: ...

    on_change: Callable[[bool], None]

    def stop(self) -> None: ...

    def subscribe(self, subscription: Subscription, done: Done, identifier: int = 0) -> None:
        """Remembered, also while it is down."""

    def unsubscribe(self, filter: bytes) -> None: ...


class Trunk:
    def __init__(self, level: int, now: Callable[[], float], refused: Callable[[int], None]) -> None:
        """`refused` hears the code of what a broker refuses that was granted while it was away."""
        self._level = level
        self._now = now
        self._refused = refused
        self.uplink: Uplink
        self._branches: dict[bytes, Branch] = {}
        self._table: Filters[Branch] = Filters()
        self._numbered: dict[int, Branch] = {}
        self._fetches: dict[int, Fetch] = {}
        self._last_number = 0

    def __len__(self) -> int:
        """Filters."""
        return len(self._branches)

    def __contains__(self, filter: bytes) -> bool:
        return filter in self._branches

    def grow(self, uplink: Uplink) -> None:
        self.uplink = uplink
        uplink.on_change = self._changed

    # What seats want

    def subscribe(self, seat: Seat, wanted: Subscription, number: int, done: Done) -> None:
        filter, qos = wanted.filter, wanted.qos
        branch = self._branches.get(filter)
        if branch is None:
            try:
                branch = self._grown(filter)
            except ValueError:
                done(Code.TOPIC_FILTER_INVALID)
                return
        before = branch.seats.get(seat)
        echoes = None
        if wanted.no_local:
            echoes = before[3] if before is not None and before[3] is not None else Echoes(self._now)
            seat.echoes[filter] = echoes
        else:
            seat.echoes.pop(filter, None)
        handling = wanted.retain_handling
        branch.seats[seat] = (qos, wanted.as_published, (number,) if number else (), echoes, handling)
        seat.filters[filter] = self
        fetch = None
        if self.uplink.up and not branch.shared and (handling == 0 or (handling == 1 and before is None)):
            fetch = self._fetch(branch, [seat])
        if qos > branch.qos or not branch.asks:
            branch.qos = max(qos, branch.qos)
            self._ask(branch, fetch)
        elif fetch is not None:
            self._ask(branch, fetch)
            if branch.granted is not None:
                done(min(qos, branch.granted))
                return
        if not self.uplink.up:
            done(qos)
        elif branch.answered != branch.asks:
            branch.asked.append((seat, qos, done))
        else:
            done(qos if branch.granted is None else min(qos, branch.granted))

    def unsubscribe(self, seat: Seat, filter: bytes) -> bool:
        """Whether it was subscribed."""
        branch = self._branches.get(filter)
        if branch is None or branch.seats.pop(seat, None) is None:
            return False
        for fetch in branch.fetches:
            fetch.seats.pop(seat, None)
        if branch.then is not None:
            branch.then.seats.pop(seat, None)
        if not branch.seats:
            self._fall(branch)
        return True

    def _grown(self, filter: bytes) -> Branch:
        """A ValueError, if nobody would find it among others."""
        branch = Branch(filter, self._number())
        self._table.add(branch.plain, branch)
        self._branches[filter] = branch
        self._numbered[branch.number] = branch
        return branch

    def _fall(self, branch: Branch) -> None:
        del self._branches[branch.filter]
        del self._numbered[branch.number]
        self._table.remove(branch.plain, branch)
        self._forget(branch)
        self._settle(branch, branch.qos)
        self.uplink.unsubscribe(branch.filter)

    def _number(self) -> int:
        number = self._last_number
        while True:
            number = number % MOST_NUMBERS + 1
            if number not in self._numbered and number not in self._fetches:
                self._last_number = number
                return number

    # What the broker is asked for

    def _ask(self, branch: Branch, fetch: Fetch | None) -> None:
        filter, qos, uplink = branch.filter, branch.qos, self.uplink
        branch.asks += 1
        answered = partial(self._answered, branch, branch.asks, fetch)
        if self._level != V5:
            uplink.subscribe(Subscription(filter, qos), answered)
            return
        live = Subscription(filter, qos, as_published=True, retain_handling=2)
        if fetch is not None:
            if branch.asks == 1:
                # Not every broker changes the options of a subscription that it has: those of the first stay.
                uplink.subscribe(live, _ignore, branch.number)
            uplink.subscribe(Subscription(filter, qos), _ignore, fetch.number)
        uplink.subscribe(live, answered, branch.number)

    def _answered(self, branch: Branch, ask: int, fetch: Fetch | None, code: int) -> None:
        refused = code >= Code.UNSPECIFIED_ERROR
        if not refused:
            branch.granted = code
        if ask == branch.asks:
            self._settle(branch, code)
        if fetch is not None and branch.fetching is fetch:
            fetch.until = self._now() + LATE
            branch.fetching = None
            then, branch.then = branch.then, None
            if then is not None and then.seats:
                self._ask(branch, self._opened(then))

    def _settle(self, branch: Branch, code: int) -> None:
        branch.answered = branch.asks
        asked, branch.asked = branch.asked, []
        if code >= Code.UNSPECIFIED_ERROR and not asked and branch.seats:
            self._refused(code)
        for seat, qos, done in asked:
            if code >= Code.UNSPECIFIED_ERROR:
                seat.drop(branch.filter)
                self.unsubscribe(seat, branch.filter)
                done(code)
            else:
                done(min(qos, code))

    def _fetch(self, branch: Branch, seats: list[Seat]) -> Fetch | None:
        """None: somebody else's is on its way, and this one will be when that is over."""
        fetch = branch.then or Fetch(branch, 0, inf)
        fetch.seats.update(dict.fromkeys(seats))
        if branch.fetching is not None:
            branch.then = fetch
            return None
        return self._opened(fetch)

    def _opened(self, fetch: Fetch) -> Fetch:
        branch, now = fetch.branch, self._now()
        fetches = branch.fetches
        while fetches and (fetches[0].until < now or len(fetches) >= MOST_FETCHES):
            del self._fetches[fetches.pop(0).number]
        fetch.number = self._number()
        self._fetches[fetch.number] = fetch
        fetches.append(fetch)
        branch.fetching = fetch
        return fetch

    def _forget(self, branch: Branch) -> None:
        """What is fetched for it."""
        for fetch in branch.fetches:
            del self._fetches[fetch.number]
        branch.fetches.clear()
        branch.fetching = branch.then = None

    def _changed(self, up: bool) -> None:
        """The uplink has come, or has gone."""
        for branch in list(self._branches.values()):
            self._forget(branch)
            if not up:
                self._settle(branch, branch.qos)
            elif not branch.shared:
                # What was retained in the meantime.
                seats = [seat for seat, wish in branch.seats.items() if wish[4] != 2]
                if seats:
                    self._ask(branch, self._fetch(branch, seats))

    # What comes

    def hear(self, message: Message, retained: bool, ids: tuple[int, ...], acknowledge: Callable[[], None]) -> None:
        parcel = Parcel(message)
        branches = self._named(parcel, ids) if ids else self._matched(parcel)
        if len(branches) == 1:
            branches[0].spread(parcel)
        elif branches:
            spread(parcel, branches)
        # It is in the queues of its clients, and lost with them.
        acknowledge()

    def _named(self, parcel: Parcel, ids: tuple[int, ...]) -> list[Branch]:
        """The branches that a message says it is for; what was retained is given to who waits for it."""
        branches = []
        for number in ids:
            branch = self._numbered.get(number)
            if branch is None:
                fetch = self._fetches.get(number)
                if fetch is None:
                    continue
                if parcel.message.retain:
                    give(parcel, (fetch,))
                    continue
                branch = fetch.branch
            branches.append(branch)
        return branches

    def _matched(self, parcel: Parcel) -> list[Branch]:
        message = parcel.message
        branches = self._table.match(message.topic)
        if not message.retain or self._level == V5:
            # A broker that knows no identifiers: what was retained goes to all, lest what is published be lost.
            return branches
        topic, now = message.topic, self._now()
        waited: list[Fetch] = []
        for branch in branches:
            for fetch in branch.fetches:
                if topic not in fetch.seen and now <= fetch.until:
                    waited.append(fetch)
                    if len(fetch.seen) < MOST_SEEN:
                        fetch.seen.add(topic)
        give(parcel, waited)
        return []


def _ignore(code: int) -> None:
    """What follows is answered too."""
