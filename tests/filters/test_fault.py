"""Faults made on purpose: how many, for how long, and how they are counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from meshproxy.core.filter import Failure
from meshproxy.filters import fault
from meshproxy.model import decode
from meshproxy.model.filters import Fault
from tests.filters.asking import answer, ask, get
from tests.relay.conversation import answered, config, head_of, heard

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def faulty(said: Any, *endpoints: str) -> dict[str, Any]:
    return config(*endpoints, rules=[{"filters": [{"fault": said}], "cluster": "up"}])


def test_a_share_of_requests_fails(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(faulty({"abort": {"status": 418}, "headers": {"x-fault": {"exact": "1"}}}))
        client = await w.connect()
        assert [(await ask(client, get("/a", f"X-Fault: {value}"))).status for value in (1, 2)] == [418, 503]
        assert answered(w) == {"418 FI": 1, "503 UH": 1}
        await w.apply(faulty({"abort": {"share": 0}, "delay": {"duration": "1s", "share": 0}}))
        assert [(await ask(await w.connect(), get())).status for _ in range(20)] == [503] * 20
        assert answered(w) == {"418 FI": 1, "503 UH": 21}

    run(scenario())


def test_a_delay_is_waited_for_and_holds_up_nobody_else(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(faulty({"delay": {"duration": "20s"}, "headers": {"x-slow": {"present": True}}}, up.address))
        slow, quick = await w.connect(), await w.connect()
        before = w.clock.pending
        await slow.send(get("/a", "X-Slow: 1"))
        await w.until(lambda: w.clock.pending > before)
        await quick.send(get())
        server = await up.accept()
        assert await head_of(server) == get()
        await server.send(OK)
        await heard(quick, OK)
        w.clock.advance(19.9)
        await quick.send(get("/again"))
        assert await head_of(server) == get("/again"), "not the other one"
        await server.send(OK)
        await heard(quick, OK)
        w.clock.advance(0.1)
        assert await head_of(server) == get("/a", "X-Slow: 1")
        await server.send(OK)
        await heard(slow, OK)
        assert answered(w) == {"200": 2, "200 DI": 1}
        assert w.clock.pending == before

    run(scenario())


def test_both_are_counted_and_a_client_that_leaves_leaves_no_timer(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(faulty({"delay": {"duration": "5s"}, "abort": {"status": 500}}))
        client, gone = await w.connect(), await w.connect()
        before = w.clock.pending
        await client.send(get())
        await gone.send(get())
        await w.until(lambda: w.clock.pending == before + 2)
        gone.close()
        await w.until(lambda: answered(w) == {"499 DI,DC": 1})
        await w.until(lambda: w.clock.pending == before + 1)
        w.clock.advance(5)
        assert (await answer(client)).status == 500
        assert answered(w) == {"499 DI,DC": 1, "500 DI,FI": 1}

    run(scenario())


def test_who_is_held_up_for_longer_than_a_request_may_take(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        said = faulty({"delay": {"duration": "30s"}})
        said["routes"]["web"][0]["timeouts"] = {"request": "2s"}
        await w.apply(said)
        client = await w.connect()
        await client.send(get())
        await w.until(lambda: len(asyncio.all_tasks()) > 1)
        w.clock.advance(2)
        assert (await answer(client)).status == 504
        assert answered(w) == {"504 DI,UT": 1}

    run(scenario())


class Asked:
    """As much of an exchange as the filter touches."""

    class request:
        method = b"GET"

    def __init__(self) -> None:
        self.notes = type("Notes", (), {"flags": ""})()


def test_shares_are_what_they_say() -> None:
    said: Fault = decode(Fault, {"delay": {"duration": "1s", "share": 0.2}, "abort": {"share": 0.05}})

    async def pause(seconds: float) -> None:
        assert seconds == 1

    hook: Any = fault.build(said, pause, Random(7).random).request
    delayed = aborted = 0
    for _ in range(20_000):
        x = Asked()
        found = hook(x)
        if x.notes.flags:
            delayed += 1
            try:
                found.send(None)
            except StopIteration as end:
                found = end.value
        aborted += isinstance(found, Failure)
    # Within five standard deviations
    assert abs(delayed - 4000) < 5 * (20_000 * 0.2 * 0.8) ** 0.5
    assert abs(aborted - 1000) < 5 * (20_000 * 0.05 * 0.95) ** 0.5
