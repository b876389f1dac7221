"""Conversations under limits: what is refused, in which words, and who has a limit of his own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.relay.conversation import answered, config, head_of, heard

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def limited(**rate: Any) -> dict[str, Any]:
    rate = {"requests": 2, "per": "10s", **rate}
    return config(rules=[{"reply": {"status": 204}, "filters": [{"rate_limit": rate}]}])


def asking(*fields: bytes, path: bytes = b"/a") -> bytes:
    return b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path, b"".join(field + b"\r\n" for field in fields))


async def statuses(client: Any, *requests: bytes) -> list[str]:
    found = []
    for request in requests:
        await client.send(request)
        head = await head_of(client)
        found.append(head[9:12].decode())
        if b"Content-Length: 13" in head:
            await heard(client, b"rate limited\n")
    return found


def test_a_refusal_says_when_to_come_again(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(limited())
        client = await w.connect()
        assert await statuses(client, GET, GET) == ["204", "204"]
        w.clock.advance(2)
        await client.send(GET)
        assert (await head_of(client)).replace(b"\r\n", b"|").partition(b"Date")[0] == (
            b"HTTP/1.1 429 Too Many Requests|Content-Type: text/plain|RateLimit-Limit: 2|RateLimit-Remaining: 0|"
            b"RateLimit-Reset: 3|Retry-After: 3|Content-Length: 13|"
        )
        await heard(client, b"rate limited\n")
        w.clock.advance(3)
        assert await statuses(client, GET, GET) == ["204", "429"]
        assert answered(w) == {"204": 3, "429 RL": 2}

    run(scenario())


@pytest.mark.parametrize("by", [None, "path"])
def test_a_refusal_in_other_words(run: Run, world: World, by: Any) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(limited(by=by, status=503, announce=False, headers={"X-Why": "too fast"}))
        client = await w.connect()
        assert await statuses(client, GET, GET) == ["204", "204"]
        await client.send(GET)
        head = await head_of(client)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nX-Why: too fast\r\n" in head
        assert b"RateLimit" not in head
        assert b"Retry-After" not in head
        assert answered(w) == {"204": 2, "503 RL": 1}

    run(scenario())


@pytest.mark.parametrize(
    ("by", "one", "other"),
    [
        ({"header": "X-Key"}, asking(b"X-Key: 1"), asking(b"x-key: 2")),
        ({"header": "X-Key"}, asking(), asking(b"X-Key: 2")),
        ({"cookie": "sid"}, asking(b"Cookie: a=sid; sid=1"), asking(b"Cookie: sid=2; xsid=1")),
        ({"cookie": "sid"}, asking(), asking(b"Cookie: sid=2")),
        ("path", asking(path=b"/a?1"), asking(path=b"/b?1")),
    ],
)
def test_each_value_has_a_limit_of_its_own(run: Run, world: World, by: Any, one: bytes, other: bytes) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(limited(by=by))
        client = await w.connect()
        assert await statuses(client, one, one, one) == ["204", "204", "429"]
        again = await w.connect()
        assert await statuses(again, one, other, other, other) == ["429", "204", "204", "429"]
        w.clock.advance(5)
        assert await statuses(client, one, one, other) == ["204", "429", "204"]

    run(scenario())


def test_a_source_has_a_limit_whatever_its_port(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        said = limited(by="source")
        said["listeners"][0]["proxy_protocol"] = {"trusted": ["127.0.0.1/32"]}
        await w.apply(said)
        found = []
        for source in ("10.0.0.1 1", "10.0.0.1 2", "10.0.0.1 3", "10.0.0.2 1"):
            client = await w.connect()
            address, port = source.split()
            await client.send(f"PROXY TCP4 {address} 10.9.9.9 {port} 80\r\n".encode())
            found += await statuses(client, GET)
        assert found == ["204", "204", "429", "204"]
        found = []
        for address in ("2001:db8::1", "2001:db8::2", "2001:db8:0:0:5::3", "2001:db8:0:1::1"):
            client = await w.connect()
            await client.send(f"PROXY TCP6 {address} ::1 1 80\r\n".encode())
            found += await statuses(client, GET)
        assert found == ["204", "204", "429", "204"], "of IPv6 the network counts"

    run(scenario())


@pytest.mark.parametrize("by", [None, "path"])
def test_a_bucket_that_was_empty_stays_empty_over_a_reload(run: Run, world: World, by: Any) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(limited(by=by))
        assert await statuses(await w.connect(), GET, GET, GET) == ["204", "204", "429"]
        said = limited(by=by)
        said["routes"]["web"].append({"match": {"path": {"exact": "/other"}}, "reply": {"status": 200}})
        await w.apply(said)
        assert await statuses(await w.connect(), GET) == ["429"]
        w.clock.advance(5)
        assert await statuses(await w.connect(), GET, GET) == ["204", "429"]

    run(scenario())


@pytest.mark.parametrize("by", [None, "source"])
def test_rules_that_say_the_same_name_have_one_limit(run: Run, world: World, by: Any) -> None:
    async def scenario() -> None:
        w = world()

        def rule(path: str, **rate: Any) -> dict[str, Any]:
            said = {"requests": 3, "per": "10s", "by": by, **rate}
            return {"match": {"path": {"exact": path}}, "reply": {"status": 204}, "filters": [{"rate_limit": said}]}

        rules = [rule("/a", shared="both"), rule("/b", shared="both", status=503), rule("/c", shared="own"), rule("/d")]
        await w.apply(config(rules=rules))
        a, b, c, d = (asking(path=path) for path in (b"/a", b"/b", b"/c", b"/d"))
        client = await w.connect()
        assert await statuses(client, a, b, a, b, a) == ["204", "204", "204", "503", "429"]
        assert await statuses(client, c, d, c, d, c, d, c, d) == ["204"] * 6 + ["429"] * 2
        # It is known by its name: where the rules stand is nothing to it.
        await w.apply(config(rules=rules[1::-1]))
        assert await statuses(client, a, b) == ["429", "503"]
        w.clock.advance(3.4)
        assert await statuses(client, b, a) == ["204", "429"]

    run(scenario())


def test_what_is_let_through_goes_on_as_it_is(run: Run, world: World, upstream: Callable[..., Any]) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        both = [{"rate_limit": {"requests": 2, "per": "10s"}}, {"rate_limit": {"requests": 9, "by": "path"}}]
        await w.apply(config(up.address, rules=[{"cluster": "up", "filters": both}]))
        client = await w.connect()
        server = None
        for _ in range(2):
            await client.send(b"PUT /a?q HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
            server = server or await up.accept()
            assert await head_of(server) == b"PUT /a?q HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
            await heard(server, b"hi")
            reply = b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\n\r\nok"
            await server.send(reply)
            await heard(client, reply)
        await client.send(b"PUT /a?q HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        assert (await head_of(client)).startswith(b"HTTP/1.1 429 ")
        assert answered(w) == {"200": 2, "429 RL": 1}

    run(scenario())


def test_an_extension_says_a_refusal_in_other_words(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        said = limited()
        said["routes"]["web"][0]["filters"].append({"extension": "tests.relay.extensions:Kindly"})
        await w.apply(said)
        client = await w.connect()
        assert await statuses(client, GET, GET) == ["204", "204"]
        await client.send(GET)
        head = await head_of(client)
        assert b"\r\nRetry-After: 1\r\n" in head
        assert b"RateLimit" not in head

    run(scenario())
