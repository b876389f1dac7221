"""SOCKS5 on a listener: who is asked who it is, who gets where, and what everybody else hears."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from typing import Any

import pytest

from meshproxy.errors import Invalid
from meshproxy.model import Config, decode, encode, restore
from tests.names import Names
from tests.relay.conversation import ended, heard
from tests.relay.test_connect import LOCAL, hashed, understood
from tests.relay.test_connect import names as names

ONE_LOOP = True
"""What is shown here is the same on both."""

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

HELLO, NO_PASSWORD, PASSWORD = b"\x05\x01\x00", b"\x05\x00", b"\x05\x02"
MADE = b"\x05\x00\x00\x01\0\0\0\0\0\0"


def config(*allow: str, clusters: Any = None, more: Any = None, **said: Any) -> dict[str, Any]:
    socks = {"allow": list(allow), **said}
    listener = {"name": "in", "listen": "127.0.0.1:0", "protocol": "socks5", "socks5": socks, **(more or {})}
    return {"listeners": [listener], "clusters": clusters or {}}


def request(target: str, command: int = 1) -> bytes:
    host, _, port = target.rpartition(":")
    try:
        packed = ip_address(host.strip("[]")).packed
        where = (b"\x01" if len(packed) == 4 else b"\x04") + packed
    except ValueError:
        where = b"\x03" + bytes((len(host),)) + host.encode()
    return bytes((5, command, 0)) + where + int(port).to_bytes(2)


async def code(w: Any, target: str, command: int = 1) -> int:
    """Of a refusal, after which there is nothing more."""
    client = await w.connect()
    await client.send(HELLO)
    await heard(client, NO_PASSWORD)
    await client.send(request(target, command))
    async with asyncio.timeout(5):
        answer: bytes = await client.recv_exactly(10)
    assert answer[0] == 5
    assert await ended(client)
    return answer[1]


def test_a_connection(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL))
        client = await w.connect()
        for byte in HELLO + request(up.address):
            await client.send(bytes((byte,)))
        server = await up.accept()
        await heard(client, NO_PASSWORD + MADE)
        await client.send(b"hello")
        await heard(server, b"hello")
        await server.send(b"and back")
        await heard(client, b"and back")
        client.end()
        assert await ended(server)
        server.end()
        assert await ended(client)
        await w.until(lambda: w.closed() == {"done": 1})
        assert w.stats.clusters["direct"].bytes_sent_total == 5

    run(scenario())


def test_all_in_one_breath(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        port = up.address.rpartition(":")[2]
        names.have("db.shop", "127.0.0.1")
        await w.apply(config("*.shop:*", LOCAL))
        client = await w.connect()
        await client.send(HELLO + request(f"DB.shop:{port}") + b"early")
        server = await up.accept()
        await heard(client, NO_PASSWORD + MADE)
        await heard(server, b"early")

    run(scenario())


def test_users(run: Run, world: World, upstream: Upstream) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL, users=[{"name": "alice", "password": hashed("secret")}]))
        client = await w.connect()
        await client.send(b"\x05\x02\x00\x02")
        await heard(client, PASSWORD)
        await client.send(b"\x01\x05alice\x06secret" + request(up.address) + b"early")
        server = await up.accept()
        await heard(client, b"\x01\x00" + MADE)
        await heard(server, b"early")
        for said in (b"\x01\x05alice\x05wrong", b"\x01\x03bob\x06secret", b"\x01\x00\x00"):
            other = await w.connect()
            await other.send(b"\x05\x01\x02")
            await heard(other, PASSWORD)
            await other.send(said)
            await heard(other, b"\x01\x01")
            assert await ended(other)
        nobody = await w.connect()
        await nobody.send(HELLO)
        await heard(nobody, b"\x05\xff")
        assert await ended(nobody)
        assert w.stats.listeners["in"].rejected["authorize"] == 4

    run(scenario())


def test_who_gets_nowhere(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        port = up.address.rpartition(":")[2]
        names.have("rebound.example", "127.0.0.1")
        names.fail("nobody.example", "no such name")
        await w.apply(config("*:*", "127.0.0.3:*"))
        host, own = w.address()
        for target, expected in [
            (up.address, 2),
            (f"rebound.example:{port}", 2),
            ("nobody.example:80", 4),
            (f"[::ffff:127.0.0.1]:{port}", 2),
            (f"0.0.0.0:{port}", 2),
            ("127.1:80", 2),
            ("127.0.0.3:0", 2),
            (f"127.0.0.3:{port}", 5),
        ]:
            assert await code(w, target) == expected, target
        await w.apply(config(LOCAL))
        assert await code(w, f"{host}:{own}") == 2

    run(scenario())


@pytest.mark.parametrize("command", [2, 3, 9])
def test_other_commands(run: Run, world: World, upstream: Upstream, command: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(LOCAL))
        assert await code(w, up.address, command) == 7

    run(scenario())


@pytest.mark.parametrize("said", [b"\x04\x01\x00\x50\x7f\0\0\1\0", b"GET / HTTP/1.1\r\n\r\n", HELLO + b"\x04"])
def test_what_is_not_spoken_here(run: Run, world: World, said: bytes) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(config(LOCAL))
        client = await w.connect()
        await client.send(said)
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionError):
                while await client.recv():
                    pass
        assert w.stats.listeners["in"].rejected["protocol"] == 1

    run(scenario())


def test_who_says_too_little_in_time(run: Run, world: World) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(config(LOCAL, more={"timeouts": {"handshake": "5s"}}))
        client = await w.connect()
        await client.send(HELLO)
        await heard(client, NO_PASSWORD)
        w.clock.advance(6)
        assert not await ended(client)

    run(scenario())


def test_who_leaves_while_a_name_is_asked_for(run: Run, world: World, names: Names) -> None:
    async def scenario() -> None:
        w = world()
        await w.apply(config("*:*"))
        client = await w.connect()
        await client.send(HELLO + request("silent.example:80"))
        await heard(client, NO_PASSWORD)
        await w.until(lambda: names.asked == ["silent.example"])
        w.clock.advance(11)
        assert not await ended(client)
        assert w.stats.listeners["in"].connections_active == 0

    run(scenario())


def test_what_does_not_fit() -> None:
    for said, why in [
        (config(), "allow"),
        (config(LOCAL, more={"cluster": "up"}), "takes `socks5`"),
        (config(LOCAL, more={"protocol": "tcp"}), "needs `protocol: socks5`"),
        (config(LOCAL, cluster="up"), "no cluster `up`"),
        (config(LOCAL, users=[{"name": "a:b", "password": hashed("x")}]), "no colon"),
    ]:
        with pytest.raises(Invalid, match=why):
            understood(said)


def test_a_password_comes_back_redacted() -> None:
    before = understood(config(LOCAL, users=[{"name": "alice", "password": hashed("x")}]))
    shown = encode(before, redact=True)
    assert "$7$" not in str(shown)
    assert restore(decode(Config, shown), before) == before
