"""Of which parts a line is put together, as few as there can be, and from where each of them comes.

    {"method":%REQ(:METHOD)%,"request_id":%REQ(X-REQUEST-ID)%,"status":%RESPONSE_CODE%,"sent":%BYTES_SENT%}

    the head        {"method":"GET","request_id":"
    the id          4f1c5b2e2c3e4c1a9d0a0123456789ab
    the place       ","status":200
    a number        ,"sent":1234
    words           }

Neighbours that stay the same in the same lines are one part, with the words around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from meshproxy.observe.access.columns import (
    Alike,
    Began,
    By,
    Id,
    Number,
    Piece,
    Read,
    Run,
    Slot,
    Told,
    Traced,
)
from meshproxy.observe.access.moment import ETERNITY, Turn
from meshproxy.observe.access.pen import Pen

WORDS, RUN = "words", "run"
"""What is always the same, where there is nothing that it could be a part of; and what only a function knows."""
Source = tuple[By | str, int]
"""From where a part comes, and which one of those it is."""

ROW: tuple[Source, ...] = (
    ("began", 0), (By.HEAD, 0), ("id", 0), (By.PLACE, 0), ("received", 0), ("sent", 0), ("duration", 0), ("took", 0),
    (By.HEAD, 1), (By.CONNECTION, 0),
)  # fmt: skip
"""What is taken of every record, whether its line wants it or not; in the order of the format that is the default."""


class Layout:
    def __init__(self, pieces: Iterable[Piece]) -> None:
        self.alike: dict[By, list[list[Piece]]] = {by: [] for by in By}
        """What those parts are made of that many lines have in common."""
        self.turn: Turn = lambda _: ETERNITY
        """What writes when it began."""
        self.numbers: dict[str, Pen] = {}
        """What writes numbers, by their names."""
        self.words: list[bytes] = []
        self.runs: list[Run] = []
        self._sources: list[Source] = []
        """Of the parts of a line, in their order."""
        self._before = b""
        """Words for the next part."""
        for piece in pieces:
            if isinstance(piece, Slot):
                self._put(piece)
            else:
                self._say(piece)
        while self._before or not self._sources:
            self._say_alone()

    @property
    def order(self) -> Sequence[int] | None:
        """Where the parts stand in the row, if it goes on with all others there are; None: they are the row."""
        row = [*ROW, *[(by, place) for by in By for place in range(len(self.alike[by])) if (by, place) not in ROW]]
        row += [(WORDS, place) for place in range(len(self.words))]
        row += [(RUN, place) for place in range(len(self.runs))]
        order = [row.index(source) for source in self._sources]
        return None if order == sorted(order) and len(row) == len(ROW) else order

    def _say(self, words: bytes) -> None:
        last, _ = self._sources[-1] if self._sources else (WORDS, 0)
        if isinstance(last, By):
            self.alike[last][-1].append(words)
        else:
            self._before += words

    def _say_alone(self) -> None:
        self._sources.append((WORDS, len(self.words)))
        self.words.append(self._before)
        self._before = b""

    def _put(self, slot: Slot) -> None:
        column = slot.column
        if isinstance(column, Alike | Told):
            self._join(column.by, slot)
        elif isinstance(column, Id):
            if self._before:
                self._say_alone()
            self._sources.append(("id", 0))
        else:
            self._write(column, slot.pen.after(self._before))
            self._before = b""

    def _join(self, by: By, slot: Slot) -> None:
        made = self.alike[by]
        if not self._sources or self._sources[-1][0] is not by:
            self._sources.append((by, len(made)))
            made.append([self._before])
            self._before = b""
        made[-1].append(slot)

    def _write(self, column: Number | Began | Traced | Read, pen: Pen) -> None:
        if isinstance(column, Number) and column.name not in self.numbers:
            self.numbers[column.name] = pen
            self._sources.append((column.name, 0))
        elif isinstance(column, Began) and ("began", 0) not in self._sources:
            self.turn = column.by(pen)
            self._sources.append(("began", 0))
        else:
            self._sources.append((RUN, len(self.runs)))
            self.runs.append(column.run(pen))


def of_most(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Of records with an id that we have drawn, and without a trace."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
        elif isinstance(piece.column, Id):
            before, after = piece.pen.frame.split(b"%b")
            yield from (before, piece, after)
        elif isinstance(piece.column, Traced):
            yield piece.pen.absent
        else:
            yield piece


def of_any(pieces: Iterable[Piece]) -> Iterator[Piece]:
    for piece in pieces:
        if isinstance(piece, Slot) and isinstance(piece.column, Id):
            yield Slot(Read(lambda record: record.id), piece.pen)
        else:
            yield piece
