"""A line: look-ups for the parts that others have had as well, texts of numbers that are there already, one `join`.

    line = compose(pieces, most, shorter)
    line(record)        # b'{"start_time":"2023-11-14T22:13:20.250Z","method":"GET",...}\\n'
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from meshproxy.observe.access.columns import By, Piece, Run, written
from meshproxy.observe.access.heads import heads
from meshproxy.observe.access.layout import Layout, of_any, of_most
from meshproxy.observe.access.moment import NO_SECOND
from meshproxy.observe.access.pen import Pen
from meshproxy.observe.record import Record

MOST_PLACES = 1024
"""Combinations that are remembered: then all are forgotten."""
MOST_NUMBERS = 1024
"""Those that come first are remembered."""
MOST_LOGS = 16
"""That leave something with a connection, those before a reload among them."""
MILLISECOND = 0.001
ID_SIZE = 32

Parts = tuple[bytes, ...]


def compose(pieces: Sequence[Piece], most: int, shorter: Run) -> Run:
    """A line of more bytes than `most` is made by `shorter` instead."""
    of_others = _line(Layout(of_any(pieces)), most, shorter, None)
    return _line(Layout(of_most(pieces)), most, shorter, of_others)


def _line(layout: Layout, most: int, shorter: Run, of_others: Run | None) -> Run:
    """`of_others`: where this is of records with an id that we have drawn, and without a trace."""
    mine = object()
    told = heads(mine, _filled(layout.alike[By.HEAD], 2))
    placed, connected = [[written(part) for part in _filled(layout.alike[by], 1)] for by in (By.PLACE, By.CONNECTION)]
    places: dict[tuple[Any, ...], Parts] = {}
    received, sent, durations, times = [
        _Numbers(layout.numbers.get(name)) for name in ("received", "sent", "duration", "took")
    ]
    words, runs, order = tuple(layout.words), layout.runs, layout.order
    pick = itemgetter(*order, -1) if order is not None else None
    turn, second = layout.turn, NO_SECOND
    since = until = scale = 0.0

    def of_place(key: tuple[Any, ...], record: Record) -> Parts:
        if len(places) >= MOST_PLACES:
            places.clear()
        places[key] = parts = tuple([run(record) for run in placed])
        return parts

    def of_connection(record: Record) -> Parts:
        held = record.origin.told
        if len(held) >= MOST_LOGS:
            held.clear()
        held[mine] = parts = tuple([run(record) for run in connected])
        return parts

    def line(record: Record) -> bytes:
        nonlocal second, since, until, scale
        drawn = record.drawn
        if of_others is not None and (not drawn or record.trace is not None):
            return of_others(record)
        head = record.request.told
        if head is None or head[0] is not mine:
            head = told(record)
        connection = record.origin.told.get(mine)
        if connection is None:
            connection = of_connection(record)
        key: tuple[Any, ...] = (
            record.handling, record.endpoint, record.status, record.protocol, record.response is None
        )  # fmt: skip
        if record.flags or record.attempts:
            key += (record.flags, record.attempts, record.failure)
        place = places.get(key)
        if place is None:
            place = of_place(key, record)
        started, seconds, answered = record.started, record.seconds, record.answered
        if not since <= started < until:
            second = turn(started)
            since, until, scale = second.since, second.until, second.scale
        took = answered - record.asked
        row = (
            second[int((started - since) * scale)],
            head[1],
            drawn[:ID_SIZE],
            place[0],
            received[record.received],
            sent[record.sent],
            durations[int(seconds * 1000) if seconds >= MILLISECOND else 0],
            times[(int(took * 1000) if took >= MILLISECOND else 0) if answered else None],
            head[2],
            connection[0],
        )
        if pick is not None:
            row = pick((*row, *head[3:], *place[1:], *connection[1:], *words, *[run(record) for run in runs], b""))
        text = b"".join(row)
        return text if len(text) <= most else shorter(record)

    return line


def _filled(made: list[list[Piece]], least: int) -> list[list[Piece]]:
    return made + [[]] * (least - len(made))


class _Numbers(dict[int | None, bytes]):
    """Texts, with the words before them; None: for what is absent."""

    def __init__(self, pen: Pen | None) -> None:
        self._write = pen.write if pen is not None else _nothing

    def __missing__(self, number: int | None) -> bytes:
        text = self._write(number)
        if len(self) < MOST_NUMBERS:
            self[number] = text
        return text


def _nothing(_: int | None) -> bytes:
    """Of a number that is not wanted."""
    return b""
