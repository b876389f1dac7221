"""The collector of cycles, while much is made.

It would look at each of a hundred thousand parts again and again, and traffic waits while it looks: 200 ms for a table
of 10,000 rules.  No part of an answer, or of a configuration, is in a cycle.

    with at_rest():
        ...                         # what is made is given away
    with settling(loop):
        ...                         # what is made stays
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

EVERY = 0.01
_YOUNG = 1
"""The generation up to which it looks: at what has just been made, and not at each connection."""

_resting = 0
_worked = True
"""Whether it did before."""


@contextmanager
def at_rest() -> Iterator[None]:
    """Until the last of those is done that overlap."""
    global _resting, _worked
    if not _resting:
        _worked = gc.isenabled()
        gc.disable()
    _resting += 1
    try:
        yield
    finally:
        _resting -= 1
        if not _resting and _worked:
            gc.enable()


@contextmanager
def settling(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """While it rests, what has been made in the last few milliseconds is settled again and again: each time little."""
    again = _Again(loop)
    with at_rest():
        again.soon()
        try:
            yield
        finally:
            again.timer.cancel()


class _Again:
    """A circle would be settled too, so this is none when its timer is over."""

    timer: asyncio.TimerHandle

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def soon(self) -> None:
        self.timer = self._loop.call_later(EVERY, self._now)

    def _now(self) -> None:
        settle()
        self.soon()


def settle() -> None:
    """What there is need not be looked at again: it holds no cycles, and what leaves is freed by counting alone.

    What others have left in circles lately, as an encoder of JSON does, would stay too, and so goes first.
    """
    gc.collect(_YOUNG)
    gc.freeze()


def give_back() -> None:
    """What has left goes back to the system, after much was made and little of it stays: the allocator of C keeps it
    for later.  Not every one can be asked."""
    trim = _trimmer()
    if trim is not None:
        trim(0)


@cache
def _trimmer() -> Callable[[int], object] | None:
    # Half a megabyte that a process with a small configuration does not need.
    import ctypes

    return getattr(ctypes.CDLL(None), "malloc_trim", None)
