"""Bodies that are too large for a rule, by what is said of them and as they come."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.filters.asking import answer, ask, get
from tests.relay.conversation import answered, config, ended, head_of, heard

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


def limited(*endpoints: str, most: Any = 8, listener: Any = None) -> dict[str, Any]:
    rules = [
        {
            "match": {"path": {"prefix": "/small"}},
            "cluster": "up",
            "filters": [{"max_body": most}, {"max_body": "1KiB"}],
        },
        {"cluster": "up"},
    ]
    return config(*endpoints, rules=rules, listener=listener)


def put(path: str, length: int) -> bytes:
    return get(path, f"Content-Length: {length}", method="PUT")


CHUNKED = get("/small", "Transfer-Encoding: chunked", method="PUT")


def test_what_says_that_it_is_too_large_is_refused_at_once(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(limited(up.address))
        client = await w.connect()
        refused = await ask(client, put("/small", 9))  # >> nothing of it has come
        assert (refused.status, refused.fields["connection"]) == (413, "close")
        assert await ended(client)
        expecting = await w.connect()
        request = get("/small", "Content-Length: 9", "Expect: 100-continue", method="PUT")
        assert (await ask(expecting, request)).status == 413
        client = await w.connect()
        await client.send(put("/small", 8) + b"12345678")
        server = await up.accept()
        await head_of(server)
        await heard(server, b"12345678")
        other = await w.connect()
        await other.send(put("/large", 20_000))
        await head_of(await up.accept())
        assert answered(w) == {"413 DPE": 2}

    run(scenario())


def test_what_does_not_say_is_measured_as_it_comes(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(limited(up.address))
        client = await w.connect()
        await client.send(CHUNKED + b"5\r\n12345\r\n")
        server = await up.accept()
        assert await head_of(server) == CHUNKED, "it goes on as it is"
        await heard(server, b"5\r\n12345\r\n")
        await client.send(b"3\r\n678\r\n")
        await heard(server, b"3\r\n678\r\n")
        await client.send(b"1\r\n9\r\n")
        assert (await answer(client)).status == 413
        assert not await ended(server), "half a request is none"
        whole = await w.connect()
        await whole.send(CHUNKED + b"8;x=y\r\n12345678\r\n0\r\n\r\n")
        server = await up.accept()
        await head_of(server)
        await heard(server, b"8;x=y\r\n12345678\r\n0\r\n\r\n")
        assert answered(w) == {"413 DPE": 1}

    run(scenario())


@pytest.mark.parametrize("body", [b"9\r\n", b"5\r\n12345\r\n4\r\n6789\r\n0\r\n\r\n", b"ffffffff\r\n"])
def test_nobody_is_asked_if_the_first_piece_is_too_large(
    run: Run, world: World, upstream: Upstream, body: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(limited(up.address))
        client = await w.connect()
        assert (await ask(client, CHUNKED + body)).status == 413
        assert w.stats.clusters["up"].connections_total == 0

    run(scenario())


def test_the_listener_may_be_stricter_and_nothing_may_be_all(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(limited(up.address, most="1MiB", listener={"http": {"limits": {"body": 4}}}))
        for request in (put("/small", 5), CHUNKED + b"5\r\n", CHUNKED + b"4\r\n1234\r\n1\r\n"):
            assert (await ask(await w.connect(), request)).status == 413
        await w.apply(limited(up.address, most=0))
        assert (await ask(await w.connect(), put("/small", 1))).status == 413
        await (await w.connect()).send(get("/small"))
        await head_of(await up.accept())

    run(scenario())
