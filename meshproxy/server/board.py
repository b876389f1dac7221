"""Memory that all workers see: how many connections each has, how overloaded it is, what limits by a value remember."""

from __future__ import annotations

import mmap
from collections.abc import MutableSequence
from typing import cast

from meshproxy.relay.live import STAGE_AT

ABSENT = 1 << 40
"""In the place of a worker that is not there: more than any has, so that nobody looks for help from it."""
CONNECTIONS = (1 << STAGE_AT) - 1
CELL = 8
SLACK = 4
"""How many more are no reason to pass one on, and so is one part in so many.  To pass a connection
costs about as much as to open one, and the kernel spreads well where there are many."""


def shared_memory(size: int) -> memoryview:
    """To be made before the workers are forked.  What nobody has touched takes no room."""
    return memoryview(mmap.mmap(-1, size))


def shared_board(workers: int) -> MutableSequence[int]:
    """Each writes its own, and adds what it passes on to another's."""
    board = cast(MutableSequence[int], shared_memory(workers * CELL).cast("q"))
    for place in range(workers):
        board[place] = ABSENT
    return board


def present(shown: int) -> int:
    """How many connections that are.  In the place of an absent one it may be more than ABSENT: a neighbour that saw it
    a moment before has added what it passed on."""
    return shown & CONNECTIONS if shown < ABSENT else 0


def stage(shown: int) -> int:
    """Of overload."""
    return shown >> STAGE_AT if shown < ABSENT else 0


def better_off(board: MutableSequence[int], number: int) -> int | None:
    """The worker that has so many fewer that it is worth the way to it, or that is less overloaded."""
    counts = list(board)  # read once: the others write meanwhile
    least = min(counts)
    # A stage more is more than any number of connections.
    if counts[number] - least <= SLACK + (least & CONNECTIONS) // SLACK:
        return None
    return counts.index(least)
