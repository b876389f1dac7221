"""Conversations with filters between: what they change, answer, delay and break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.errors import Invalid
from tests.relay import extensions
from tests.relay.conversation import answered, config, ended, head_of, heard, idle

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
HERE = "tests.relay.extensions"


def extended(*endpoints: str, rule: Any = None, **extension: Any) -> dict[str, Any]:
    """A route with one extension, called by its class."""
    extension["call"] = f"{HERE}:{extension['call']}"
    return config(*endpoints, rules=[{"cluster": "up", "filters": [{"extension": extension}], **(rule or {})}])


def test_a_filter_answers(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Teapot"))
        client = await w.connect()
        await client.send(b"GET /x/../tea HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 418 ")
        await heard(client, b"short and stout\n")
        server = await up.accept()
        assert await head_of(server) == GET
        await server.send(OK)
        await heard(client, OK)
        assert answered(w) == {"418": 1, "200": 1}

    run(scenario())


def test_a_filter_changes_fields_and_keeps_what_it_counts(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        extensions.seen.clear()
        server = None
        for number in (b"1", b"2"):
            await w.apply(extended(up.address, call="Stamp", rule={"timeouts": {"idle": f"{number.decode()}s"}}))
            client = await w.connect()
            await client.send(b"GET /a?q HTTP/1.1\r\nHost: x\r\nX-STAMP: forged\r\n\r\n")
            server = server or await up.accept()
            assert await head_of(server) == b"GET /a?q HTTP/1.1\r\nHost: x\r\nx-stamp: " + number + b"\r\n\r\n"
            await server.send(b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 0\r\n\r\n")
            await heard(client, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-stamp: " + number + b"\r\n\r\n")
        assert extensions.seen == ["web/0 127.0.0.1 200 -"] * 2

    run(scenario())


def test_a_filter_rewrites_bodies(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Shout"))
        client = await w.connect()
        await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        server = await up.accept()
        assert await head_of(server) == b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await heard(server, b"3\r\nABC\r\n")
        await client.send(b"def")
        await heard(server, b"4\r\nDEF!\r\n0\r\n\r\n")
        await server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n")
        await heard(client, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nHI\r\n")
        await server.send(b"0\r\n\r\n")
        await heard(client, b"1\r\n!\r\n0\r\n\r\n")
        await client.send(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await heard(client, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await client.send(b"GET /a HTTP/1.0\r\nHost: x\r\n\r\n")
        await head_of(server)
        await server.send(OK)
        await heard(client, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nHI!")
        assert await ended(client)

    run(scenario())


@pytest.mark.parametrize("when", ["request", "response"])
def test_a_filter_waits_and_then_decides(run: Run, world: World, upstream: Upstream, when: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        for status in (0, 403):
            await w.apply(extended(up.address, call="Ask", config={"when": when, "status": status}))
            client = await w.connect()
            await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            if status == 0:
                server = await up.accept()
            if status == 0 or when == "response":
                await head_of(server)
                await heard(server, b"hi")
                await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            if status:
                assert (await head_of(client)).startswith(b"HTTP/1.1 403 ")
            else:
                await heard(client, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
                await server.send(b"hi")
                await heard(client, b"hi")
        assert answered(w) == {"200": 1, "403": 1}
        assert len(asyncio.all_tasks()) == 1, "the scenario: no other task stays"

    run(scenario())


@pytest.mark.parametrize("status", [403, 0])
def test_while_a_filter_looks_at_an_answer_its_connection_may_serve_another(
    run: Run, world: World, upstream: Upstream, status: int
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Ask", config={"when": "response", "seconds": 0.1, "status": status}))
        one, other = await w.connect(), await w.connect()
        await one.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)  # >> all of it, so that the connection is free
        await w.until(lambda: idle(w) == 1)
        await other.send(GET)
        await head_of(server)
        if not status:
            one.close()
        else:
            assert (await head_of(one)).startswith(b"HTTP/1.1 403 ")
        await w.until(lambda: sum(answered(w).values()) == 1)
        await server.send(OK)
        assert (await head_of(other)).startswith(b"HTTP/1.1 403 " if status else b"HTTP/1.1 200 ")

    run(scenario())


def test_a_filter_whose_client_leaves_before_it_has_begun(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Ask", config={"when": "response", "seconds": 100}))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        server.sock.send(OK)
        client.reset()  # >> both before the loop looks; what was never awaited would be a warning
        await w.until(lambda: w.closed() == {"reset": 1})
        assert answered(w) == {"200 DC": 1}

    run(scenario())


def test_what_still_comes_of_a_body_while_a_filter_looks_at_an_early_answer(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Ask", config={"when": "response", "seconds": 0.1}))
        client = await w.connect()
        await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        server = await up.accept()
        await head_of(server)
        await heard(server, b"ab")
        await server.send(OK)
        assert not await ended(server)
        await client.send(b"c")
        await heard(client, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        assert await ended(client)

    run(scenario())


def test_a_client_that_leaves_does_not_leave_a_filter_behind(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Ask", config={"seconds": 100}))
        before = len(asyncio.all_tasks())
        client = await w.connect()
        await client.send(GET)
        await w.until(lambda: len(asyncio.all_tasks()) > before)
        client.close()
        await w.until(lambda: answered(w) == {"499 DC": 1})
        await w.until(lambda: len(asyncio.all_tasks()) == before)

    run(scenario())


@pytest.mark.parametrize("policy", ["refuse", "skip"])
def test_what_a_filter_awaits_has_a_deadline(run: Run, world: World, upstream: Upstream, policy: str) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        late = {"config": {"seconds": 100}, "deadline": "10ms", "on_error": policy}
        await w.apply(extended(up.address, call="Ask", **late))
        client = await w.connect()
        await client.send(GET)
        if policy == "refuse":
            assert (await head_of(client)).startswith(b"HTTP/1.1 500 ")
        else:
            server = await up.accept()
            await head_of(server)
        (stats,) = w.stats.listeners["in"].filters.values()
        assert stats.timeouts_total == 1
        assert "filter-timeout" in "".join(w.logged)

    run(scenario())


@pytest.mark.parametrize("policy", ["refuse", "skip"])
@pytest.mark.parametrize("when", ["request", "request_data", "response", "response_data", "done", "failure"])
def test_a_filter_that_raises_costs_no_connection(
    run: Run, world: World, upstream: Upstream, when: str, policy: str
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Broken", config={"when": when}, on_error=policy))
        client = await w.connect()
        refused = policy == "refuse" and when not in ("done", "failure")
        await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        if not (refused and when.startswith("request")):
            server = await up.accept()
            await head_of(server)
            if when == "failure":
                server.close()
                assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
            else:
                await server.send(OK)
        if refused:
            assert (await head_of(client)).startswith(b"HTTP/1.1 500 ")
            assert answered(w) == {"500 FE": 1}
        elif when != "failure":
            assert (await head_of(client)).startswith(b"HTTP/1.1 200 ")
            await client.recv()
        (stats,) = w.stats.listeners["in"].filters.values()
        assert stats.errors_total >= 1
        assert any("filter-failed" in line and "\n" not in line[:-1] for line in w.logged)

    run(scenario())


def test_a_filter_that_raises_in_the_middle_of_a_body_cuts_it(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(extended(up.address, call="Broken", config={"when": "response_data"}))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        await heard(client, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await server.send(b"hi")
        assert not await ended(client), "what is cut does not look whole"
        assert answered(w) == {"200 FE": 1}

    run(scenario())


@pytest.mark.parametrize("policy", ["refuse", "skip"])
def test_a_filter_that_is_slow_too_often_is_not_called_any_more(
    run: Run, world: World, policy: str
) -> None:
    async def scenario() -> None:
        w = world()
        said = extended(call="Broken", config={"slow": 0.006}, on_error=policy)
        said["routes"]["web"][0] |= {"cluster": None, "reply": {"status": 204}}
        await w.apply(said)
        client = await w.connect()
        for _ in range(25):
            await client.send(GET)
            await head_of(client)
            if policy == "refuse" and answered(w).get("500 FE"):
                await client.recv()
        (stats,) = w.stats.listeners["in"].filters.values()
        assert (stats.slow_total, stats.off) == (20, 1)
        after = {"refuse": {"204": 20, "500 FE": 5}, "skip": {"204": 25}}
        assert answered(w) == after[policy], "one that must not be missing refuses from then on"
        assert "filter-off" in "".join(w.logged)

    run(scenario())


def test_a_failure_in_other_words(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(extended(call="Kindly"))
        client = await w.connect()
        await client.send(GET)
        head = await head_of(client)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 1\r\n" in head
        assert answered(w) == {"503 UH": 1}

    run(scenario())


@pytest.mark.parametrize(
    ("call", "more", "why"),
    [
        ("Nobody", {}, "has no attribute 'Nobody'"),
        ("Teapot", {"config": {"pth": "/"}}, "unexpected keyword argument 'pth'"),
        ("NoFilter", {}, "not Hooks"),
    ],
)
def test_an_extension_that_cannot_be_made_is_refused_with_its_place(
    run: Run, world: World, call: str, more: Any, why: str
) -> None:
    async def scenario() -> None:
        w = world()
        with pytest.raises(Invalid, match=why) as caught:
            await w.apply(extended(call=call, **more))
        assert caught.value.problems[0].path == "routes.web.rules[0].filters[0].extension"

    run(scenario())


def test_a_rate_of_requests(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        limited = {"reply": {"status": 204}, "filters": [{"rate_limit": {"requests": 10, "per": "1s"}}]}
        await w.apply(config(rules=[limited]))
        client = await w.connect()
        statuses = []
        for _ in range(15):
            await client.send(GET)
            head = await head_of(client)
            statuses.append(head[9:12])
            if head[9:12] == b"429":
                await heard(client, b"rate limited\n")
        assert statuses == [b"204"] * 10 + [b"429"] * 5
        assert answered(w) == {"204": 10, "429 RL": 5}
        w.clock.advance(1)
        await client.send(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 204 ")

    run(scenario())
