"""A session leaves nothing for the collector, and a client that only waits costs little."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import pytest

from meshproxy.wire.mqtt import PUBACK, V5, V311, Ack, Code, Connack, Connect, Disconnect, Suback
from tests.conftest import FakeClock
from tests.relay.mqtt.talking import (
    Peer,
    Run,
    Upstream,
    World,
    accepted,
    asking,
    dialled,
    meet,
    message,
    relayed,
    sessions,
)
from tests.relay.test_http_freed import left_by

ONE_LOOP = True

KIB = 1 << 10
IDLE = 6 * KIB
"""Of one client that waits, and its connection to the broker: all that Python has for them."""


async def leaves(client: Peer, broker: Peer) -> None:
    await client.say(Disconnect())
    await broker.heard(Disconnect())
    assert await broker.ended()
    assert await client.ended()


async def dies(client: Peer, broker: Peer) -> None:
    client.client.reset()
    assert await broker.ended()


async def loses_its_broker(client: Peer, broker: Peer) -> None:
    broker.client.reset()
    await client.rest()


async def is_malformed(client: Peer, broker: Peer) -> None:
    await client.send(b"\0\0")
    await client.rest()
    assert await broker.ended()


async def is_denied(client: Peer, broker: Peer) -> None:
    await client.say(message("no", qos=1, number=1), asking(2, "no"))
    await client.hear(Ack)
    await client.hear(Suback)
    await leaves(client, broker)


async def is_too_fast(client: Peer, broker: Peer) -> None:
    await client.say(*[message("t")] * 100)
    for _ in range(100):
        await broker.heard(message("t"))
    client.client.reset()
    assert await broker.ended()


async def has_talked(client: Peer, broker: Peer) -> None:
    await client.say(message("t", qos=1, number=1), asking(2, "t"))
    await broker.heard(message("t", qos=1, number=1), asking(2, "t"))
    await broker.say(Ack(PUBACK, 1), Suback(2, (0,)), message("t", qos=1, number=3))
    await client.heard(Ack(PUBACK, 1), Suback(2, (0,)), message("t", qos=1, number=3))
    await client.say(Ack(PUBACK, 3))
    await broker.heard(Ack(PUBACK, 3))
    await leaves(client, broker)


@pytest.mark.parametrize("level", [V311, V5])
@pytest.mark.parametrize(
    "end", [leaves, dies, loses_its_broker, is_malformed, is_denied, is_too_fast, has_talked],
    ids=lambda each: each.__name__,
)  # fmt: skip
def test_a_session_leaves_nothing_for_the_collector(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, level: int, end: Any
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        rate = {"rate": {"messages": 10}} if end is is_too_fast else {}
        await w.apply(relayed(up, authorize=[{"publish": ["t"], "subscribe": ["t"]}], **rate))

        async def exchange() -> None:
            client, broker = await meet(w, up, level, Connect(level, "boat", keep_alive=60))
            await end(client, broker)
            client.close()
            broker.close()
            clock.advance(3)

        assert not await left_by(w, exchange)

    run(scenario())


@pytest.mark.parametrize("code", [Code.BANNED, None])
def test_nor_does_one_that_was_not_let_in(
    run: Run, world: World, upstream: Upstream, clock: FakeClock, code: Code | None
) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))

        async def exchange() -> None:
            client = await dialled(w, V5)
            await client.say(Connect(V5, "a"))
            broker = await accepted(up, V5)
            await broker.hear(Connect)
            if code is None:
                broker.client.reset()
            else:
                await broker.say(Connack(False, code))
            await client.rest()
            client.close()
            broker.close()
            clock.advance(3)

        assert not await left_by(w, exchange)

    run(scenario())


@pytest.mark.parametrize("level", [V311, V5])
def test_a_client_that_waits_costs_little(run: Run, world: World, upstream: Upstream, level: int) -> None:
    async def scenario() -> None:
        w, up = world(), upstream()
        await w.apply(relayed(up))
        peers: list[Peer] = []

        async def come(number: int) -> None:
            client, broker = await meet(w, up, level, Connect(level, f"boat-{number}", keep_alive=60))
            await client.say(asking(1, f"boats/{number}/orders"))
            await broker.next()
            await broker.say(Suback(1, (1,)))
            await client.next()
            peers.extend((client, broker))

        for number in range(10):
            await come(number)
        more = 40
        used = await measured(lambda number: come(number + 10), more)
        assert len(sessions(w)) == more + 10
        assert used / more < IDLE

    run(scenario())


async def measured(each: Any, often: int) -> int:
    """Bytes that the relay's own modules, and what they call, have allocated."""
    gc.collect()
    tracemalloc.start(8)
    try:
        for number in range(often):
            await each(number)
        gc.collect()
        snapshot = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    own = [tracemalloc.Filter(True, "*/meshproxy/*", all_frames=True)]
    return sum(trace.size for trace in snapshot.filter_traces(own).traces)
