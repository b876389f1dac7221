"""Checks of endpoints that speak HTTP/2, in plain and as they choose by ALPN."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

pytest.importorskip("h2")

from meshproxy.model import Config, decode
from meshproxy.observe.log import Log
from meshproxy.observe.metrics.process import ProcessStats
from meshproxy.server.checks import Checks
from tests.conftest import FakeClock, Upstream
from tests.pki import Pki
from tests.relay.h2_peer import H2Peer, reached
from tests.relay.tls_peers import server, showing

Run = Callable[[Coroutine[Any, Any, None]], None]


def clusters(address: str, version: str, tls: Any = None) -> Config:
    said = {"endpoints": [address], "http": {"version": version}, "health": {"path": "/ready"}}
    found: Config = decode(Config, {"clusters": {"up": said | ({"tls": tls} if tls else {})}})
    return found


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_in_plain(run: Run, clock: FakeClock, status: int, well: bool) -> None:
    async def scenario() -> None:
        up, process = Upstream(), ProcessStats("test")
        checks = Checks(asyncio.get_running_loop(), clock, {}, dict, process, Log(lambda _: None, clock=clock.wall))
        prepared = asyncio.ensure_future(checks.prepare(clusters(up.address, "h2")))
        peer = await reached(up)
        stream, head = await peer.asked()
        assert head[b":path"] == b"/ready"
        await peer.answer(stream, status)
        await prepared
        checks.commit()
        assert [*checks.known.values()] == [well]
        checks.close()

    run(scenario())


@pytest.mark.parametrize(
    ("version", "chosen"),
    [("h2", "h2"), ("auto", "h2"), ("auto", "http/1.1"), ("prior", "h2"), ("prior", None)],
)
def test_by_alpn(run: Run, clock: FakeClock, pki: Pki, version: str, chosen: str | None) -> None:
    async def scenario() -> None:
        ca = pki.ca()
        books = ca.issue("shop/books", dns=["books.shop"])
        up, process = Upstream(), ProcessStats("test")
        checks = Checks(asyncio.get_running_loop(), clock, {}, dict, process, Log(lambda _: None, clock=clock.wall))
        said = clusters(up.address, version, {"ca": ca.root.read_text(), "sni": "books.shop"})
        prepared = asyncio.ensure_future(checks.prepare(said))
        accepted = await up.accept()
        accepted.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = server(accepted, showing(books, alpn=[chosen] if chosen else []))
        await peer.shake()
        if chosen == "h2" or version == "prior":
            h2 = await H2Peer(peer).begin()
            await h2.answer((await h2.asked())[0])
        else:
            assert (await peer.recv()).startswith(b"GET /ready HTTP/1.1\r\n")
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await prepared
        checks.commit()
        assert [*checks.known.values()] == [True]
        checks.close()

    run(scenario())
