"""Ends that come at a bad moment: what is counted twice or held for ever shows in the gauges.

`>>` is what happens, `<<` what must follow.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.relay.conversation import answered, config, head_of

World = Callable[[], Any]
Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
ASK = b"GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
AGREE = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def gauges(w: Any) -> tuple[int, int]:
    return w.stats.listeners["in"].connections_active, w.stats.clusters["up"].connections_active


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
        b"HTTP/1.0 200 OK\r\n\r\nhi",
        b"garbage\r\n\r\n",
        AGREE + b"words",
    ],
)
def test_an_answer_that_meets_a_client_just_gone_ends_everything_once(
    run: Run, world: World, upstream: Upstream, answer: bytes
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(config(up.address))
        client = await w.connect()
        await client.send(ASK.replace(b"Connection: ", b"Connection: close, "))
        server = await up.accept()
        await head_of(server)
        server.sock.send(answer)
        client.reset()  # >> both before the loop looks, and the answer first
        await w.until(lambda: gauges(w)[0] == 0)
        server.close()
        await w.until(lambda: gauges(w)[1] == 0)
        assert sum(answered(w).values()) == 1
        assert sum(w.closed().values()) == 1

    run(scenario())
