"""Topic filters: which of many match a topic, in steps that no choice of filters can multiply.

    filters = Filters[str]()
    filters.add(b"plant/+/state", "a")
    filters.add(b"plant/#", "b")
    filters.match(b"plant/press-7/state")       # ["a", "b"], in no order that means anything
    filters.covering(b"plant/+/temp")           # ["b"]: whose filters match all that this filter matches
    filters.remove(b"plant/#", "b")

A tree of levels is the usual way, and visits both a name and the `+` beside it: sixteen levels of `a` or `+` make a
hundred thousand places of it.  Here a filter without wildcards is found by its name, and of the others each is one bit
of a number.  For each level, one number has the filters that ask for this name there, and one those that take any; the
bits that all levels have in common are the filters that match.  So a match takes at most a step for each level and
`BLOCK` filters, whatever they are; it begins with the level that leaves the fewest blocks, often one.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from meshproxy.model.topics import MOST_LEVELS

T = TypeVar("T")

BLOCK = 2048
"""Filters in one number.  More make fewer steps, and let a name of which there is one filter take more memory."""
_SHARE = b"$share/"


class Filters(Generic[T]):
    __slots__ = ("_depths", "_free", "_numbers", "_plain", "_values")

    def __init__(self) -> None:
        self._plain: dict[bytes, dict[T, None]] = {}
        self._numbers: dict[bytes, int] = {}
        """Of filters with wildcards.  The bit `number % BLOCK` of block `number // BLOCK` is such a filter's."""
        self._values: list[dict[T, None]] = []
        """By number."""
        self._free: list[int] = []
        self._depths = [_Depth()]
        """One more than the longest filter has levels."""

    def add(self, filter: bytes, value: T) -> None:
        """Nothing happens if it is there.  A ValueError, if the filter has more than `MOST_LEVELS` levels."""
        if filter.count(b"/") >= MOST_LEVELS:
            raise ValueError(f"a topic filter has at most {MOST_LEVELS} levels")
        if _is_plain(filter):
            self._plain.setdefault(filter, {})[value] = None
            return
        number = self._numbers.get(filter)
        if number is None:
            if self._free:
                number = self._free.pop()
            else:
                number = len(self._values)
                self._values.append({})
            self._numbers[filter] = number
            self._toggle(filter, number)
        self._values[number][value] = None

    def remove(self, filter: bytes, value: T) -> None:
        """A KeyError, if it is not there."""
        if _is_plain(filter):
            values = self._plain[filter]
            del values[value]
            if not values:
                del self._plain[filter]
            return
        number = self._numbers[filter]
        values = self._values[number]
        del values[value]
        if not values:
            del self._numbers[filter]
            self._toggle(filter, number)
            self._values[number] = {}
            self._free.append(number)

    def match(self, topic: bytes) -> list[T]:
        """Each value once for each of its filters that matches."""
        found = list(self._plain.get(topic, ()))
        if self._numbers:
            # What comes after the levels of the longest filter is one that none has.
            self._find(topic.split(b"/", len(self._depths) - 1), topic[:1] == b"$", True, found)
        return found

    def covering(self, filter: bytes) -> list[T]:
        """Those whose filters match every topic that this one matches.  Not what several cover together."""
        if filter == b"#":
            # The same, since no topic is without a level.
            filter = b"+/#"
        found = list(self._plain.get(filter, ()))
        if self._numbers:
            # Its `+` is as a name that no filter has, and its `#` is what only another `#` takes.
            levels = filter.split(b"/", len(self._depths) - 1)
            ends = levels[-1] != b"#"
            if not ends:
                levels.pop()
            self._find(levels, filter[:1] == b"$", ends, found)
        return found

    def _find(self, levels: list[bytes], hidden: bool, ends: bool, found: list[T]) -> None:
        """`hidden`: no wildcard takes the first level.  `ends`: nothing more follows the levels."""
        depths = self._depths
        steps: list[tuple[Bits, Bits]] = []
        fewest, rarest = len(self._values) + 1, (_NONE, _NONE)
        for level, depth in zip(levels, depths, strict=False):
            step = depth.names.get(level, _NONE), _NONE if hidden else depth.any
            hidden = False
            blocks = len(step[0]) + len(step[1])
            if blocks < fewest:
                if not blocks:
                    return
                fewest, rarest = blocks, step
            steps.append(step)
        if len(levels) < len(depths):
            depth = depths[len(levels)]
            steps.append((depth.ends if ends else _NONE, depth.rest))
        named, taken = rarest
        for block in {**named, **taken}:
            left = -1
            for named, taken in steps:
                left &= named.get(block, 0) | taken.get(block, 0)
                if not left:
                    break
            while left:
                lowest = left & -left
                left ^= lowest
                found += self._values[block * BLOCK + lowest.bit_length() - 1]

    def _toggle(self, filter: bytes, number: int) -> None:
        """Make the bit of a filter what it is not."""
        levels = filter.split(b"/")
        depths = self._depths
        while len(depths) <= len(levels):
            depths.append(_Depth(depths[-1]))
        block, bit = divmod(number, BLOCK)
        bit = 1 << bit
        for level, depth in zip(levels, depths, strict=False):
            if level == b"#":
                break
            if level == b"+":
                _flip(depth.any, block, bit)
            else:
                bits = depth.names.setdefault(level, {})
                _flip(bits, block, bit)
                if not bits:
                    del depth.names[level]
        if levels[-1] != b"#":
            _flip(depths[len(levels)].ends, block, bit)
            return
        for depth in depths[len(levels) - 1 :]:
            _flip(depth.any, block, bit)
            _flip(depth.rest, block, bit)

    def __bool__(self) -> bool:
        return bool(self._plain or self._numbers)


