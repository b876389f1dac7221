"""Name servers that end with the test, and conditions that are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.discovery.servers import Say, Server


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(say: Say, host: str = "127.0.0.1", *, tcp: bool = True) -> Server:
        started.append(Server(say, host, tcp=tcp))
        return started[-1]

    yield start
    for server in started:
        server.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is watched are plain values
        await asyncio.sleep(0.001)
