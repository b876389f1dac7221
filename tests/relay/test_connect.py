"""CONNECT over HTTP/1.1 and HTTP/2: who gets a tunnel to where, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable, Coroutine
from hashlib import pbkdf2_hmac
from pathlib import Path
from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, Document, combine, decode
from tests.names import Names
from tests.peers import BOOKBUYER, BOOKTHIEF, Proof, peer
from tests.relay.conversation import answered, ended, head_of, heard

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

LOCAL = "127.0.0.0/8:*"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def hashed(password: str) -> str:
    salt = b"0123456789ab"
    digest = pbkdf2_hmac("sha512", password.encode(), salt, 10)
    return f"$7$10${b64encode(salt).decode()}${b64encode(digest).decode()}"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    found = Names()
    monkeypatch.setattr("meshproxy.discovery.dns.of_system", lambda *_: found)
    return found


def config(*allow: str, rule: Any = None, listener: Any = None, clusters: Any = None, **said: Any) -> dict[str, Any]:
    return {
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web", **(listener or {})}
        ],
        "routes": {"web": [{"connect": {"allow": list(allow), **said}, **(rule or {})}, {"reply": {"status": 204}}]},
        "clusters": clusters or {},
    }


async def asked(w: Any, target: str, *lines: str, early: bytes = b"") -> Any:
    client = await w.connect()
    head = "".join(f"{line}\r\n" for line in (f"CONNECT {target} HTTP/1.1", f"Host: {target}", *lines, ""))
    await client.send(head.encode() + early)
    return client


async def refused(w: Any, target: str, *lines: str) -> tuple[int, bytes]:
    """The status and the head; such a connection has no future."""
    client = await asked(w, target, *lines)
    async with asyncio.timeout(5):
        answer: bytes = await client.recv_all()
    assert answer.startswith(b"HTTP/1.1 ")
    return int(answer[9:12]), answer


def test_a_tunnel(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL))
        client = await asked(w, up.address)
        server = await up.accept()
        await heard(client, ESTABLISHED)
        await client.send(b"\x16\x03anything")
        await heard(server, b"\x16\x03anything")
        await server.send(b"and back")
        await heard(client, b"and back")
        client.end()
        assert await ended(server)
        await server.send(b"half")
        await heard(client, b"half")
        server.end()
        assert await ended(client)
        await w.until(lambda: w.closed() == {"done": 1})
        stats = w.stats.clusters["direct"]
        assert (stats.bytes_sent_total, stats.bytes_received_total) == (10, 12)
        assert stats.connections_active == 0
        assert answered(w) == {"200": 1}

    run(scenario())


def test_what_comes_with_the_head_goes_through_the_tunnel(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL))
        client = await asked(w, up.address, early=b"GET /smuggled HTTP/1.1\r\n\r\n")
        server = await up.accept()
        await heard(client, ESTABLISHED)
        await heard(server, b"GET /smuggled HTTP/1.1\r\n\r\n")

    run(scenario())


def test_a_server_may_speak_first(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL))
        client = await asked(w, up.address)
        server = await up.accept()
        await server.send(b"SSH-2.0-x\r\n")
        await heard(client, ESTABLISHED + b"SSH-2.0-x\r\n")

    run(scenario())


def test_who_may_not(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        port = up.address.rpartition(":")[2]
        names.have("rebound.example", "127.0.0.1", "169.254.169.254")
        names.fail("nobody.example", "no such name")
        await w.apply(config("*:*", "10.0.0.0/8:443", "127.0.0.9:1-1023"))
        for target, status in [
            (up.address, 403),
            (f"rebound.example:{port}", 403),
            (f"[::ffff:127.0.0.1]:{port}", 403),
            (f"[::1]:{port}", 403),
            (f"0.0.0.0:{port}", 400),
            (f"127.1:{port}", 400),
            (f"0x7f000001:{port}", 400),
            (f"[::]:{port}", 400),
            ("rebound.example:0", 400),
            ("nobody.example:80", 502),
            ("127.0.0.9:1024", 403),
        ]:
            assert (await refused(w, target))[0] == status, target

    run(scenario())


def test_nobody_is_led_to_the_proxy_itself(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w = world()
        fronts = [{"kind": "fsm", "listen": ["127.0.0.1:15091", "127.0.0.1:15092"], "quit": True}]
        await w.apply({**config(LOCAL), "fronts": fronts})
        host, port = w.address()
        places = [f"{host}:{port}", f"[::ffff:{host}]:{port}"]
        for target in (*places, "127.0.0.1:15000", "127.0.0.1:15091", "127.0.0.1:15092"):
            status, answer = await refused(w, target)
            assert status == 403
            assert answer.endswith(b"loop\n")

    run(scenario())


def test_a_name_leads_where_a_network_lets_it(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        port = up.address.rpartition(":")[2]
        # The first cannot be reached, the second may not, and nobody asks again: what was looked at is dialled.
        names.have("db.shop", "127.0.0.2", "10.0.0.1", "127.0.0.1")
        await w.apply(config("db.shop:*", LOCAL))
        for _ in range(2):
            client = await asked(w, f"DB.shop:{port}")
            server = await up.accept()
            await heard(client, ESTABLISHED)
            await client.send(b"hello")
            await heard(server, b"hello")
        assert names.asked == ["db.shop"]

    run(scenario())


def test_nobody_is_there(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        up.close()
        await w.apply(config(LOCAL))
        assert (await refused(w, up.address))[0] == 502
        await w.until(lambda: w.stats.clusters["direct"].connections_active == 0)

    run(scenario())


def test_only_connect_is_for_the_rule_and_only_the_rule_for_connect(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL, rule={"match": {"hosts": ["127.0.0.1"]}}))
        client = await w.connect()
        await client.send(f"GET / HTTP/1.1\r\nHost: {up.address}\r\n\r\n".encode())
        assert (await head_of(client)).startswith(b"HTTP/1.1 204 ")
        assert (await refused(w, "127.0.0.2:80"))[0] == 405
        await client.send(f"GET http://{up.address}/ HTTP/1.1\r\nHost: {up.address}\r\n\r\n".encode())
        assert (await head_of(client)).startswith(b"HTTP/1.1 204 ")
        assert (await refused(w, up.address, "Content-Length: 1"))[0] == 400
        assert (await refused(w, up.address, "Transfer-Encoding: chunked"))[0] == 400

    run(scenario())


def test_users(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL, users=[{"name": "alice", "password": hashed("a:b")}]))

        def basic(said: str) -> str:
            return f"Proxy-Authorization: Basic {b64encode(said.encode()).decode()}"

        wrong = [[], [basic("alice:wrong")], [basic("bob:a:b")], [basic("alice")], ["Proxy-Authorization: Basic %%%"]]
        for lines in wrong:
            status, answer = await refused(w, up.address, *lines)
            assert status == 407
            assert b"\r\nProxy-Authenticate: Basic realm=" in answer
        client = await asked(w, up.address, basic("alice:a:b"))
        server = await up.accept()
        await heard(client, ESTABLISHED)
        await client.send(b"x")
        await heard(server, b"x")

    run(scenario())


def test_who_is_not_admitted_by_its_identity(
    run: Run, world: World, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        w, up, proof = world(), upstream(), Proof(monkeypatch)
        await w.apply(config(LOCAL, rule={"authorize": [{"identities": ["shop/bookbuyer"]}]}))
        proof.peer = peer(BOOKTHIEF)
        assert (await refused(w, up.address))[0] == 403
        proof.peer = peer(BOOKBUYER)
        client = await asked(w, up.address)
        await up.accept()
        await heard(client, ESTABLISHED)

    run(scenario())


def test_a_tunnel_that_is_silent_and_one_that_takes_too_long(
    run: Run, world: World, upstream: Upstream, names: Names
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config("*:*", LOCAL, rule={"timeouts": {"idle": "20s", "request": "5s"}}))
        client = await asked(w, up.address)
        server = await up.accept()
        await heard(client, ESTABLISHED)
        late = await asked(w, "silent.example:80")
        await w.until(lambda: names.asked == ["silent.example"])
        w.clock.advance(6)
        assert (await head_of(late)).startswith(b"HTTP/1.1 504 ")
        await client.send(b"still here")
        await heard(server, b"still here")
        w.clock.advance(40)
        assert await ended(client)
        assert await ended(server)

    run(scenario())


def test_a_limit_of_connections(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        direct = {"direct": {"original": True, "breaker": {"max_connections": 1}}}
        await w.apply(config(LOCAL, clusters=direct))
        client = await asked(w, up.address)
        server = await up.accept()
        await heard(client, ESTABLISHED)
        assert (await refused(w, up.address))[0] == 503
        server.end()
        client.end()
        await w.until(lambda: w.stats.clusters["direct"].connections_active == 0)
        again = await asked(w, up.address)
        await up.accept()
        await heard(again, ESTABLISHED)

    run(scenario())


def test_a_cluster_of_ones_own(run: Run, world: World, upstream: Upstream) -> None:
    """Whatever the target, they go to its endpoints; nobody looks the name up."""

    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config("*.shop:443", cluster="up", clusters={"up": {"endpoints": [up.address]}}))
        client = await asked(w, "db.shop:443")
        await up.accept()
        await heard(client, ESTABLISHED)
        assert (await refused(w, "db.shop:80"))[0] == 403
        assert w.stats.clusters["up"].connections_total == 1

    run(scenario())


def test_the_log_is_told_at_the_end_of_the_tunnel(run: Run, world: World, upstream: Upstream, tmp_path: Path) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        to = tmp_path / "log"
        await w.apply({**config(LOCAL), "access_log": {"to": {"file": str(to)}, "flush": "10ms"}})
        client = await asked(w, up.address)
        server = await up.accept()
        await heard(client, ESTABLISHED)
        await client.send(b"12345")
        await heard(server, b"12345")
        server.end()
        client.end()
        async with asyncio.timeout(5):
            while not to.exists() or not to.read_text():
                w.clock.advance(0.1)
                await asyncio.sleep(0.005)
        (line,) = map(json.loads, to.read_text().splitlines())
        assert (line["method"], line["response_code"], line["bytes_received"]) == ("CONNECT", 200, 5)

    run(scenario())


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"match": {"path": {"prefix": "/a"}}}, "no path"),
        ({"retry": {}}, "retry"),
        ({"rewrite": {"path": "/a"}}, "rewrite"),
        ({"filters": [{"max_body": 1}]}, "max_body"),
        ({"reply": {}}, "exactly one"),
        ({"response_headers": {"remove": ["a"]}}, "response_headers"),
    ],
)
def test_what_makes_no_sense_for_a_tunnel(rule: Any, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        understood(config(LOCAL, rule=rule))


def test_a_password_that_is_not_hashed_is_refused() -> None:
    with pytest.raises(Invalid, match="not hashed"):
        understood(config(LOCAL, users=[{"name": "a", "password": "plain"}]))


def test_a_cluster_that_is_not_there() -> None:
    with pytest.raises(Invalid, match="no cluster `outside`"):
        understood(config(LOCAL, cluster="outside"))


def understood(said: dict[str, Any]) -> Config:
    return combine([Document("a.yaml", decode(Config, said), frozenset(said), lambda _: None)])
