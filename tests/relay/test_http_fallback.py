"""Conversations in which nobody answers, but somebody else does."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.filters.asking import answer, ask, get
from tests.relay.conversation import answered, config, ended, head_of, heard, idle

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
SORRY = {"reply": {"status": 200, "headers": {"x-stale": "1"}, "body": "later"}}
ELSEWHERE = {"cluster": "spare"}


def rescued(
    fallback: Any, *endpoints: str, spare: tuple[str, ...] = (), rule: Any = None, **cluster: Any
) -> dict[str, Any]:
    said = config(*endpoints, rules=[{"cluster": "up", "fallback": fallback, **(rule or {})}], **cluster)
    said["clusters"]["spare"] = {"endpoints": list(spare)}
    return said


async def refusing(upstream: Upstream) -> str:
    """An address where nobody listens."""
    up = upstream()
    address: str = up.address
    up.close()
    return address


def by_cluster(w: Any) -> dict[str, dict[Any, int]]:
    (of_route,) = [found for route, found in w.stats.listeners["in"].answers.items() if route]
    return {cluster: dict(stats.requests) for cluster, stats in of_route.items() if stats.requests}


@pytest.mark.parametrize("how", ["no endpoint", "refused", "overflow", "lost", "malformed"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_cluster_answers(run: Run, world: World, upstream: Upstream, how: str, method: str) -> None:
    async def scenario() -> None:
        w, up, spare = world(), upstream(), upstream()
        endpoints = {"no endpoint": [], "refused": [await refusing(upstream)]}.get(how, [up.address])
        breaker = {"breaker": {"max_connections": 1}} if how == "overflow" else {}
        await w.apply(rescued(ELSEWHERE, *endpoints, spare=(spare.address,), **breaker))
        if how == "overflow":
            holder = await w.connect()
            await holder.send(get("/hold"))
            await head_of(await up.accept())
        client = await w.connect()
        body = b"some" if method == "POST" else b""
        request = get("/a", *([f"Content-Length: {len(body)}"] if body else []), method=method)
        await client.send(request + body)
        if how in ("lost", "malformed"):
            server = await up.accept()
            await head_of(server)
            if how == "malformed":
                await server.send(b"HTTP/9.9 nonsense\r\n\r\n")
            server.close()
        server = await spare.accept()
        assert await head_of(server) == request
        await heard(server, body)
        await server.send(OK)
        await heard(client, OK)
        assert by_cluster(w) == {"spare": {200: 1}}, "counted once, and without a flag"
        assert idle(w) == 1
        if how in ("no endpoint", "refused"):
            await client.send(get("/next"))
            assert await head_of(server) == get("/next"), "on the connection that waits"

    run(scenario())


@pytest.mark.parametrize("spare", ["nobody", "refuses"])
def test_if_that_fails_too_the_first_failure_is_told(run: Run, world: World, upstream: Upstream, spare: str) -> None:
    async def scenario() -> None:
        w = world()
        nobody = () if spare == "nobody" else (await refusing(upstream),)
        await w.apply(rescued(ELSEWHERE, await refusing(upstream), spare=nobody))
        assert (await ask(await w.connect(), get())).status == 503
        assert by_cluster(w) == {"spare": {"503 UF": 1}}

    run(scenario())


def test_a_reply_of_ours(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(rescued(SORRY, await refusing(upstream)))
        client = await w.connect()
        found = await ask(client, get())
        assert (found.status, found.body, found.fields["x-stale"]) == (200, b"later", "1")
        assert (await ask(client, get(method="HEAD"))).status == 200
        assert answered(w) == {"200 UF": 2}

    run(scenario())


@pytest.mark.parametrize("fallback", [SORRY, ELSEWHERE])
@pytest.mark.parametrize("limit", ["request", "idle"])
def test_when_the_time_is_over(run: Run, world: World, upstream: Upstream, fallback: Any, limit: str) -> None:
    """A reply can be given at any time.  Another cluster is not asked when all of the time is over."""

    async def scenario() -> None:
        w, up, spare = world(), upstream(), upstream()
        await w.apply(rescued(fallback, up.address, spare=(spare.address,), rule={"timeouts": {limit: "2s"}}))
        client = await w.connect()
        await client.send(get())
        server = await up.accept()
        await head_of(server)
        w.clock.advance(2)
        if fallback is SORRY:
            found = await answer(client)
            assert (found.status, found.body) == (200, b"later")
        elif limit == "request":
            assert (await answer(client)).status == 504
        else:
            other = await spare.accept()
            await head_of(other)
            w.clock.advance(1.9)
            await other.send(OK)
            await heard(client, OK)
            w.clock.advance(1.9)
            await client.send(get("/again"))
            server = await up.accept()
            await head_of(server)

    run(scenario())


def test_it_is_not_for_an_answer_that_an_upstream_has_given(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, spare = world(), upstream(), upstream()
        await w.apply(rescued(ELSEWHERE, up.address, spare=(spare.address,)))
        client = await w.connect()
        await client.send(get())
        server = await up.accept()
        await head_of(server)
        refused = b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"
        await server.send(refused)
        await heard(client, refused)
        await client.send(get())
        await head_of(server)
        await server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi")
        await heard(client, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi")
        server.close()
        assert not await ended(client), "what has begun is cut"
        assert w.stats.clusters["spare"].connections_total == 0

    run(scenario())


def test_it_is_not_for_what_a_filter_has_refused(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(rescued(SORRY, rule={"filters": [{"fault": {"abort": {"status": 503}}}]}))
        assert (await ask(await w.connect(), get())).status == 503
        assert answered(w) == {"503 FI": 1}
        broken = {"call": "tests.relay.extensions:Broken", "config": {"when": "request_data"}}
        await w.apply(rescued(SORRY, up.address, rule={"filters": [{"extension": broken}]}))
        client = await w.connect()
        await client.send(get("/a", "Content-Length: 1", method="PUT"))
        await head_of(await up.accept())
        await client.send(b"x")
        assert (await answer(client)).status == 500
        assert answered(w) == {"500 FE": 1}

    run(scenario())


def test_it_is_not_for_an_answer_that_a_filter_does_not_let_through(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        refuse = {"extension": {"call": "tests.filters.asking:Refuse"}}
        await w.apply(rescued(SORRY, up.address, rule={"filters": [refuse]}))
        client = await w.connect()
        await client.send(get())
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        assert (await answer(client)).status == 503
        assert answered(w) == {"503 NO": 1}

    run(scenario())


def test_it_is_not_for_what_is_the_client_s_fault(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(rescued(SORRY, up.address))
        client = await w.connect()
        await client.send(get("/a", "Transfer-Encoding: chunked", method="PUT"))
        await head_of(await up.accept())
        await client.send(b"nonsense\r\n")
        assert (await answer(client)).status == 400

    run(scenario())


def test_the_other_cluster_has_as_much_patience(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, spare = world(), upstream(), upstream()
        await w.apply(rescued(ELSEWHERE, up.address, spare=(spare.address,), rule={"timeouts": {"idle": "2s"}}))
        client = await w.connect()
        await client.send(get())
        await head_of(await up.accept())
        w.clock.advance(2)
        await head_of(await spare.accept())
        w.clock.advance(2)
        assert (await answer(client)).status == 504
        assert by_cluster(w) == {"spare": {"504 SI": 1}}

    run(scenario())


def test_a_body_of_which_nothing_has_gone_waits_for_the_other(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, spare = world(), upstream()
        await w.apply(rescued(ELSEWHERE, await refusing(upstream), spare=(spare.address,)))
        client = await w.connect()
        request = get("/a", "Content-Length: 6", method="PUT")
        await client.send(request + b"abc")
        server = await spare.accept()
        assert await head_of(server) == request
        await heard(server, b"abc")
        await client.send(b"def")
        await heard(server, b"def")
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


@pytest.mark.parametrize("streamed", [True, False])
def test_a_body_that_is_on_its_way_cannot_be_sent_again(
    run: Run, world: World, upstream: Upstream, streamed: bool
) -> None:
    async def scenario() -> None:
        w, up, spare = world(), upstream(), upstream()
        await w.apply(rescued(ELSEWHERE, up.address, spare=(spare.address,)))
        client = await w.connect()
        request = get("/a", "Content-Length: 6", method="PUT")
        await client.send(request + b"abc")
        server = await up.accept()
        await head_of(server)
        await heard(server, b"abc")
        if streamed:
            await client.send(b"d")
            await heard(server, b"d")
        server.close()
        if streamed:
            assert (await answer(client)).status == 502
            assert w.stats.clusters["spare"].connections_total == 0
            return
        other = await spare.accept()
        assert await head_of(other) == request
        await client.send(b"def")
        await heard(other, b"abcdef")

    run(scenario())


@pytest.mark.parametrize("fallback", [SORRY, ELSEWHERE])
def test_an_open_breaker(run: Run, world: World, upstream: Upstream, fallback: Any) -> None:
    async def scenario() -> None:
        w, up, spare = world(), upstream(), upstream()
        breaker = {"breaker": {"error_amount": 1, "min_requests": 1, "open": "30s"}}
        await w.apply(rescued(fallback, up.address, spare=(spare.address,), **breaker))
        client = await w.connect()
        await client.send(get())
        server = await up.accept()
        await head_of(server)
        await server.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        assert (await answer(client)).status == 500, "that is an answer"
        await client.send(get())
        if fallback is ELSEWHERE:
            other = await spare.accept()
            await head_of(other)
            await other.send(OK)
        assert (await answer(client)).status == 200
        assert w.stats.clusters["up"].refused_total == 1

    run(scenario())


def test_after_all_tries_the_other_cluster_has_its_own(run: Run, world: World, upstream: Upstream) -> None:
    """And the first gets back what was taken of its limits."""

    async def scenario() -> None:
        w, up, spare = world(), upstream(), upstream()
        retry = {"retry": {"on": ["reset"], "attempts": 2, "backoff": 0}}
        limits = {"breaker": {"max_requests": 1}}
        await w.apply(rescued(ELSEWHERE, up.address, spare=(spare.address,), rule=retry, **limits))
        client = await w.connect()
        await client.send(get())
        lost = await up.accept()
        await head_of(lost)
        lost.close()
        await w.until(lambda: w.stats.clusters["up"].retries_total == 1)
        w.clock.advance(0)
        lost = await up.accept()
        await head_of(lost)
        lost.close()
        server = await spare.accept()
        assert await head_of(server) == get()
        other = await w.connect()
        await other.send(get("/meanwhile"))
        again = await up.accept()
        assert await head_of(again) == get("/meanwhile"), "the limit of one is free again"
        await server.send(OK)
        await heard(client, OK)
        assert by_cluster(w) == {"spare": {200: 1}}

    run(scenario())


def test_a_client_that_leaves_meanwhile_is_gone(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, spare = world(), upstream()
        await w.apply(rescued(ELSEWHERE, spare=(spare.address,)))
        client = await w.connect()
        await client.send(get())
        server = await spare.accept()
        await head_of(server)
        client.close()
        assert not await ended(server)
        await w.until(lambda: answered(w) == {"499 DC": 1})

    run(scenario())
