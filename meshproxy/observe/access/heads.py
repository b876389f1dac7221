"""Parts of lines that come from the head of a request: nothing in them ends a line, hides in it, or makes it long.

    told = heads(mine, [[b'{"path":', Slot(path, pen)], [b',"user_agent":', Slot(agent, pen)]])
    told(record)        # (mine, b'{"path":"/books"', b',"user_agent":"curl/8.5"'), which `record.request.told` is now

Which fields there are the shape of a head says, and so which values are to be taken.  If nothing in them has to be
escaped, as hardly ever, they are put into their places as they came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meshproxy.observe.access.columns import Piece, Slot, Told, written
from meshproxy.observe.access.pen import PLAIN
from meshproxy.observe.record import Asked, Record

MOST_SHAPES = 256
"""That are remembered: then all are forgotten."""
BETWEEN = b"\0"
"""Two parts in a template."""

Parts = tuple[object, ...]
"""After whose they are."""
Take = Callable[[Asked], bytes | None]


def heads(mine: object, made: Sequence[Sequence[Piece]]) -> Callable[[Record], Parts]:
    runs = [written(pieces) for pieces in made]
    longest = min([piece.pen.longest for pieces in made for piece in pieces if isinstance(piece, Slot)], default=0)
    plans: dict[object, tuple[list[Take], bytes]] = {}

    def planned(request: Asked) -> tuple[list[Take], bytes]:
        if len(plans) >= MOST_SHAPES:
            plans.clear()
        plan = plans[request.shape] = _plan(request, made)
        return plan

    def told(record: Record) -> Parts:
        request = record.request
        takes, template = plans.get(request.shape) or planned(request)
        values: Any = tuple([take(request) for take in takes])
        if all(values):
            whole = b"".join(values)
            if len(whole) <= longest and not whole.translate(None, PLAIN):
                request.told = parts = (mine, *(template % values).split(BETWEEN))
                return parts
        request.told = parts = (mine, *[run(record) for run in runs])
        return parts

    return told


def _plan(request: Asked, made: Sequence[Sequence[Piece]]) -> tuple[list[Take], bytes]:
    """What is taken of a head that has these fields, and where it is put."""
    takes: list[Take] = []
    templates = []
    for pieces in made:
        template = b""
        for piece in pieces:
            if isinstance(piece, bytes):
                template += piece.replace(b"%", b"%%")
                continue
            column = piece.column
            assert isinstance(column, Told)
            if column.field and request.peek(column.field) is None:
                template += piece.pen.absent
            else:
                takes.append(column.of)
                template += piece.pen.frame
        templates.append(template)
    return takes, BETWEEN.join(templates)
