"""Conversations with a mirror beside: the original never waits for it and never hears of it, however that goes.

`>>` is what happens, `<<` what must follow.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.errors import Failure
from meshproxy.relay.http.mirror import MOST_READ, Copy
from tests.relay.conversation import answered, config, ended, head_of, heard, idle

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
COPY = b"GET /a HTTP/1.1\r\nX-Meshproxy-Mirror: web/0\r\nHost: x\r\n\r\n"
PUT = b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def mirrored(up: Any, other: Any, rule: Any = None, cluster: Any = None, **mirror: Any) -> dict[str, Any]:
    found = config(up.address, rules=[{"cluster": "up", "mirror": {"cluster": "other", **mirror}, **(rule or {})}])
    found["clusters"]["other"] = {"endpoints": [other.address] if other else [], **(cluster or {})}
    return found


def counted(w: Any) -> dict[str, int]:
    """What became of the copies: begun, under way, and each end that there was."""
    stats = w.stats.listeners["in"].mirrors["web/0"]["other"]
    return {"begun": stats.copies_total, "active": stats.copies_active, **stats.answers, **stats.dropped}


async def over(w: Any, **ends: int) -> None:
    """The copies have these ends, and nothing of them is left."""
    await w.until(lambda: counted(w)["active"] == 0 and set(ends) <= set(counted(w)))
    assert {name: count for name, count in counted(w).items() if name not in ("begun", "active")} == ends
    assert not w.worker._http.copies
    assert not any(hasattr(each, "_mirror") for each in w.worker._http.deadlines._watched)


def connections(w: Any) -> tuple[int, int]:
    return tuple(w.stats.clusters[name].connections_active for name in ("up", "other"))


async def original(client: Any, server: Any, request: bytes = GET) -> None:
    """It goes as if there were no mirror."""
    await client.send(request)
    await head_of(server)
    await server.send(OK)
    await heard(client, OK)


def test_a_mirror_gets_what_the_upstream_gets(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(GET)
        server, mirror = await up.accept(), await other.accept()
        seen = [b"", b""]
        for number, peer in enumerate((server, mirror)):
            while not seen[number].endswith(b"\r\n\r\n"):
                seen[number] += await peer.recv()
        # Byte for byte, with the same id, and the line that says what it is
        assert seen[1] == seen[0].replace(b"\r\n", b"\r\nX-Meshproxy-Mirror: web/0\r\n", 1)
        assert b"X-Request-Id: " in seen[0]
        await mirror.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nno!\n")
        await over(w, **{"5xx": 1})
        await server.send(OK)
        await heard(client, OK)
        # >> another, on the same connections
        await original(client, server)
        assert await head_of(mirror) == COPY
        await mirror.send(OK)
        await over(w, **{"5xx": 1, "2xx": 1})
        assert answered(w) == {"200": 2}
        assert idle(w) == 2
        assert connections(w) == (1, 1)

    run(scenario())


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_goes_to_both(run: Run, world: World, upstream: Upstream, framing: str) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        head, pieces = PUT % 9, [b"one", b"two", b"six"]
        if framing == "chunked":
            head = b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            pieces = [b"3\r\none\r\n", b"3\r\ntwo", b"\r\n0\r\n\r\n"]
        await client.send(head + pieces[0])
        server, mirror = await up.accept(), await other.accept()
        assert await head_of(server) == head
        assert await head_of(mirror) == head.replace(b"\r\n", b"\r\nX-Meshproxy-Mirror: web/0\r\n", 1)
        for number, piece in enumerate(pieces):
            if number:
                await client.send(piece)
            await heard(server, piece)
            await heard(mirror, piece)
        await mirror.send(OK)
        await over(w, **{"2xx": 1})
        await server.send(OK)
        await heard(client, OK)
        assert idle(w) == 2

    run(scenario())


def test_what_filters_change_is_what_is_copied(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        rule = {
            "filters": [{"extension": "tests.relay.extensions:Shout"}],
            "rewrite": {"host": "books", "path": "/b"},
            "request_headers": {"set": {"x-route": "%{route}"}},
        }
        await w.apply(mirrored(up, other, rule))
        client = await w.connect()
        await client.send(PUT % 6 + b"abc")
        server, mirror = await up.accept(), await other.accept()
        first, rest = (await head_of(server)).split(b"\r\n", 1)
        assert b"x-route: web/0\r\n" in rest
        assert await head_of(mirror) == first + b"\r\nX-Meshproxy-Mirror: web/0\r\n" + rest
        await client.send(b"def")
        for peer in (server, mirror):
            await heard(peer, b"3\r\nABC\r\n4\r\nDEF!\r\n0\r\n\r\n")
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 200 OK\r\n")
        await over(w, **{"2xx": 1})

    run(scenario())


def test_a_share_of_the_requests_is_copied(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([0.09, 0.1, 0.95, 0.0])
    monkeypatch.setattr("meshproxy.relay.http.mirror.random", lambda: next(drawn))

    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other, share=0.1))
        client = await w.connect()
        await client.send(PUT % 4 + b"ab")
        server = await up.accept()
        await head_of(server)
        await client.send(b"cd")
        await heard(server, b"abcd")
        await server.send(OK)
        await heard(client, OK)
        for _ in range(3):
            await original(client, server)
        assert counted(w) == {"begun": 2, "active": 2}

    run(scenario())


def test_the_limit_of_requests_of_the_mirror_holds_for_copies(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other, None, {"breaker": {"max_requests": 1}}))
        client = await w.connect()
        await client.send(GET)
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await original(client, server)
        await w.until(lambda: counted(w).get("overflow") == 1)
        await head_of(mirror)
        await mirror.send(OK)
        await over(w, **{"overflow": 1, "2xx": 1})
        # << what was taken is given back
        await original(client, server)
        assert await head_of(mirror) == COPY
        await mirror.send(OK)
        await over(w, **{"overflow": 1, "2xx": 2})

    run(scenario())


def test_a_breaker_that_is_open_holds_for_copies(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        (state,) = w.worker._guests.states
        handling = state.entry.choose(None).front(None)._find(b"x", b"/a", b"GET", None).outcome
        handling.mirror.cluster.gate = lambda: False
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await over(w, breaker_open=1)
        assert w.stats.clusters["other"].refused_total == 1

    run(scenario())


def test_what_is_asked_again_is_copied_once(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other, {"retry": {"on": ["5xx"], "attempts": 2, "backoff": 0}}))
        client = await w.connect()
        await client.send(PUT % 4 + b"ab")
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await client.send(b"cd")
        await heard(server, b"abcd")
        await server.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        again = await up.accept()
        await head_of(again)
        await heard(again, b"abcd")
        await again.send(OK)
        await heard(client, OK)
        await head_of(mirror)
        await heard(mirror, b"abcd")
        await mirror.send(OK)
        await over(w, **{"2xx": 1})
        assert counted(w)["begun"] == 1

    run(scenario())


@pytest.mark.parametrize("how", ["refused", "nobody", "limit"])
def test_a_mirror_that_cannot_be_reached(run: Run, world: World, upstream: Upstream, how: str) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(
            mirrored(up, None if how == "nobody" else other, None, {"breaker": {"max_connections": 1}})
        )
        client = await w.connect()
        if how == "refused":
            other.close()
        if how == "limit":
            # The only connection there may be has something to do.
            await client.send(GET)
            server = await up.accept()
            await head_of(server)
            await server.send(OK)
            await heard(client, OK)
            mirror = await other.accept()
            await original(client, server)
            await w.until(lambda: counted(w).get("overflow"))
            await head_of(mirror)
            await mirror.send(OK)
            await over(w, **{"overflow": 1, "2xx": 1})
        else:
            await client.send(GET)
            server = await up.accept()
            await head_of(server)
            await server.send(OK)
            await heard(client, OK)
            await over(w, **{"connect_failed" if how == "refused" else "no_endpoint": 1})
            assert connections(w) == (1, 0)
        assert set(answered(w)) == {"200"}
        assert w.stats.clusters["other"].retries_total == 0

    run(scenario())


@pytest.mark.parametrize(
    ("words", "reset", "end"),
    [
        (b"", True, "upstream_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", True, "upstream_lost"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", False, "upstream_malformed"),
        (b"garbage\r\n\r\n", False, "upstream_malformed"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", False, "upstream_malformed"),
    ],
)
def test_a_mirror_that_breaks(
    run: Run, world: World, upstream: Upstream, words: bytes, reset: bool, end: str
) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(GET)
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await head_of(mirror)
        if words:
            await mirror.send(words)
            await w.worker.counted()
        mirror.reset() if reset else mirror.close()
        await over(w, **{end: 1})
        await server.send(OK)
        await heard(client, OK)
        await original(client, server)
        assert answered(w) == {"200": 2}

    run(scenario())


def test_a_mirror_that_never_answers_has_its_own_time(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other, timeout="2s"))
        client = await w.connect()
        await client.send(GET)
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await head_of(mirror)
        w.clock.advance(1.9)
        assert counted(w) == {"begun": 1, "active": 1}
        w.clock.advance(0.2)
        assert not await ended(mirror)
        await over(w, timeout=1)
        # << the original has as long as it takes
        w.clock.advance(30)
        await server.send(OK)
        await heard(client, OK)
        assert connections(w) == (1, 0)

    run(scenario())


@pytest.mark.parametrize("length", [b"Transfer-Encoding: chunked", b"Content-Length: 1000000000000"])
def test_a_mirror_that_answers_for_ever_is_cut(run: Run, world: World, upstream: Upstream, length: bytes) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(GET)
        server, mirror = await up.accept(), await other.accept()
        await head_of(mirror)
        piece = bytes(65536)
        if b"chunked" in length:
            piece = b"10000\r\n" + piece + b"\r\n"
        with pytest.raises(OSError, match=r"reset|pipe"):
            await mirror.send(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
            for _ in range(1000):
                await mirror.send(piece)
        await over(w, long_answer=1)
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        read = w.stats.clusters["other"].bytes_received_total
        assert MOST_READ < read < MOST_READ + (1 << 20)

    run(scenario())


def test_a_mirror_that_says_continue_says_it_to_nobody(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(b"PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await head_of(mirror)
        await mirror.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
        await w.until(lambda: any(each._begun for each in w.worker._http.upstreams))
        await server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await heard(client, b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.send(b"body")
        await heard(server, b"body")
        await heard(mirror, b"body")
        await server.send(OK)
        await heard(client, OK)
        await mirror.send(OK)
        await over(w, **{"2xx": 1})

    run(scenario())


def test_a_mirror_that_does_not_keep_up_with_a_body_is_dropped(run: Run, world: World, upstream: Upstream) -> None:
    size = 24 << 20

    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other, buffer="128KiB"))
        client = await w.connect()
        sending = asyncio.ensure_future(client.send(PUT % size + bytes(size)))
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        # << the original takes all of it, though the mirror reads nothing
        assert not any(await server.recv_exactly(size))
        await sending
        await over(w, slow=1)
        await server.send(OK)
        await heard(client, OK)
        with pytest.raises(ConnectionError):
            while await mirror.recv():
                pass
        assert connections(w) == (1, 0)

    run(scenario())


def test_a_mirror_that_is_slow_for_a_while_gets_all_of_it(run: Run, world: World, upstream: Upstream) -> None:
    size = 24 << 20

    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other, buffer="64MiB"))
        client = await w.connect()
        sending = asyncio.ensure_future(client.send(PUT % size + bytes(range(256)) * (size // 256)))
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await server.recv_exactly(size)
        await sending
        await server.send(OK)
        await heard(client, OK)
        # >> the original is over, and only now the mirror reads
        assert counted(w) == {"begun": 1, "active": 1}
        await head_of(mirror)
        assert await mirror.recv_exactly(size) == bytes(range(256)) * (size // 256)
        await mirror.send(OK)
        await over(w, **{"2xx": 1})
        assert idle(w) == 2

    run(scenario())


def test_an_answer_before_the_end_of_a_body_ends_the_copy(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(PUT % 4 + b"ab")
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await head_of(mirror)
        await mirror.send(OK)
        await over(w, **{"2xx": 1})
        await client.send(b"cd")
        await heard(server, b"abcd")
        await server.send(OK)
        await heard(client, OK)
        assert connections(w) == (1, 0), "it had half a request, and carries no other"

    run(scenario())


@pytest.mark.parametrize("how", ["client", "upstream", "answer"])
@pytest.mark.parametrize("whole", [False, True])
def test_an_original_that_ends_early(run: Run, world: World, upstream: Upstream, how: str, whole: bool) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(PUT % 4 + (b"abcd" if whole else b"ab"))
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await head_of(mirror)
        if how == "client":
            client.reset()
        elif how == "upstream":
            server.reset()
            assert (await head_of(client)).startswith(b"HTTP/1.1 502 ")
        else:
            await server.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            assert (await head_of(client)).startswith(b"HTTP/1.1 413 ")
        if whole:
            # << what has all of its request goes on
            await heard(mirror, b"abcd")
            await mirror.send(OK)
            await over(w, **{"2xx": 1})
        else:
            await heard(mirror, b"ab")
            assert not await ended(mirror), "half a request must not look whole"
            await over(w, cut=1)
        assert w.stats.clusters["other"].connections_active == int(whole)

    run(scenario())


def test_a_client_that_is_gone_before_the_copy_has_begun(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(PUT % 4 + b"ab")
        client.reset()  # >> both before the loop looks
        await w.until(lambda: sum(w.closed().values()) == 1)
        await w.until(lambda: connections(w) == (0, 0))
        assert counted(w)["begun"] <= 1
        await over(w, **({"cut": 1} if counted(w)["begun"] else {}))

    run(scenario())


def test_a_request_that_nobody_answers_is_copied_to_nobody(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, other = world(), upstream()
        said = mirrored(other, other, {"filters": [{"extension": "tests.relay.extensions:Teapot"}]})
        said["clusters"]["up"]["endpoints"] = []
        await w.apply(said)
        client = await w.connect()
        await client.send(GET + b"GET /tea HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 503 ")
        await heard(client, b"no endpoint\n")
        assert (await head_of(client)).startswith(b"HTTP/1.1 418 ")
        assert counted(w) == {"begun": 0, "active": 0}

    run(scenario())


def test_upgrades_are_not_copied(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        agree = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        await server.send(agree)
        await heard(client, agree)
        assert counted(w) == {"begun": 0, "active": 0, "upgrade": 1}

    run(scenario())


def test_no_more_copies_at_a_time_than_allowed(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other, max_requests=2))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        for _ in range(3):
            await original(client, server)
        assert counted(w) == {"begun": 2, "active": 2, "busy": 2}
        for mirror in [await other.accept(), await other.accept()]:
            await head_of(mirror)
            await mirror.send(OK)
        await over(w, **{"busy": 2, "2xx": 2})

    run(scenario())


def test_a_stale_connection_is_not_tried_again(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(GET)
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await server.send(OK)
        await heard(client, OK)
        await head_of(mirror)
        await mirror.send(OK)
        await over(w, **{"2xx": 1})
        await client.send(GET)
        await head_of(server)
        await head_of(mirror)
        mirror.reset()
        await over(w, **{"2xx": 1, "upstream_lost": 1})
        assert w.stats.clusters["other"].connections_total == 1
        await server.send(OK)
        await heard(client, OK)

    run(scenario())


def test_a_reload_in_the_middle(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other, third = world(), upstream(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(PUT % 4 + b"ab")
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        await head_of(mirror)
        await w.apply({"drain": {"timeout": "9s"}, **mirrored(up, third)})
        # << what is under way ends in the world in which it began
        await client.send(b"cd")
        await heard(server, b"abcd")
        await heard(mirror, b"abcd")
        await server.send(OK)
        await heard(client, OK)
        await mirror.send(OK)
        await over(w, **{"2xx": 1})
        assert await ended(mirror), "nobody is to ask it any more"
        # << and the next request belongs to the new one
        await original(client, server)
        late = await third.accept()
        assert await head_of(late) == COPY
        # >> a mirror that goes, with a copy under way, has the time that a drain gives
        await w.apply({"drain": {"timeout": "3s"}, **mirrored(up, upstream())})
        w.clock.advance(4)
        assert not await ended(late)
        await over(w, **{"2xx": 1, "upstream_lost": 1})

    run(scenario())


@pytest.mark.parametrize("asked", [False, True])
def test_the_end_of_the_proxy_in_the_middle(run: Run, world: World, upstream: Upstream, asked: bool) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        stats = w.stats.listeners["in"].mirrors["web/0"]["other"]
        mirror = await other.accept() if asked else None
        draining = asyncio.ensure_future(w.worker.drain(5))
        await asyncio.sleep(0)
        await server.send(OK)
        assert (await head_of(client)).startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close")
        await heard(client, b"hi")
        assert await ended(client)
        client.close()
        # << a copy holds up no end
        await draining
        w.worker.close()
        assert dict(stats.dropped) == {"drain": 1}
        assert stats.copies_active == 0
        if mirror is not None:
            await head_of(mirror)
            assert not await ended(mirror)

    run(scenario())


def test_a_mirror_says_nothing_of_who_asked_but_what_the_upstream_hears(
    run: Run, world: World, upstream: Upstream
) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Real-IP: 9.9.9.9\r\n\r\n")
        server, mirror = await up.accept(), await other.accept()
        await head_of(server)
        assert await head_of(mirror) == COPY

    run(scenario())


@pytest.mark.parametrize("end", ["answer", "cut", "lost"])
def test_a_copy_leaves_nothing_for_the_collector(run: Run, world: World, upstream: Upstream, end: str) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        await w.apply(mirrored(up, other))
        client = await w.connect()
        gc.collect()
        gc.disable()
        try:
            await client.send(PUT % 4 + b"ab")
            server, mirror = await up.accept(), await other.accept()
            await head_of(server)
            await heard(server, b"ab")
            await head_of(mirror)
            if end == "answer":
                await mirror.send(OK)
            elif end == "lost":
                mirror.reset()
            client.reset()
            await w.until(lambda: counted(w)["active"] == 0 and connections(w)[0] == 0)
            await asyncio.sleep(0)
            assert not [each for each in gc.get_objects() if isinstance(each, Copy)]
        finally:
            gc.enable()

    run(scenario())


def test_a_mirror_is_chosen_for_who_asks_and_doubted_for_itself(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up, other = world(), upstream(), upstream()
        heeded: list[Any] = []
        await w.apply(mirrored(up, other, timeout="1s"))
        client = await w.connect()
        (state,) = w.worker._guests.states
        handling = state.entry.choose(None).front(None)._find(b"x", b"/a", b"GET", None).outcome
        cluster = handling.mirror.cluster
        choose = cluster.choose

        def noted(tried: Any, x: Any) -> Any:
            heeded.append((x.client, x.path, connections(w)))
            return choose(tried, x)

        def heed(endpoint: Any, failure: Failure | None, status: int, seconds: float) -> None:
            heeded.append(failure and failure.reason)

        cluster.choose = noted
        cluster.heed = heed
        await client.send(GET)
        server = await up.accept()
        await head_of(server)
        mirror = await other.accept()
        await head_of(mirror)
        w.clock.advance(1.1)
        await over(w, timeout=1)
        # << and not before the original is on its way
        assert heeded == [("127.0.0.1", b"/a", (1, 0)), "request_timeout"]

    run(scenario())
