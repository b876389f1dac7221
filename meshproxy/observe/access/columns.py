"""What stands in a line, and for how many lines it stays the same: on that depends how often it is written.

    Alike(lambda record: record.handling.route)                 # in all that was decided and ended in one way
    Alike(lambda record: record.origin.remote, By.CONNECTION)
    Told(attrgetter("target"))                                  # with the head of a request, which may come again
    Number("sent", lambda record: record.sent)                  # in each line another
    Read(lambda record: ...)

Each can be written by itself, by its `run`.  How a line of them is written with less is known by `layout` and `line`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal

from meshproxy.observe.access.moment import NO_SECOND, Turn
from meshproxy.observe.access.pen import Pen, Value
from meshproxy.observe.record import Asked, Record

Run = Callable[[Record], bytes]
"""What writes a value, or a line."""


class By(Enum):
    """What those lines have in common in which something is the same."""

    HEAD = auto()
    PLACE = auto()
    """What was decided, who was asked, and what came of it."""
    CONNECTION = auto()


@dataclass(frozen=True, slots=True)
class Alike:
    of: Callable[[Record], Value]
    by: By = By.PLACE

    def run(self, pen: Pen) -> Run:
        return _written(self.of, pen)


@dataclass(frozen=True, slots=True)
class Told:
    """Bytes that a peer has chosen, or nothing."""

    of: Callable[[Asked], bytes | None]
    field: bytes = b""
    """The name of the field that it is, if it is one."""
    by: By = By.HEAD

    def run(self, pen: Pen) -> Run:
        of = self.of
        return _written(lambda record: of(record.request), pen)


@dataclass(frozen=True, slots=True)
class Number:
    """One of those that nearly every line wants."""

    name: Literal["received", "sent", "duration", "took"]
    of: Callable[[Record], int | None]

    def run(self, pen: Pen) -> Run:
        return _written(self.of, pen)


@dataclass(frozen=True, slots=True)
class Began:
    """When it began."""

    by: Callable[[Pen], Turn]

    def run(self, pen: Pen) -> Run:
        turn, second = self.by(pen), NO_SECOND

        def run(record: Record) -> bytes:
            nonlocal second
            started = record.started
            if not second.since <= started < second.until:
                second = turn(started)
            return second[int((started - second.since) * second.scale)]

        return run


@dataclass(frozen=True, slots=True)
class Id:
    """By which the request is known."""

    def run(self, pen: Pen) -> Run:
        return _written(lambda record: record.id, pen)


@dataclass(frozen=True, slots=True)
class Traced:
    """Something of a trace that is recorded, as few are."""

    of: Callable[[Any], Value]

    def run(self, pen: Pen) -> Run:
        of = self.of
        return _written(lambda record: of(record.trace) if record.trace is not None else None, pen)


@dataclass(frozen=True, slots=True)
class Read:
    """Anything else."""

    of: Callable[[Record], Value]

    def run(self, pen: Pen) -> Run:
        return _written(self.of, pen)


def _written(of: Callable[[Record], Value], pen: Pen) -> Run:
    write = pen.write
    return lambda record: write(of(record))


Column = Alike | Told | Number | Began | Id | Traced | Read


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a line."""

    column: Column
    pen: Pen


Piece = bytes | Slot
"""Words, or a place for a value."""


def written(pieces: Sequence[Piece]) -> Run:
    """What writes all of them, one after the other."""
    runs = [_said(piece) if isinstance(piece, bytes) else piece.column.run(piece.pen) for piece in pieces]
    return lambda record: b"".join([run(record) for run in runs])


def _said(words: bytes) -> Run:
    return lambda _: words
