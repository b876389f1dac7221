"""The shape of a head: the names of its fields, in order and as they are spelt.

Every head of real traffic has another request id in it, but few shapes come along: each program sends its own, over and
over.  What names alone decide is decided once for a shape: that they are names, that none is repeated that must not be,
which lines are not passed on, where each field stands.  A shape that is seen again and again gets a regular expression
of its own, which in one call proves that a head has that shape, that no byte in it is illegal and that its framing is
spelt in the plain way, and hands over the few values that matter.  Whatever it does not match, for whatever cause, is
read line by line, which is slower and the only judge.

Shapes hold names, never values, so there is no secret in them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from meshproxy.wire.h1.faults import Malformed, Reason
from meshproxy.wire.h1.grammar import CRLF, OWS, TEXT, token

MOST_SHAPES = 256
LONGEST_SHAPE = 2048
"""Bytes of names: a shape beyond this is worked out each time."""
COMPILED_AT = 64
"""How often a shape is seen before it gets an expression: compiling takes as long as reading a hundred heads."""
MOST_COMPILED = 32
"""Fields in an expression: longer ones would take milliseconds to compile."""
MOST_LIKELY = 4
"""How many expressions are tried before a head is read line by line; one that does not match costs a tenth of that."""
MOST_CHOICES = 8

sounds_secret = re.compile(rb"auth|cookie|token|secret|passw|credential|session|signature|key").search
"""Whether the value of a field of this name, in lower case, must not be remembered."""

_START_GROUPS = 3
"""The first run of lines that go on, which begins with the first line, and the two parts of that."""

_CAPTURED = {
    b"host": rb": ([!-~]++)",
    b"content-length": rb": (0|[1-9][0-9]{0,17})",
    b"transfer-encoding": rb": chunked",
    b"connection": rb": ([!-~]++)",
}
"""How the fields that decide something are spelt when there is nothing to think about."""

COOKIES = frozenset((b"cookie", b"set-cookie"))
"""Fields of which each stands for itself."""

_UNUSUAL = frozenset((b"expect", b"upgrade"))
"""Rare fields that decide something: their shapes get no expression."""


Match = Callable[[bytes], re.Match[bytes] | None]
Pick = Callable[[Sequence[bytes]], Sequence[bytes]]


def _no_match(_: bytes) -> None:
    """The expression of a shape that has none."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What differs between the shapes of requests and of responses."""

    first_line: bytes
    """An expression for the plain first line of HTTP/1.1, with two groups."""
    dropped: frozenset[bytes]
    needs_host: bool
    underscores: bool


