"""The accounts of messages: they agree with a broker that is honest, and name whatever another does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from meshproxy.wire.mqtt import PUBACK, PUBREC, V5, V311, Ack, Connack, Frames, Packet, Publish, decode, encode
from tests.conftest import Run
from tests.e2e.mqtt_tools import mosquitto, place
from tests.mosquitto import Mosquitto
from tests.mqtt.account import Account
from tests.mqtt.client import Address, Publisher, Subscriber
from tests.mqtt.doctored import Change, Doctored, double, faithful, lose, spoil, swap
from tests.mqtt.link import Link

ONE_LOOP = True
"""What is tested here is the test's own."""

ENOUGH = 40
"""Messages, of which each change here has met several."""
CUTS = 5
BETWEEN = 20
"""Messages that come from one cut to the next."""
PATIENCE = 5.0
LOST = 0.2
"""Seconds for which what was lost is waited for."""


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - what is watched are plain values, and the scenario has its deadline
        await asyncio.sleep(0.002)


async def cut(link: Link, came: list[tuple[bytes, bytes]]) -> None:
    """Once something has come, and with more under way."""
    enough = len(came) + BETWEEN
    await until(lambda: len(came) >= enough)
    link.stall()
    await asyncio.sleep(0.02)
    link.resume()
    link.cut()


async def flow(
    address: Address, account: Account, *, qos: int, level: int, within: float = PATIENCE, link: Link | None = None
) -> None:
    """From one publisher to one subscriber; the link is stalled and cut meanwhile, each time when both are back."""
    came = account.deliveries["all"]
    async with AsyncExitStack() as stack:
        subscriber = await stack.enter_async_context(Subscriber(account, "all", address, level=level))
        await subscriber.ready.wait()
        publisher = await stack.enter_async_context(Publisher(account, "one", address, level=level, qos=qos))
        if link is not None:
            for connections in range(1, CUTS + 1):
                await until(lambda: min(publisher.connections, subscriber.connections) >= connections)  # noqa: B023
                await cut(link, came)
        await until(lambda: len(set(came)) >= ENOUGH)
        await publisher.finish()
        await account.settled(within, quiet=0.1)


def told(change: Change, run: Run, *, qos: int = 2, level: int = V311, within: float = PATIENCE) -> list[str]:
    account = Account()

    async def scenario() -> None:
        async with Doctored(change) as broker:
            await flow(broker.address, account, qos=qos, level=level, within=within)

    run(scenario())
    assert len(account.promised) >= ENOUGH or qos == 0
    return list(account.problems())


@pytest.mark.parametrize("level", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_who_loses_nothing_has_no_problems(run: Run, qos: int, level: int) -> None:
    assert told(faithful, run, qos=qos, level=level) == []


@pytest.mark.parametrize("qos", [1, 2])
def test_a_message_that_was_acknowledged_and_is_lost(run: Run, qos: int) -> None:
    problems = told(lose(every=7), run, qos=qos, within=LOST)
    assert problems[0] == f"all: one 7 (QoS {qos}) was acknowledged and never came"
    assert all(each.endswith("never came") for each in problems)


def test_a_message_of_qos_0_may_be_lost(run: Run) -> None:
    assert told(lose(every=7), run, qos=0) == []


@pytest.mark.parametrize("qos", [0, 2])
def test_a_message_that_comes_twice(run: Run, qos: int) -> None:
    problems = told(double(every=7), run, qos=qos)
    assert problems[0] == f"all: one 7 (QoS {qos}) came twice"
    assert all(each.endswith("came twice") for each in problems)


def test_a_message_of_qos_1_may_come_twice(run: Run) -> None:
    assert told(double(every=7), run, qos=1) == []


@pytest.mark.parametrize("qos", [1, 2])
def test_messages_that_change_places(run: Run, qos: int) -> None:
    problems = told(swap(every=7), run, qos=qos, within=LOST)
    assert f"all: one 7 (QoS {qos}) came after 10" in problems


def test_a_message_that_nobody_sent(run: Run) -> None:
    problems = told(spoil(every=7), run, qos=1, within=LOST)
    assert any(each.startswith("all: nobody sent b'xone 7 ...") for each in problems)
    assert any(each.endswith("was acknowledged and never came") for each in problems)


def test_nobody_may_be_content_with_nothing() -> None:
    account = Account()
    with pytest.raises(AssertionError, match="nothing was acknowledged"):
        account.check()
    account.acknowledged(account.sent("one", b"t", 1, 10))
    with pytest.raises(AssertionError, match="nobody has got anything"):
        account.check()
    account.deliveries["all"] = []
    with pytest.raises(AssertionError, match=r"1 acknowledged; all: one 1 \(QoS 1\) was acknowledged and"):
        account.check()


def test_what_is_forgiven_was_in_flight_then() -> None:
    account = Account()
    lost, doubled = account.sent("one", b"t", 1, 10), account.sent("one", b"t", 2, 10)
    for message in (lost, doubled):
        account.acknowledged(message)
    for _ in range(2):
        account.delivered("all", Publish(b"t", doubled.payload, 2, id=1))
    now = time.monotonic()
    assert len(list(account.problems())) == 2
    assert len(list(account.problems(exactly_once=False))) == 1
    assert len(list(account.problems(forgiven=[(0, lost.sent - 1), (now + 1, now + 2)]))) == 2
    account.check(forgiven=[(lost.sent - 1, now)])


@pytest.mark.parametrize("level", [V311, V5])
@pytest.mark.parametrize("qos", [1, 2])
def test_clients_come_back_and_lose_nothing(run: Run, tmp_path: Path, qos: int, level: int) -> None:
    """With a broker that keeps sessions, through a link that does not keep connections."""
    account = Account()

    async def scenario(broker: Mosquitto) -> None:
        async with Link(place(broker)) as link:
            await flow(link.address, account, qos=qos, level=level, link=link)

    with mosquitto(tmp_path) as broker:
        run(scenario(broker))
    account.check()


@pytest.mark.parametrize(("qos", "kind"), [(1, PUBACK), (2, PUBREC)])
def test_what_comes_in_one_breath_with_the_connack_is_answered(run: Run, qos: int, kind: int) -> None:
    """A session that goes on: a broker whose window is never freed would fall silent."""
    account = Account()

    async def scenario() -> None:
        heard: list[Packet] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            frames = Frames(1 << 10)
            while True:
                data, cuts = frames.feed(await reader.read(1 << 10))
                heard.extend(decode(V311, data, *cut) for cut in cuts)
                if len(heard) == 1:
                    first = Publish(b"account/1", b"kept", qos, id=7)
                    writer.write(encode(Connack(True, 0), V311) + encode(first, V311))
                elif len(heard) > 1:
                    writer.close()
                    return

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            async with Subscriber(account, "all", server.sockets[0].getsockname()):
                await until(lambda: len(heard) > 1)
        assert heard[1] == Ack(kind, 7)
        assert account.deliveries["all"] == [(b"account/1", b"kept")]

    run(scenario())
