"""Requests asked again, asked twice at a time, and not asked at all, as conversations."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from meshproxy.errors import Invalid
from tests.relay.conversation import answered, config, ended, head_of, heard

ONE_LOOP = True
"""What is shown here is the same on both."""

Run = Callable[[Any], None]
World = Callable[[], Any]
Upstream = Callable[[], Any]

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
FORWARDED = b"GET / HTTP/1.1\r\nHost: x\r\nVia: 1.1 meshproxy\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad"


def retrying(*endpoints: str, cluster: dict[str, Any] | None = None, **policy: Any) -> dict[str, Any]:
    said = {"backoff": 0, **policy}
    return config(*endpoints, rules=[{"cluster": "up", "retry": said}], **(cluster or {}))


async def asked(up: Any, answer: bytes = b"") -> Any:
    """The next connection to an upstream, its request read, and answered."""
    async with asyncio.timeout(5):
        server = await up.accept()
    await head_of(server)
    if answer:
        await server.send(answer)
    return server


def test_a_status_is_asked_again_of_another_endpoint(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        await w.apply(retrying(a.address, b.address, on=[503], attempts=2))
        client = await w.connect()
        await client.send(GET)
        await asked(a, BAD)
        await asked(b, OK)
        await heard(client, OK)
        assert answered(w) == {"200": 1}
        assert w.stats.clusters["up"].retries_total == 1

    run(scenario())


def test_the_last_answer_goes_on_as_it_is(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(retrying(up.address, on=["5xx"], attempts=3))
        client = await w.connect()
        await client.send(GET)
        for _ in range(3):
            await asked(up, BAD)
        await heard(client, BAD)
        assert answered(w) == {"503": 1}
        stats = w.stats.clusters["up"]
        assert (stats.retries_total, stats.retries_exhausted_total) == (2, 1)

    run(scenario())


def test_a_status_that_is_not_named_goes_on(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(retrying(up.address, on=[500, "connect"], attempts=5))
        client = await w.connect()
        await client.send(GET)
        await asked(up, BAD)
        await heard(client, BAD)
        assert w.stats.clusters["up"].retries_total == 0

    run(scenario())


@pytest.mark.parametrize("unsafe", [False, True])
def test_what_is_not_safe_is_asked_again_only_where_that_is_declared(
    run: Run, world: World, upstream: Upstream, unsafe: bool
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(retrying(up.address, on=["reset"], attempts=2, unsafe=unsafe))
        client = await w.connect()
        await client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
        server = await asked(up)
        await heard(server, b"body")
        server.close()
        if not unsafe:
            assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
            return
        server = await asked(up)
        await heard(server, b"body")
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


def test_a_body_that_streams_is_kept_and_sent_again(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(retrying(up.address, on=["reset"], attempts=3, max_body="1KiB"))
        client = await w.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\none")
        server = await asked(up)
        await heard(server, b"one")
        await client.send(b"two")
        await heard(server, b"two")
        server.close()
        server = await asked(up)
        await heard(server, b"onetwo")
        await client.send(b"end")
        await heard(server, b"end")
        server.close()
        server = await asked(up)
        await heard(server, b"onetwoend")
        await server.send(OK)
        await heard(client, OK)
        await client.send(GET)
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


def test_a_body_that_is_too_long_to_be_kept_is_not_sent_again(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(retrying(up.address, on=["reset"], attempts=3, max_body=5))
        client = await w.connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\none")
        server = await asked(up)
        await heard(server, b"one")
        await client.send(b"two")
        await heard(server, b"two")
        server.close()
        assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        assert w.stats.clusters["up"].retries_total == 0

    run(scenario())


def test_a_try_has_its_own_time(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        await w.apply(retrying(a.address, b.address, on=["timeout"], attempts=2, per_try_timeout="1s"))
        client = await w.connect()
        await client.send(GET)
        slow = await asked(a)
        w.clock.advance(0.9)
        assert w.stats.clusters["up"].retries_total == 0
        w.clock.advance(0.2)
        assert not await ended(slow)
        server = await asked(b)
        await server.send(OK[:20])  # its head has begun, and is not whole
        w.clock.advance(1.1)
        assert (await head_of(client)).startswith(b"HTTP/1.1 504 ")
        assert answered(w) == {"504 UT": 1}

    run(scenario())


def test_an_answer_that_has_begun_takes_the_time_it_takes(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(retrying(up.address, on=["timeout"], attempts=2, per_try_timeout="1s"))
        client = await w.connect()
        await client.send(GET)
        server = await asked(up, OK[:-1])
        await heard(client, OK[:-1])
        w.clock.advance(20)
        await server.send(OK[-1:])
        await heard(client, OK[-1:])
        assert answered(w) == {"200": 1}

    run(scenario())


def test_a_time_of_one_request_is_not_that_of_the_next(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rules = [
            {"match": {"path": {"prefix": "/quick"}}, "cluster": "up", "retry": {"per_try_timeout": "1s"}},
            {"cluster": "up"},
        ]
        await w.apply(config(up.address, rules=rules))
        client = await w.connect()
        await client.send(GET.replace(b"/ ", b"/quick "))
        server = await asked(up, OK)
        await heard(client, OK)
        await client.send(GET)
        await head_of(server)
        w.clock.advance(30)
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


def test_pauses_pass_and_a_client_that_leaves_meanwhile_is_noticed(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshproxy.cluster.retry.random", lambda: 1.0)

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(retrying(up.address, on=[503], attempts=3, backoff="2s", max_backoff="3s"))
        client = await w.connect()
        await client.send(GET)
        await asked(up, BAD)
        stats = w.stats.clusters["up"]
        await w.until(lambda: stats.retries_total == 1)
        w.clock.advance(1.9)
        w.clock.advance(0.2)
        await asked(up, BAD)
        await w.until(lambda: stats.retries_total == 2)
        w.clock.advance(2.5)
        client.close()
        await w.until(lambda: answered(w) == {"499 DC": 1})
        w.clock.advance(10)
        assert w.worker._http.deadlines._watched == set(w.worker._http.upstreams)
        budget = next(live for key, live in w.worker._table._held.items() if key[0] == "budget")
        assert budget.spent == 0

    run(scenario())


@pytest.mark.parametrize(("seconds", "waits"), [("1", True), ("5", False)])
def test_a_retry_after_is_waited_for_if_that_is_allowed(
    run: Run, world: World, upstream: Upstream, seconds: str, waits: bool
) -> None:
    answer = BAD.replace(b"\r\n\r\n", b"\r\nRetry-After: %b\r\n\r\n" % seconds.encode())

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(retrying(up.address, on=[503], attempts=2, max_retry_after="3s"))
        client = await w.connect()
        await client.send(GET)
        await asked(up, answer)
        if not waits:
            await heard(client, answer)
            return
        await w.until(lambda: w.stats.clusters["up"].retries_total)
        w.clock.advance(1.1)
        await asked(up, OK)
        await heard(client, OK)

    run(scenario())


def test_a_storm_ends_at_the_budget(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        bounds = {"breaker": {"min_retries": 2, "retry_share": 0}, "pool": {"max_idle": 0}}
        await w.apply(retrying(up.address, on=[503], attempts=5, max_retry_after="9s", cluster=bounds))
        waits = BAD.replace(b"\r\n\r\n", b"\r\nRetry-After: 5\r\n\r\n")
        clients = [await w.connect() for _ in range(4)]
        stats = w.stats.clusters["up"]
        for client in clients:
            await client.send(GET)
            await asked(up, waits)
        await heard(clients[2], waits)
        await heard(clients[3], waits)
        assert (stats.retries_total, stats.retries_refused_total) == (2, 2)
        w.clock.advance(5.1)
        for _ in range(2):
            await asked(up, OK)
        await heard(clients[0], OK)
        await heard(clients[1], OK)
        await clients[3].send(GET)
        await w.until(lambda: stats.connections_active)

    run(scenario())


def test_connect_failures_go_on_by_themselves_within_the_tries(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, gone, up = world(), upstream(), upstream()
        gone.close()
        await w.apply(retrying(gone.address, up.address, on=[503], attempts=2, cluster={"pool": {"max_idle": 0}}))
        client = await w.connect()
        for _ in range(2):  # one of them has the turn of who is gone
            await client.send(GET)
            await asked(up, OK)
            await heard(client, OK)
        assert w.stats.clusters["up"].endpoints[gone.address].connect_failures_total >= 1
        await w.apply(retrying(gone.address, on=["connect"], attempts=3))
        client = await w.connect()
        await client.send(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        assert w.stats.clusters["up"].endpoints[gone.address].connect_failures_total >= 3

    run(scenario())


# Hedging


@pytest.mark.parametrize("quick", ["first", "second"])
def test_who_answers_first_is_heard_and_the_other_is_given_up(
    run: Run, world: World, upstream: Upstream, quick: str
) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        await w.apply(retrying(a.address, b.address, attempts=2, hedge="100ms"))
        client = await w.connect()
        await client.send(GET)
        first = await asked(a)
        w.clock.advance(0.11)
        second = await asked(b)
        winner, loser = (first, second) if quick == "first" else (second, first)
        await winner.send(OK[:-1])
        await heard(client, OK[:-1])
        assert not await ended(loser)
        await winner.send(OK[-1:])
        await heard(client, OK[-1:])
        assert answered(w) == {"200": 1}
        assert w.stats.clusters["up"].hedges_total == 1
        await client.send(GET)  # the connection of who has won is used again
        if quick == "second":
            w.clock.advance(0.01)

    run(scenario())


def test_a_quick_answer_has_no_hedge(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        await w.apply(retrying(a.address, b.address, attempts=2, hedge="100ms"))
        client = await w.connect()
        await client.send(GET)
        await asked(a, OK)
        await heard(client, OK)
        w.clock.advance(5)
        assert w.stats.clusters["up"].hedges_total == 0

    run(scenario())


@pytest.mark.parametrize("lost", ["first", "second", "both"])
def test_one_of_two_may_be_lost(run: Run, world: World, upstream: Upstream, lost: str) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        await w.apply(retrying(a.address, b.address, on=["connect"], attempts=2, hedge="100ms"))
        client = await w.connect()
        await client.send(GET)
        first = await asked(a)
        w.clock.advance(0.11)
        second = await asked(b)
        if lost in ("first", "both"):
            first.close()
        if lost in ("second", "both"):
            second.close()
        if lost == "both":
            assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
            assert answered(w) == {"502 UC": 1}
        else:
            await (second if lost == "first" else first).send(OK)
            await heard(client, OK)
            assert answered(w) == {"200": 1}

    run(scenario())


def test_a_client_that_leaves_ends_both(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, a, b = world(), upstream(), upstream()
        await w.apply(retrying(a.address, b.address, attempts=2, hedge="100ms"))
        client = await w.connect()
        await client.send(GET)
        first = await asked(a)
        w.clock.advance(0.11)
        second = await asked(b)
        client.close()
        assert not await ended(first)
        assert not await ended(second)
        assert not w.worker._http.upstreams
        assert w.stats.clusters["up"].connections_active == 0

    run(scenario())


# The breaker, and limits of requests

BREAKER = {"error_amount": 2, "open": "10s"}


async def failed_twice(client: Any, up: Any) -> Any:
    await client.send(GET)
    server = await asked(up, BAD)
    await heard(client, BAD)
    await client.send(GET)
    await head_of(server)
    await server.send(BAD)
    await heard(client, BAD)
    return server


def test_an_open_breaker_asks_nobody_and_a_probe_closes_it(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, breaker=BREAKER))
        client = await w.connect()
        server = await failed_twice(client, up)
        await client.send(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        await client.recv()
        stats = w.stats.clusters["up"]
        assert (stats.breaker_open, stats.breaker_opened_total, stats.refused_total) == (1, 1, 1)
        assert answered(w) == {"503": 2, "503 UO": 1}
        w.clock.advance(10)
        await client.send(GET)
        await head_of(server)
        other = await w.connect()
        await other.send(GET)  # beside the probe
        assert (await head_of(other)).startswith(b"HTTP/1.1 503 ")
        await server.send(OK)
        await heard(client, OK)
        assert stats.breaker_open == 0
        await client.send(GET)
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


def test_an_open_breaker_may_have_an_answer_of_its_own(run: Run, world: World, upstream: Upstream) -> None:
    reply = {"status": 520, "headers": {"Retry-After": "9"}, "body": "soon again"}

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, breaker={**BREAKER, "reply": reply}))
        client = await w.connect()
        await failed_twice(client, up)
        await client.send(GET)
        head = await head_of(client)
        assert head.startswith(b"HTTP/1.1 520 ")
        assert b"Retry-After: 9\r\n" in head
        await heard(client, b"soon again")
        assert answered(w)["520 UO"] == 1

    run(scenario())


def test_an_open_breaker_stays_open_over_a_reload(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, breaker=BREAKER))
        client = await w.connect()
        server = await failed_twice(client, up)
        await w.apply(config(up.address, breaker=BREAKER, connect_timeout="3s"))
        client = await w.connect()
        await client.send(GET)
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        assert answered(w)["503 UO"] == 1
        with pytest.raises(Invalid):
            broken = [{"cluster": "up", "filters": [{"extension": "no.such:Thing"}]}]
            await w.apply(config(up.address, breaker={**BREAKER, "error_amount": 5}, rules=broken))
        assert w.stats.clusters["up"].breaker_open == 1, "what was refused changes nothing"
        await w.apply(config(up.address, breaker={**BREAKER, "error_amount": 5}))
        client = await w.connect()
        await client.send(GET)
        await head_of(server)  # other terms, another breaker
        assert w.stats.clusters["up"].breaker_open == 0
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


def test_connections_that_fail_open_a_breaker_for_tcp_too(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, gone = world(), upstream()
        gone.close()
        document = config(gone.address, breaker=BREAKER)
        document["listeners"] = [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "up"}]
        await w.apply(document)
        stats = w.stats.clusters["up"]
        for _ in range(3):
            with suppress(ConnectionError):
                client = await w.connect()
                await client.recv()
        assert stats.endpoints[gone.address].connect_failures_total == 2
        # The second had failed and looked for another endpoint.
        assert stats.refused_total == 2
        assert w.stats.listeners["in"].rejected["breaker_open"] == 1

    run(scenario())


def test_no_more_requests_are_under_way_than_are_allowed(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, breaker={"max_requests": 2}))
        first, second, third = [await w.connect() for _ in range(3)]
        await first.send(GET)
        server = await asked(up)
        await second.send(GET)
        other = await asked(up)
        await third.send(GET)
        assert (await head_of(third)).startswith(b"HTTP/1.1 503 ")
        assert w.stats.clusters["up"].overflow_total == 1
        await server.send(OK)
        await heard(first, OK)
        other.close()
        assert (await head_of(second)).startswith(b"HTTP/1.1 502 ")
        for client in (first, await w.connect()):
            await client.send(GET)
        await w.until(lambda: w.stats.clusters["up"].connections_active == 2)
        assert w.stats.clusters["up"].overflow_total == 1

    run(scenario())


def test_no_more_requests_wait_for_a_connection_than_are_allowed(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        up.sock.listen(0)  # what it does not accept fills its queue, and who comes then waits
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(up.sock.getsockname())
        await w.apply(config(up.address, breaker={"max_pending": 1}, connect_timeout="5s"))
        first, second = await w.connect(), await w.connect()
        await first.send(GET)
        pending = w.worker.limits._limits["cluster/up/pending"]
        await w.until(lambda: pending.used == 1)
        await second.send(GET)
        assert (await head_of(second)).startswith(b"HTTP/1.1 503 ")
        assert answered(w) == {"503 UO": 1}
        w.clock.advance(5.1)
        assert (await head_of(first)).startswith(b"HTTP/1.1 504 ")
        assert pending.used == 0
        for filler in fillers:
            filler.close()

    run(scenario())