class Shape:
    __slots__ = (
        "_choices", "_dropped", "chunked", "connection", "counted", "host", "length", "marks", "match", "names",
        "pick", "positions", "repeats", "secret", "seen",
    )

    def __init__(self, names: tuple[bytes, ...], kind: Kind) -> None:
        self.names = names
        self.positions: dict[bytes, tuple[int, ...]] = {}
        """Where the fields of a name stand, by its lower case."""
        for index, name in enumerate(names):
            refuse_bad_name(name)
            if b"_" in name and not kind.underscores:
                raise Malformed(Reason.UNDERSCORE_IN_NAME)
            lower = name.lower()
            self.positions[lower] = (*self.positions.get(lower, ()), index)
        self._refuse_contradictions()
        self.marks = {
            name: b"\r\n%b:" % names[places[0]] for name, places in self.positions.items() if len(places) == 1
        }
        """Where the line of a field begins, of those that are there once."""
        self._dropped = kind.dropped
        self._choices: dict[object, tuple[int, ...]] = {}
        self.counted: dict[frozenset[bytes], int] = {}
        """What `count` has said, for those who ask of every head."""
        self.repeats = any(len(places) > 1 and name not in COOKIES for name, places in self.positions.items())
        """Whether a field is there twice that is no cookie."""
        self.secret = any(sounds_secret(name) for name in self.positions)
        """Whether a name sounds as if its value must not be remembered."""
        self.seen = 0

        # The expression, and at which of its groups the values and the lines to pass on stand; 0 is nowhere
        self.match: Match = _no_match
        self.host = self.length = self.connection = 0
        self.chunked = b"transfer-encoding" in self.positions
        self.pick: Pick | None = None
        """Takes the runs of lines to pass on out of the groups, the first of them with the first line, where there are
        several."""

    def _refuse_contradictions(self) -> None:
        host, length, coding = (
            len(self.positions.get(name, ())) for name in (b"host", b"content-length", b"transfer-encoding")
        )
        if host > 1:
            raise Malformed(Reason.REPEATED_HOST)
        if length and coding:
            raise Malformed(Reason.LENGTH_AND_CODING)
        if length > 1:
            raise Malformed(Reason.REPEATED_LENGTH)
        if coding > 1:
            raise Malformed(Reason.BAD_CODING)

    def value(self, lines: list[bytes], name: bytes) -> bytes | None:
        """All values of a field, as one list; None if there is no such field."""
        found = self.positions.get(name)
        if found is None:
            return None
        skip = len(name) + 1
        if len(found) == 1:
            return lines[found[0]][skip:].strip(OWS)
        return b", ".join(lines[index][skip:].strip(OWS) for index in found)

    def has_any(self, names: frozenset[bytes]) -> bool:
        """Whether one of these fields, in lower case, is there."""
        return self.count(names) > 0

    def count(self, names: frozenset[bytes]) -> int:
        """How many lines are of these fields."""
        known = self.counted.get(names)
        if known is None:
            known = sum(len(self.positions[name]) for name in names & self.positions.keys())
            if len(self.counted) < MOST_CHOICES:
                self.counted[names] = known
        return known

    def keep(self, lines: list[bytes], without: frozenset[bytes], *, last: bool = False) -> bytes:
        """The block of lines that are passed on: all but those for one hop and those named.

        `last`: and of repeated fields but cookies only the last.
        """
        asked = (without,) if last else without
        choice = self._choices.get(asked)
        if choice is None:
            dropped = {index for name in self._dropped | without for index in self.positions.get(name, ())}
            if last:
                for name in self.positions.keys() - COOKIES:
                    dropped.update(self.positions[name][:-1])
            choice = tuple(index for index in range(len(self.names)) if index not in dropped)
            if len(self._choices) < MOST_CHOICES:
                self._choices[asked] = choice
        if len(choice) < len(lines):
            lines = [lines[index] for index in choice]
        return CRLF.join(lines) + CRLF if lines else b""

    def before(self, others: tuple[Shape, ...]) -> tuple[Shape, ...]:
        """The shapes to try first, with this one among them."""
        return others if self in others else (self, *others[: MOST_LIKELY - 1])

    def compile(self, kind: Kind) -> None:
        """Make the expression, if fields have their usual form: each that decides something at most once."""
        decisive = [name for name in _CAPTURED if name in self.positions]
        if not _UNUSUAL.isdisjoint(self.positions) or any(len(self.positions[name]) > 1 for name in decisive):
            return
        if (kind.needs_host and b"host" not in self.positions) or len(self.names) > MOST_COMPILED:
            return
        parts, groups, runs, in_run = [b"(" + kind.first_line], _START_GROUPS, [], True
        at = {}
        for name in self.names:
            lower = name.lower()
            kept = lower not in self._dropped
            if kept and not in_run:
                runs.append(groups)
                groups += 1
            if kept != in_run:
                parts.append(b"(" if kept else b")")
                in_run = kept
            value = _CAPTURED.get(lower, rb":%b*+" % TEXT)
            if b"(" in value:
                at[lower] = groups
                groups += 1
            parts.append(re.escape(name) + value + rb"\r\n")
        if in_run:
            parts.append(b")")
        self.host, self.length = at.get(b"host", 0), at.get(b"content-length", 0)
        self.connection = at.get(b"connection", 0)
        self.pick = itemgetter(0, *runs) if runs else None
        self.match = re.compile(b"".join(parts) + rb"\r\n").match


def names_of(lines: list[bytes]) -> tuple[bytes, ...]:
    """What stands before the colon of each line, whatever it is."""
    names = tuple([name for name, colon, _ in [line.partition(b":") for line in lines] if colon])
    if len(names) != len(lines):
        line = next(line for line in lines if b":" not in line)
        raise Malformed(Reason.OBS_FOLD if line.startswith((b" ", b"\t")) else Reason.NO_COLON)
    return names


def refuse_bad_name(name: bytes) -> None:
    if token(name):
        return
    if name.startswith((b" ", b"\t")):
        raise Malformed(Reason.OBS_FOLD)
    raise Malformed(Reason.SPACE_BEFORE_COLON if token(name.rstrip(OWS)) else Reason.BAD_FIELD_NAME)


class Shapes:
    """The shapes that were seen.  Emptied when full: who sends ever new ones slows down, for the most part, himself."""

    def __init__(self, kind: Kind, most_fields: int) -> None:
        self._kind = kind
        self._most_fields = most_fields
        self._known: dict[tuple[bytes, ...], Shape] = {}
        self.latest: tuple[Shape, ...] = ()
        """What a new connection is likely to send."""

    def __len__(self) -> int:
        return len(self._known)

    def of(self, lines: list[bytes]) -> Shape:
        if len(lines) > self._most_fields:
            raise Malformed(Reason.TOO_MANY_FIELDS)
        names = names_of(lines)
        shape = self._known.get(names)
        if shape is None:
            shape = Shape(names, self._kind)
            if sum(map(len, names)) > LONGEST_SHAPE:
                return shape
            if len(self._known) >= MOST_SHAPES:
                self._known.clear()
            self._known[names] = shape
        shape.seen += 1
        if shape.seen == COMPILED_AT:
            shape.compile(self._kind)
        self.latest = shape.before(self.latest)
        return shape


def respell(shape: Shape, lines: list[bytes], name: bytes, value: bytes) -> None:
    """Write a field that frames or routes in the one way that everybody reads alike."""
    index = shape.positions[name][0]
    line = b"%b: %b" % (shape.names[index], value)
    if lines[index] != line:
        lines[index] = line
