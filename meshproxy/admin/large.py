"""Answers that are large are made in a thread, and without the collector of cycles.

It would look at each of their hundred thousand parts again and again, and traffic waits while it looks: 60 ms of the
400 that a table of 20,000 rules takes.  No part of an answer is in a cycle.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


class Workshop:
    def __init__(self) -> None:
        self._at_work = 0

    async def make(self, answer: Callable[[], Made]) -> Made:
        if not self._at_work:
            gc.disable()
        self._at_work += 1
        try:
            return await asyncio.to_thread(answer)
        finally:
            self._at_work -= 1
            if not self._at_work:
                gc.enable()
