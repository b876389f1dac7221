"""A client that everybody has, through the proxy as it is told to go: by CONNECT, and by SOCKS5."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.names import Names
from tests.relay.conversation import head_of
from tests.relay.test_connect import LOCAL, hashed
from tests.relay.test_connect import config as http
from tests.relay.test_connect import names as names
from tests.relay.test_socks5 import config as socks

ONE_LOOP = True
"""What is shown here is the same on both."""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

USERS = [{"name": "alice", "password": hashed("a secret")}]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
BAD_PROXY = 97
"""What curl ends with where SOCKS leads nowhere."""
NO_TUNNEL = 56


async def curl(*said: str) -> tuple[int, str]:
    """How it ends, and what it got."""
    words = ["curl", "-sS", "--noproxy", "", "--max-time", "6", *said]
    done = await asyncio.to_thread(subprocess.run, words, capture_output=True, text=True, timeout=7, check=False)
    return done.returncode, done.stdout + done.stderr


async def fetched(up: Any, *said: str) -> bytes:
    """The head that the server was asked with, by who got its answer."""
    asking = asyncio.create_task(curl(*said))
    server = await up.accept()
    head = await head_of(server)
    await server.send(OK)
    server.end()
    assert await asking == (0, "hi")
    return head


def test_by_connect(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        names.have("books.shop", "127.0.0.1")
        await w.apply(http("*.shop:*", LOCAL, users=USERS))
        host, port = w.address()
        url = f"http://books.shop:{up.address.rpartition(':')[2]}/a"
        by = ("--proxytunnel", "--proxy", f"http://{host}:{port}")
        head = await fetched(up, *by, "--proxy-user", "alice:a secret", url)
        assert head.startswith(b"GET /a HTTP/1.1\r\n")
        assert b"alice" not in head
        assert b"Proxy-" not in head
        ended, words = await curl(*by, "--proxy-user", "alice:wrong", url)
        assert ended == NO_TUNNEL
        assert "407" in words
        ended, words = await curl(*by, "--proxy-user", "alice:a secret", "http://books.other:80/")
        assert ended == NO_TUNNEL
        assert "403" in words

    run(scenario())


def test_by_socks5(run: Run, world: World, upstream: Upstream, names: Names) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        names.have("books.shop", "127.0.0.1")
        await w.apply(socks("*.shop:*", LOCAL, users=USERS))
        host, port = w.address()
        up_port = up.address.rpartition(":")[2]
        by = ("--proxy-user", "alice:a secret", "--socks5-hostname", f"{host}:{port}")
        assert (await fetched(up, *by, f"http://books.shop:{up_port}/a")).startswith(b"GET /a HTTP/1.1\r\n")
        assert (await fetched(up, *by, f"http://127.0.0.1:{up_port}/b")).startswith(b"GET /b HTTP/1.1\r\n")
        assert (await curl(*by, "http://books.other:80/"))[0] == BAD_PROXY
        assert (await curl("--socks5-hostname", f"{host}:{port}", f"http://books.shop:{up_port}/"))[0] == BAD_PROXY

    run(scenario())
