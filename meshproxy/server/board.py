"""How many connections each worker has, in memory that all of them see."""

from __future__ import annotations

import mmap
from collections.abc import MutableSequence
from typing import cast

ABSENT = 1 << 40
"""In the place of a worker that is not there: more than any has, so that nobody looks for help from it."""
CELL = 8
SLACK = 4
"""To pass a connection costs about as much as to open one.  The kernel spreads well where there are many, so a few more
than others, or a quarter more, is no reason."""


def shared_board(workers: int) -> MutableSequence[int]:
    """To be made before the workers are forked.  Each writes its own number and no other."""
    memory = memoryview(mmap.mmap(-1, workers * CELL)).cast("q")
    board = cast(MutableSequence[int], memory)
    for place in range(workers):
        board[place] = ABSENT
    return board


def too_many(board: MutableSequence[int], number: int) -> bool:
    """Whether another worker has so many fewer that it is worth the way to it."""
    least = min(board)
    return board[number] - least > SLACK + least // SLACK
