"""Names that clients say: each is asked for once at a time, and remembered for a while, if there is room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.discovery.dns import Remembered, ResolveError, remembered
from tests.conftest import FakeClock
from tests.names import TTL, Names

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Coroutine[Any, Any, None]], None]


def asking(names: Names, clock: FakeClock) -> Remembered:
    async def resolver() -> Names:
        return names

    return Remembered(asyncio.get_running_loop(), clock, resolver)


def test_a_name_is_remembered_for_as_long_as_it_says(run: Run, clock: FakeClock) -> None:
    async def scenario() -> None:
        names = Names()
        names.have("books.shop", "10.0.0.1")
        names.fail("nobody.shop", "no such name")
        found = asking(names, clock)
        assert await asyncio.gather(*[found("books.shop") for _ in range(5)]) == [("10.0.0.1",)] * 5
        for _ in range(2):
            with pytest.raises(ResolveError, match="no such name"):
                await found("nobody.shop")
        assert names.asked == ["books.shop", "nobody.shop"]
        names.have("books.shop", "10.0.0.2")
        assert await found("books.shop") == ("10.0.0.1",)
        clock.advance(TTL)
        assert await found("books.shop") == ("10.0.0.2",)

    run(scenario())


def test_so_many_and_no_more(run: Run, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        monkeypatch.setattr(remembered, "MOST_ASKED", 2)
        monkeypatch.setattr(remembered, "MOST_REMEMBERED", 1)
        names = Names()
        found = asking(names, clock)
        waiting = [asyncio.create_task(found(name)) for name in ("a.silent", "b.silent")]
        await asyncio.sleep(0)
        with pytest.raises(ResolveError, match="too many"):
            await found("c.silent")
        for task in waiting:
            task.cancel()
        other = asking(names, clock)
        names.have("a.shop", "10.0.0.1")
        names.have("b.shop", "10.0.0.2")
        for name in ("a.shop", "b.shop", "a.shop"):
            await other(name)
        assert names.asked.count("a.shop") == 2

    run(scenario())
