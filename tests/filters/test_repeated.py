"""Of repeated header fields the last one goes on, where a rule says so."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.relay.conversation import config, head_of

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

REQUEST = (
    b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nCookie: a=1\r\nx-b: 1\r\nX-Forwarded-For: 6.6.6.6\r\nKeep-Alive: 1\r\n"
    b"x-a: 2\r\ncookie: b=2\r\nX-Forwarded-For: 7.7.7.7\r\nKeep-Alive: 2\r\nX-C: 1\r\nX-C: 2\r\nConnection: x-c\r\n\r\n"
)
ANSWER = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nSet-Cookie: a=1\r\nx-a: 2\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n"
LAST = b"Cookie: a=1\r\nx-b: 1\r\nx-a: 2\r\ncookie: b=2\r\n"


@pytest.mark.parametrize(
    ("rule", "line", "more"),
    [
        ({}, b"GET /a", b""),
        ({"rewrite": {"path": "/new"}}, b"GET /new", b""),
        # What the rule adds is not the client's, and stands beside it.
        ({"request_headers": {"add": {"x-a": "3"}}}, b"GET /a", b"x-a: 3\r\n"),
        ({"request_headers": {"add": {"x-a": "%{method}"}}}, b"GET /a", b"x-a: GET\r\n"),
    ],
)
def test_the_last_goes_on_in_both_directions(
    run: Run, world: World, upstream: Upstream, rule: Any, line: bytes, more: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address, rules=[{"cluster": "up", "filters": [{"repeated": "last"}], **rule}]))
        client = await w.connect()
        server = None
        for _ in range(3):
            await client.send(REQUEST)
            server = server or await up.accept()
            head = await head_of(server)
            assert head == line + b" HTTP/1.1\r\nHost: x\r\n" + LAST + more + b"\r\n"
            await server.send(ANSWER)
            assert await head_of(client) == (
                b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nx-a: 2\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n"
            )

    run(scenario())


def test_without_it_all_go_on_also_of_the_same_bytes(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rules = [
            {"match": {"path": {"exact": "/b"}}, "cluster": "up", "filters": [{"repeated": "last"}]},
            {"cluster": "up"},
        ]
        await w.apply(config(up.address, rules=rules))
        client = await w.connect()
        server = None
        for path, fields in ((b"/a", b"x: 1\r\nx: 2\r\n"), (b"/b", b"x: 2\r\n"), (b"/a", b"x: 1\r\nx: 2\r\n")):
            await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\nx: 1\r\nx: 2\r\n\r\n" % path)
            server = server or await up.accept()
            assert await head_of(server) == b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path, fields)
            await server.send(ANSWER)
            assert (await head_of(client)).count(b"-A: 1") == (path == b"/a")

    run(scenario())
