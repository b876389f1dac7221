"""Which pages may ask: what browsers are told, and origins that only look right."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.filters.asking import Answer, answer, ask, get
from tests.relay.conversation import config, head_of

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

SHOP = "https://shop.local"
SAID = {
    "origins": [SHOP, "https://*.shop.local", "http://localhost:3000", {"regex": r"https://pr-[0-9]+\.preview\.local"}],
    "methods": ["GET", "PUT"],
    "headers": ["x-token", "content-type"],
    "expose": ["x-total"],
    "credentials": True,
    "max_age": "10m",
}
PREFLIGHT = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


def preflight(origin: str) -> bytes:
    return get("/a", f"Origin: {origin}", "Access-Control-Request-Method: PUT", method="OPTIONS")


def crossed(said: Any, *endpoints: str, **rule: Any) -> dict[str, Any]:
    return config(*endpoints, rules=[{"filters": [{"cors": said}], **(rule or {"reply": {"body": "hi"}})}])


def of_cors(found: Answer) -> dict[str, str]:
    return {name: value for name, value in found.fields.items() if name.startswith("access-control") or name == "vary"}


def test_a_preflight_is_answered_by_the_proxy(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(crossed(SAID, cluster="up"))  # >> nobody is there
        client = await w.connect()
        found = await ask(client, preflight(SHOP))
        assert found.status == 204
        assert of_cors(found) == {
            "access-control-allow-origin": SHOP,
            "access-control-allow-credentials": "true",
            "access-control-allow-methods": "GET, PUT",
            "access-control-allow-headers": "x-token, content-type",
            "access-control-max-age": "600",
            "vary": PREFLIGHT,
        }
        refused = await ask(client, preflight("https://evil.local"))
        assert (refused.status, of_cors(refused)) == (403, {"vary": PREFLIGHT})

    run(scenario())


def test_an_answer_says_who_may_see_it_whatever_the_upstream_says(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(crossed(SAID, up.address, cluster="up"))
        client, server = await w.connect(), None
        for fields, expected in (
            ((f"Origin: {SHOP}",), {"access-control-allow-origin": SHOP, "access-control-allow-credentials": "true",
                                    "access-control-expose-headers": "x-total", "vary": "accept, Origin"}),
            (("Origin: https://evil.local",), {"vary": "accept, Origin"}),
            ((), {"vary": "accept, Origin"}),
        ):  # fmt: skip
            request = get("/a", *fields)
            await client.send(request)
            server = server or await up.accept()
            assert await head_of(server) == request, "the upstream may want to know"
            await server.send(
                b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://evil.local\r\nVary: accept\r\n"
                b"access-control-allow-CREDENTIALS: true\r\nAccess-Control-Expose-Headers: *\r\n"
                b"Content-Length: 0\r\n\r\n"
            )
            assert of_cors(await answer(client)) == expected

    run(scenario())


def test_a_page_may_read_what_the_proxy_says_itself(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(crossed(SAID, cluster="up"))  # >> nobody is there
        client = await w.connect()
        failed = await ask(client, get("/a", f"Origin: {SHOP}"))
        assert failed.status == 503
        assert failed.fields["access-control-allow-origin"] == SHOP
        await w.apply(crossed(SAID))
        found = await ask(await w.connect(), get("/a", f"Origin: {SHOP}"))
        assert found.status == 200
        assert (found.fields["access-control-allow-origin"], found.fields["vary"]) == (SHOP, "Origin")

    run(scenario())


def test_an_options_request_that_is_no_preflight_goes_on(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(crossed(SAID, up.address, cluster="up"))
        client = await w.connect()
        request = get("/a", f"Origin: {SHOP}", method="OPTIONS")
        await client.send(request)
        assert await head_of(await up.accept()) == request

    run(scenario())


GOOD = (
    "https://shop.local https://www.shop.local https://a.b.shop.local http://localhost:3000 https://pr-12.preview.local"
).split()
TRICKS = (
    "null https://evilshop.local https://shop.local.evil.com https://shop.local.  https://shop.local:8443 "
    "http://shop.local http://www.shop.local https://.shop.local https://www.shop.local:8443 https://a..shop.local "
    "https://evil.com/.shop.local https://evil.com#.shop.local https://evil.com\\.shop.local https://u@www.shop.local "
    "https://evil.com%2f.shop.local https://evil.com,https://shop.local https://shop.local/ shop.local www.shop.local "
    "https://*.shop.local HTTPS://SHOP.LOCAL https://localhost:3000 http://localhost http://localhost:30000 "
    "https://pr-12.preview.local.evil.com https://pr-12xpreview.local https://pr-.preview.local "
    "https://evil.com?.shop.local https://[::1].shop.local https://evil.com`.shop.local https://evil.com}.shop.local"
).split()


@pytest.mark.parametrize("origin", GOOD)
def test_origins_that_are_meant(run: Run, world: World, origin: str) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(crossed(SAID))
        client = await w.connect()
        assert (await ask(client, get("/a", f"Origin: {origin}"))).fields["access-control-allow-origin"] == origin
        assert (await ask(client, preflight(origin))).status == 204

    run(scenario())


@pytest.mark.parametrize("origin", TRICKS)
def test_origins_that_only_look_right(run: Run, world: World, origin: str) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(crossed(SAID))
        client = await w.connect()
        assert of_cors(await ask(client, get("/a", f"Origin: {origin}"))) == {"vary": "Origin"}
        assert (await ask(client, preflight(origin))).status == 403

    run(scenario())


def test_of_two_origins_neither_counts(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(crossed(SAID))
        request = get("/a", "Origin: https://evil.local", f"Origin: {SHOP}")
        assert of_cors(await ask(await w.connect(), request)) == {"vary": "Origin"}

    run(scenario())


def test_null_is_taken_by_no_expression(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(crossed({"origins": [{"regex": ".*"}]}))
        client = await w.connect()
        assert of_cors(await ask(client, get("/a", "Origin: null"))) == {"vary": "Origin"}
        found = await ask(client, get("/a", "Origin: https://any.local"))
        assert of_cors(found) == {"access-control-allow-origin": "https://any.local", "vary": "Origin"}

    run(scenario())


def test_anybody_is_told_so_in_the_same_words(run: Run, world: World) -> None:
    """So that a cache may keep them."""

    async def scenario() -> None:
        w = world()
        await w.apply(crossed({"origins": ["*"], "headers": ["*"]}))
        client = await w.connect()
        for fields in ((), ("Origin: null",), ("Origin: https://evil.local",)):
            assert of_cors(await ask(client, get("/a", *fields))) == {"access-control-allow-origin": "*"}
        found = await ask(client, preflight("https://any.local"))
        assert found.fields["access-control-allow-origin"] == found.fields["access-control-allow-headers"] == "*"
        assert "access-control-max-age" not in found.fields

    run(scenario())
