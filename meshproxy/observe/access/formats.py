"""A format, compiled: from what an operator said to a function that makes a line of a record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from meshproxy.model.access_log import Format
from meshproxy.model.log_format import LogObject, Operator
from meshproxy.model.log_format import pieces as taken_apart
from meshproxy.observe.access.columns import Piece, Slot, written
from meshproxy.observe.access.line import compose
from meshproxy.observe.access.operators import Facts, column
from meshproxy.observe.access.pen import GROWTH, Pen
from meshproxy.observe.record import Record

LONGEST_VALUE = 1024
"""Bytes of a value that are written, before they are escaped."""
LONGEST_LINE = 16 * 1024
SHORTEST_VALUE = 16
_AROUND = 24
"""Bytes around a value that is cut: what says how much is not there, and quotes."""

Line = Callable[[Record], bytes]


def compile_format(said: Format, facts: Facts) -> Line:
    """What makes a line, with its end."""
    pieces = list(_of(said, facts, LONGEST_VALUE))
    shorter = written(list(_of(said, facts, _longest_in(pieces))))
    return compose(pieces, LONGEST_LINE, shorter)


def _longest_in(said: list[Piece]) -> int:
    """How long each value may be so that all of them are no longer than a line, whatever is in them."""
    words = sum(len(piece) for piece in said if isinstance(piece, bytes))
    values = sum(isinstance(piece, Slot) for piece in said)
    return max(((LONGEST_LINE - words) // max(values, 1) - _AROUND) // GROWTH, SHORTEST_VALUE)


def _of(said: Format, facts: Facts, longest: int) -> Iterator[Piece]:
    if said.fields is None:
        yield from _text(said.line, facts, Pen.in_text(longest))
        yield b"\n"
        return
    yield from _object(said.fields, facts, longest)
    yield b"\n"


def _text(text: str, facts: Facts, pen: Pen) -> Iterator[Piece]:
    for piece in taken_apart(text):
        yield piece.encode("ascii") if isinstance(piece, str) else Slot(column(piece, facts), pen)


def _object(fields: Iterable[tuple[str, str | LogObject]], facts: Facts, longest: int) -> Iterator[Piece]:
    for index, (key, value) in enumerate(fields):
        yield b"%b%b:" % (b"," if index else b"{", json.dumps(key).encode("ascii"))
        if isinstance(value, str):
            yield from _value(value, facts, longest)
        else:
            yield from _object(value.fields, facts, longest)
    yield b"}"


def _value(text: str, facts: Facts, longest: int) -> Iterator[Piece]:
    """An operator alone is a string, a number or null; what has words around it is a string."""
    match taken_apart(text):
        case [Operator() as only]:
            yield Slot(column(only, facts), Pen.as_json(longest))
        case many:
            yield b'"'
            for piece in many:
                if isinstance(piece, str):
                    yield json.dumps(piece)[1:-1].encode("ascii")
                else:
                    yield Slot(column(piece, facts), Pen.in_json(longest))
            yield b'"'


