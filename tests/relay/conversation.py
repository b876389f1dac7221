"""Conversations over HTTP: what a client and an upstream say, word for word."""

from __future__ import annotations

import asyncio
import re
from typing import Any

WITHIN = 5.0
IDENTITY = re.compile(rb"X-(?:Forwarded-For|Forwarded-Proto|Request-Id): [^\r\n]*\r\n")


def config(*endpoints: str, rules: list[Any] | None = None, listener: Any = None, **cluster: Any) -> dict[str, Any]:
    return {
        "listeners": [
            {"name": "in", "listen": "127.0.0.1:0", "protocol": "http", "routes": "web", **(listener or {})}
        ],
        "routes": {"web": rules or [{"cluster": "up"}]},
        "clusters": {"up": {"endpoints": list(endpoints), **cluster}},
    }


async def heard(peer: Any, words: bytes) -> None:
    """These words arrive next, and nothing is missing or different."""
    got = b""
    async with asyncio.timeout(WITHIN):
        while len(got) < len(words) and words.startswith(got):
            more = await peer.recv(len(words) - len(got))
            assert more, f"ended after {got!r}, where {words!r} was due"
            got += more
    assert got == words


async def head_of(peer: Any) -> bytes:
    """A head, byte by byte, without what says who asked."""
    got = b""
    async with asyncio.timeout(WITHIN):
        while not got.endswith(b"\r\n\r\n"):
            more = await peer.recv(1)
            assert more, f"ended after {got!r}"
            got += more
    return IDENTITY.sub(b"", got)


async def ended(peer: Any) -> bool:
    """Whether it ends in good order; False: by a reset.  Nothing more may come."""
    async with asyncio.timeout(WITHIN):
        try:
            got = await peer.recv()
        except ConnectionError:
            return False
    assert not got, f"{got!r} came, where the end was due"
    return True


def answered(w: Any, listener: str = "in") -> dict[str, int]:
    """How often each status was counted, with its flags."""
    found: dict[str, int] = {}
    for of_route in w.stats.listeners[listener].answers.values():
        for stats in of_route.values():
            for key, count in stats.requests.items():
                found[str(key)] = found.get(str(key), 0) + count
    return found


def idle(w: Any) -> int:
    """Connections that wait in the pools."""
    return sum(1 for each in w.worker._http.upstreams if each.waits)
