"""Which topics are a client's: what it may publish to, and what it may subscribe to.

    access = Access([TopicAccess(clients=("press-*",), publish=("plant/%c/#",))], "cluster.local")
    granted = access.of(client)                         # once for a session
    granted.publish(b"plant/press-7/state")             # True
    granted.subscribe(b"$share/workers/plant/#")        # False: what no entry grants is denied

Clients for whom the same entries hold share what was made of them; only filters with the client's own words in them are
its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain

from meshproxy.core.by_identity import ByIdentity
from meshproxy.core.mqtt.client import Client
from meshproxy.core.mqtt.glob import ByName
from meshproxy.core.mqtt.template import Fill, literal, template
from meshproxy.core.mqtt.topic import Filters, covers, matches, split_share
from meshproxy.model.topics import TopicAccess

MOST_REMEMBERED = 256
"""Sets of entries that hold together, of which clients share what was made."""


class Granted:
    __slots__ = ("_common", "_publish", "_subscribe", "shared")

    def __init__(self, common: _Common, publish: Sequence[bytes], subscribe: Sequence[bytes]) -> None:
        self._common = common
        self._publish = publish
        self._subscribe = [split_share(filter) for filter in subscribe]
        self.shared = not publish and not subscribe
        """Whether it is the same for all clients that have it: then it is one object."""

    def publish(self, topic: bytes) -> bool:
        return bool(self._common.publish.match(topic)) or any(matches(filter, topic) for filter in self._publish)

    def subscribe(self, filter: bytes) -> bool:
        """A filter, or `$share/group/filter`."""
        share, filter = split_share(filter)
        if any(_joins(wanted, share) for wanted in self._common.subscribe.covering(filter)):
            return True
        return any(_joins(wanted, share) and covers(wide, filter) for wanted, wide in self._subscribe)


def _joins(wanted: bytes, share: bytes) -> bool:
    """Whether who may do it in the groups of `wanted`, where empty is any way, may do it like this."""
    return not wanted or matches(wanted, share)


class _Common:
    """What some entries grant to everybody for whom they hold, and what is made anew for each."""

    __slots__ = ("granted", "own_publish", "own_subscribe", "publish", "subscribe")

    def __init__(self, entries: Iterable[_Entry]) -> None:
        self.publish: Filters[None] = Filters()
        self.subscribe: Filters[bytes] = Filters()
        """Each with the groups in which it may be shared; empty: any, or not at all."""
        self.own_publish: list[Fill] = []
        self.own_subscribe: list[Fill] = []
        for entry in entries:
            for filter in entry.publish:
                self.publish.add(filter, None)
            for filter in entry.subscribe:
                share, filter = split_share(filter)
                self.subscribe.add(filter, share)
            self.own_publish += entry.own_publish
            self.own_subscribe += entry.own_subscribe
        self.granted = Granted(self, (), ())

    def to(self, client: Client) -> Granted:
        publish = [filter for fill in self.own_publish if (filter := fill(client)) is not None]
        subscribe = [filter for fill in self.own_subscribe if (filter := fill(client)) is not None]
        return Granted(self, publish, subscribe) if publish or subscribe else self.granted


class _Entry:
    """One that has been read."""

    __slots__ = ("own_publish", "own_subscribe", "publish", "subscribe")

    def __init__(self, said: TopicAccess) -> None:
        self.publish, self.own_publish = _apart(said.publish)
        self.subscribe, self.own_subscribe = _apart(said.subscribe)


def _apart(texts: Iterable[str]) -> tuple[list[bytes], list[Fill]]:
    """Those that say the same for everybody, and the others."""
    same: list[bytes] = []
    own: list[Fill] = []
    for text in texts:
        filter = literal(text)
        if filter is None:
            own.append(template(text))
        else:
            same.append(filter)
    return same, own


class Access:
    def __init__(self, entries: Sequence[TopicAccess], trust_domain: str) -> None:
        compiled = [_Entry(entry) for entry in entries]
        said = list(enumerate(entries))
        self._users = ByName([(entry.users, place) for place, entry in said])
        self._clients = ByName([(entry.clients, place) for place, entry in said])
        self._identities = ByIdentity([(entry.identities, place) for place, entry in said], trust_domain)
        self._asked = [bool(entry.users) + bool(entry.clients) + bool(entry.identities) for entry in entries]
        """Of each entry, how many things it asks of a client."""
        self._general = [place for place, asked in enumerate(self._asked) if not asked]

        @lru_cache(MOST_REMEMBERED)
        def common(places: tuple[int, ...]) -> _Common:
            return _Common([compiled[place] for place in places])

        self._common = common

    def of(self, client: Client) -> Granted:
        """What all entries that hold for it grant together; where none holds, nothing."""
        users, clients = self._users.of(client.user), self._clients.of(client.id)
        held = Counter(chain(users, clients, self._identities[client.identity]))
        asked = self._asked
        places = [*self._general, *[place for place, times in held.items() if times == asked[place]]]
        return self._common(tuple(sorted(places))).to(client)
