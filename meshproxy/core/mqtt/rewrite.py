"""Topics that a client and its broker call by different names: by rules, and by a prefix of the client's own.

    naming = Naming(Rewriting([TopicRewrite("old/+/temp/#", "new/%1/temp/%2")]), b"tenants/ann/")
    naming.up(b"old/7/temp/in")                     # b"tenants/ann/new/7/temp/in": what the broker gets
    naming.down(b"tenants/ann/new/7/temp/in")       # b"old/7/temp/in": what the client gets; None: nothing
    naming.up_filter(b"$share/g/old/+/temp/#")      # b"$share/g/tenants/ann/new/+/temp/#"

A topic has one rule at most, and a way back: `rewrite_problems` sees to that.  A filter is rewritten if a rule is for
all that it matches, with its wildcards as they are; one that a rule is only partly for goes on as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshproxy.core.mqtt.template import LONGEST_TOPIC
from meshproxy.core.mqtt.topic import split_share
from meshproxy.model.topics import TopicRewrite

Turn = Callable[[bytes], bytes | None]
"""Nothing, if it is not for this topic.  What is empty cannot be said."""


class Rewriting:
    __slots__ = ("_down", "_up")

    def __init__(self, rewrites: Sequence[TopicRewrite]) -> None:
        sides = [_sides(rewrite) for rewrite in rewrites]
        self._up = [_turn(clients, brokers) for clients, brokers in sides]
        self._down = [_turn(brokers, clients) for clients, brokers in sides]

    def up(self, topic: bytes) -> bytes:
        """The broker's name of a client's topic, or of its filter; empty: there is none."""
        return _first(self._up, topic)

    def down(self, topic: bytes) -> bytes:
        return _first(self._down, topic)


class Naming:
    """What a client's topics are called on the other side; None: they cannot be called anything there."""

    __slots__ = ("_down", "_prefix", "_up", "changes")

    def __init__(self, rewriting: Rewriting | None, prefix: bytes) -> None:
        self._up = rewriting.up if rewriting else _same
        self._down = rewriting.down if rewriting else _same
        self._prefix = prefix
        self.changes = bool(rewriting or prefix)

    def up(self, topic: bytes) -> bytes | None:
        return self._whole(b"", topic)

    def up_filter(self, filter: bytes) -> bytes | None:
        return self._whole(*split_share(filter))

    def _whole(self, share: bytes, topic: bytes) -> bytes | None:
        named = self._up(topic)
        whole = share + self._prefix + named
        return whole if named and len(whole) <= LONGEST_TOPIC else None

    def down(self, topic: bytes) -> bytes | None:
        prefix = self._prefix
        if not topic.startswith(prefix) or len(topic) == len(prefix):
            return None
        named = self._down(topic[len(prefix) :])
        return named if named and len(named) <= LONGEST_TOPIC else None


def _same(topic: bytes) -> bytes:
    return topic


def _first(turns: list[Turn], topic: bytes) -> bytes:
    for turn in turns:
        turned = turn(topic)
        if turned is not None:
            return turned
    return topic


@dataclass(frozen=True, slots=True)
class _Captured:
    number: int
    many: bool
    """Whether it is a `#`."""


Levels = list[bytes | _Captured]


def _sides(rewrite: TopicRewrite) -> tuple[Levels, Levels]:
    """The clients' levels, and the brokers'."""
    theirs: Levels = []
    captured: dict[str, _Captured] = {}
    for level in rewrite.match.split("/"):
        if level in ("+", "#"):
            number = len(captured) + 1
            theirs.append(captured.setdefault(f"%{number}", _Captured(number, level == "#")))
        else:
            theirs.append(level.encode())
    return theirs, [captured.get(level) or level.replace("%%", "%").encode() for level in rewrite.to.split("/")]


def _turn(pattern: Levels, target: Levels) -> Turn:
    expression = b""
    for place, level in enumerate(pattern):
        if not isinstance(level, _Captured):
            expression += b"/" * (place > 0) + re.escape(level)
        elif place == 0:
            # What begins with `$` is matched by no wildcard.
            expression += rb"(?!\$)(?P<c%d>%b)" % (level.number, b".+" if level.many else b"[^/#]*")
        elif level.many:
            expression += b"(?:/(?P<c%d>.*))?" % level.number
        else:
            expression += b"/(?P<c%d>[^/#]*)" % level.number
    match = re.compile(expression, re.DOTALL).fullmatch
    parts = [f"c{level.number}" if isinstance(level, _Captured) else level for level in target]
    begins = isinstance(target[0], _Captured)

    def turn(topic: bytes) -> bytes | None:
        found = match(topic)
        if found is None:
            return None
        levels = [part if isinstance(part, bytes) else found[part] for part in parts]
        if levels[-1] is None:
            # A `#` that stands for no level.
            levels.pop()
        turned = b"/".join(levels)
        # Nobody gets at what only the broker may name by having it captured.
        return b"" if begins and turned.startswith(b"$") else turned

    return turn