Bits = dict[int, int]
"""By block, where there are any."""
_NONE: Bits = {}


class _Depth:
    """What filters ask for at one level."""

    __slots__ = ("any", "ends", "names", "rest")

    def __init__(self, before: _Depth | None = None) -> None:
        self.names: dict[bytes, Bits] = {}
        self.rest: Bits = dict(before.rest) if before else {}
        """Those whose `#` is here or was before."""
        self.any: Bits = dict(self.rest)
        """These, and those with a `+`."""
        self.ends: Bits = {}
        """Those that have all their levels before this one."""


def _flip(bits: Bits, block: int, bit: int) -> None:
    if left := bits.get(block, 0) ^ bit:
        bits[block] = left
    else:
        del bits[block]


def _is_plain(filter: bytes) -> bool:
    return filter.find(b"+") < 0 and filter.find(b"#") < 0


def matches(filter: bytes, topic: bytes) -> bool:
    """Whether this one filter does: a way for few filters that are asked rarely."""
    return _takes(filter.split(b"/"), topic)


def covers(wide: bytes, narrow: bytes) -> bool:
    """Whether every topic that `narrow` matches is matched by `wide`."""
    # `#` and `+/#` are the same, since no topic is without a level.
    return _takes(wide.split(b"/"), b"+/#" if narrow == b"#" else narrow)


def _takes(wanted: list[bytes], topic: bytes) -> bool:
    """Wildcards in the topic are names that only wildcards take."""
    levels = topic.split(b"/", len(wanted))
    if topic[:1] == b"$" and wanted[0] != levels[0]:
        return False
    for want, level in zip(wanted, levels, strict=False):
        if want == b"#":
            return True
        if want != level and (want != b"+" or level == b"#"):
            return False
    return len(wanted) == len(levels) or wanted[len(levels) :] == [b"#"]


def split_share(filter: bytes) -> tuple[bytes, bytes]:
    """`$share/group/` and the filter that is shared; nothing and the filter, if it is not."""
    if not filter.startswith(_SHARE):
        return b"", filter
    end = filter.find(b"/", len(_SHARE)) + 1
    return filter[:end], filter[end:]
