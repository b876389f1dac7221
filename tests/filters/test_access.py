"""Who may ask for what, and every way around it that we know of."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.filters.access import loose
from tests.filters.asking import ask, get
from tests.relay.conversation import answered, config

World = Callable[[], Any]
Run = Callable[[Coroutine[Any, Any, None]], None]


def guarded(access: Any, listener: Any = None) -> dict[str, Any]:
    return config(rules=[{"filters": [{"access": access}], "reply": {"status": 204}}], listener=listener)


def check(run: Run, world: World, said: dict[str, Any], requests: dict[bytes, int]) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(said)
        found = {}
        for request in requests:
            client = await w.connect()
            found[request] = (await ask(client, request)).status
            client.close()
        assert found == requests

    run(scenario())


def test_deny_comes_before_allow_and_allow_leaves_nothing_else(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        deny = [
            {"path": {"prefix": "/v1/private"}, "methods": ["PUT", "DELETE"]},
            {"headers": {"x-bad": {"present": True}}},
        ]
        allow = [
            {"path": {"prefix": "/v1"}},
            {"path": {"exact": "/"}, "methods": ["GET"]},
            {"path": {"regex": "/x[0-9]+"}},
            {"path": {"begins": "/y[0-9]"}},
        ]
        await w.apply(guarded({"deny": deny, "allow": allow}))
        client = await w.connect()
        for path, method, status in (
            ("/v1", "GET", 204), ("/v1/", "GET", 204), ("/v1/x?q", "PUT", 204), ("/v12", "GET", 403),
            ("/v1/private/x", "GET", 204), ("/v1/private", "PUT", 403), ("/v1/private/x", "DELETE", 403),
            ("/", "GET", 204), ("/", "POST", 403), ("/x12", "GET", 204), ("/x12y", "GET", 403),
            ("/y1/z", "GET", 204), ("/y", "GET", 403), ("/other", "GET", 403),
        ):  # fmt: skip
            assert (await ask(client, get(path, method=method))).status == status, (path, method)
        refused = await ask(client, get("/v1", "X-Bad:"))
        assert (refused.status, refused.body) == (403, b"access denied\n")
        assert answered(w) == {"204": 7, "403 AD": 8}

    run(scenario())


def test_only_deny_leaves_all_the_rest_and_the_status_may_be_another(run: Run, world: World) -> None:
    said = guarded({"deny": [{"path": {"exact": "/old"}}], "status": 410})
    check(run, world, said, {get("/old"): 410, get("/old/x"): 204, get("/"): 204})


@pytest.mark.parametrize(("network", "status"), [("127.0.0.0/8", 204), ("10.0.0.0/8", 403), ("::/0", 403)])
def test_by_the_source_of_the_connection(run: Run, world: World, network: str, status: int) -> None:
    spoofed = [f"{name}: 10.1.2.3" for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP")]
    check(
        run, world, guarded({"allow": [{"sources": [network, "192.0.2.0/24"]}]}),
        {get(): status, get("/a", *spoofed): status},
    )  # fmt: skip


def test_by_whom_a_believed_peer_names(run: Run, world: World) -> None:
    said = guarded(
        {"allow": [{"sources": ["192.0.2.0/24"]}], "deny": [{"sources": ["192.0.2.66/32"]}]},
        {"http": {"forwarded": {"trusted": ["127.0.0.0/8"]}}},
    )
    of = "X-Forwarded-For:"
    check(run, world, said, {
        get(): 403,
        get("/a", f"{of} 192.0.2.7"): 204,
        get("/a", f"{of} 192.0.2.66"): 403,
        get("/a", f"{of} 192.0.2.7, 198.51.100.1"): 403,  # the client has written the first
        get("/a", f"{of} 198.51.100.1, 192.0.2.7"): 204,
        get("/a", f"{of} 192.0.2.7", f"{of} 198.51.100.1"): 403,  # the same in two lines
        get("/a", f"{of} 192.0.2.7, nonsense"): 403,
        get("/a", f"{of} 192.0.2.66, 127.0.0.2"): 403,
        get("/a", "X-Forwarded-For : 192.0.2.7"): 400,
        get("/a", "X_Forwarded_For: 192.0.2.7"): 400,
        get("/a", "X-Real-IP: 192.0.2.7"): 403,
    })  # fmt: skip


def test_a_unix_socket_is_in_no_network(run: Run, world: World, tmp_path: Any) -> None:
    where = {"listen": f"unix:{tmp_path}/s"}
    check(run, world, guarded({"allow": [{"sources": ["0.0.0.0/0", "::/0"]}]}, where), {get(): 403})


SPELLINGS = (
    "/admin /admin/ //admin ///admin// /./admin /a/../admin /%61dmin /%2e/admin /a/%2e%2e/admin /x/%2E./admin /ADMIN "
    "/Admin/x /%41dmin /admin;x /admin;jsessionid=1/x /a/..//admin /admin?x "
    "/admin/..%3badmin/x /admin/%00 /admin/.%2e/admin"
).split()


@pytest.mark.parametrize("path", SPELLINGS)
@pytest.mark.parametrize("slashes", ["merge", "keep"])
def test_no_spelling_of_a_path_gets_around(run: Run, world: World, path: str, slashes: str) -> None:
    async def scenario() -> None:
        w = world()
        for how in ("prefix", "exact"):
            said = guarded({"deny": [{"path": {how: "/admin"}}]}, {"http": {"path": {"slashes": slashes}}})
            await w.apply(said)
            status = (await ask(await w.connect(), get(path))).status
            assert status in (400, 403) or (how == "exact" and "/x" in path)

    run(scenario())


@pytest.mark.parametrize("path", ["/%2Fadmin", "/%5Cadmin", "/%2f%2Fadmin/x", "/admin%2Fx", "/admin%5cx"])
def test_nor_where_escaped_slashes_are_admitted(run: Run, world: World, path: str) -> None:
    said = guarded(
        {"deny": [{"path": {"prefix": "/admin"}}]}, {"http": {"path": {"escaped_slashes": "keep", "slashes": "keep"}}}
    )
    check(run, world, said, {get(path): 403, get("/administrator"): 204})


@pytest.mark.parametrize("method", ["delete", "Delete", "DELETE"])
def test_nor_a_method(run: Run, world: World, method: str) -> None:
    check(run, world, guarded({"deny": [{"methods": ["DELETE"]}]}), {get(method=method): 403, get(): 204})


def test_what_is_allowed_is_allowed_to_the_letter(run: Run, world: World) -> None:
    said = guarded({"allow": [{"methods": ["GET"], "path": {"prefix": "/public"}}]})
    check(run, world, said, {
        get("/public/x"): 204, get("/Public/x"): 403, get("/public;x"): 403, get("/public", method="get"): 403,
        get("/public/../admin"): 403, get("/public/%2e%2e/admin"): 403, get("/publication"): 403,
        get("*", method="OPTIONS"): 403,
    })  # fmt: skip


@pytest.mark.parametrize("host", ["shop.local.", "SHOP.local", "shop.local:80", "shop.local:8080"])
def test_another_spelling_of_the_host_finds_no_rule_that_is_open(run: Run, world: World, host: str) -> None:
    """A rule with a filter is not left by what only looks like another host."""
    rules = [
        {
            "match": {"hosts": ["shop.local"]},
            "filters": [{"access": {"deny": [{"path": {"prefix": "/admin"}}]}}],
            "reply": {"status": 204},
        }
    ]
    request = get("/admin").replace(b"shop.local", host.encode())
    check(run, world, config(rules=rules), {request: 404 if host.endswith(".") else 403})


def test_the_loosest_reading_of_a_path() -> None:
    assert loose(b"/") == b""
    assert loose(b"/a/B") == b"/a/b"
    assert loose(b"/a;x=1;y/b;z/") == b"/a/b"
    assert loose(b"//a%2F%5Cb\\c") == b"/a/b/c"
    assert loose(b"/a%3Bx") == b"/a%3bx"
