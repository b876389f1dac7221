"""Large answers are made in a thread while the collector rests."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.admin.large import Workshop

Run = Callable[[Coroutine[Any, Any, None]], None]


def test_the_collector_rests_until_the_last_is_made(run: Run) -> None:
    async def scenario() -> None:
        workshop, go_on = Workshop(), threading.Event()
        first = asyncio.ensure_future(workshop.make(lambda: (go_on.wait(30), threading.current_thread())[1]))
        assert await workshop.make(gc.isenabled) is False
        assert not gc.isenabled(), "the first is still at it"
        go_on.set()
        assert await first is not threading.current_thread()
        assert gc.isenabled()
        with pytest.raises(ZeroDivisionError):
            await workshop.make(lambda: 1 // 0)
        assert gc.isenabled()

    run(scenario())
