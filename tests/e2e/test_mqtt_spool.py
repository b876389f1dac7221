"""A site whose link to the broker is away: what was acknowledged arrives, whatever happens meanwhile.

    publishers --> the relay with its spool --> a link --> mosquitto --> who looks at what arrives

QoS 2 is exactly once as long as the relay's session lives: who had to connect again may have sent a message twice.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from meshproxy.wire.mqtt import V5
from tests.conftest import Run
from tests.e2e.conftest import Start
from tests.e2e.mqtt_tools import Often, crowd, finished, free_port, mosquitto, place, relayed
from tests.mosquitto import Mosquitto
from tests.mqtt.account import Account
from tests.mqtt.client import Subscriber
from tests.mqtt.link import Link


def spooling(link: Link, directory: Path) -> dict[str, Any]:
    """On a port that is the same after a restart."""
    policy = {"spool": {"dir": str(directory / "spool"), "size": "64MiB"}, "failover": {"within": "20s"}}
    return relayed("{}:{}".format(*link.address), policy=policy, listen=f"127.0.0.1:{free_port()}")


async def watching(stack: AsyncExitStack, account: Account, broker: Mosquitto) -> None:
    watcher = Subscriber(account, "all", place(broker), level=V5)
    await stack.enter_async_context(watcher)
    await watcher.ready.wait()


def test_what_was_acknowledged_while_the_link_was_away_arrives(
    start: Start, often: Often, chance: random.Random, bounded: Run
) -> None:
    account = Account()

    async def scenario() -> None:
        with mosquitto(start.directory / "broker") as broker:
            async with Link(place(broker)) as link, AsyncExitStack() as stack:
                await watching(stack, account, broker)
                proxy = await asyncio.to_thread(start, spooling(link, start.directory))
                publishers = await crowd(stack, account, proxy.address())
                for turn in range(often(3, 100)):
                    await asyncio.sleep(chance.uniform(0, 0.3))
                    link.down()
                    before = len(account.promised)
                    while len(account.promised) < before + 20:  # noqa: ASYNC110 - it is counted elsewhere
                        await asyncio.sleep(0.01)
                    if turn == 0:
                        assert [each.connections for each in publishers] == [1] * 4
                    link.up()
                await finished(publishers)
                await account.settled()
                account.check(exactly_once=all(each.connections == 1 for each in publishers))

    bounded(scenario())


def test_a_link_that_is_only_silent(start: Start, often: Often, chance: random.Random, bounded: Run) -> None:
    account = Account()

    async def scenario() -> None:
        with mosquitto(start.directory / "broker") as broker:
            async with Link(place(broker)) as link, AsyncExitStack() as stack:
                await watching(stack, account, broker)
                proxy = await asyncio.to_thread(start, spooling(link, start.directory))
                publishers = await crowd(stack, account, proxy.address())
                for _ in range(often(2, 50)):
                    await asyncio.sleep(chance.uniform(0.1, 0.3))
                    link.stall()
                    await asyncio.sleep(chance.uniform(0.1, 0.8))
                    link.resume()
                    if chance.random() < 0.5:
                        link.cut()
                await finished(publishers)
                await account.settled()
                account.check(exactly_once=all(each.connections == 1 for each in publishers))

    bounded(scenario())


@pytest.mark.parametrize("away", [True, False], ids=["without a link", "with a link"])
def test_a_proxy_that_is_killed_keeps_what_it_acknowledged(
    start: Start, often: Often, chance: random.Random, bounded: Run, away: bool
) -> None:
    """By SIGKILL at any moment.  With it goes what it knew of QoS 2: a message may come twice, and is never lost."""
    account = Account()

    async def scenario() -> None:
        with mosquitto(start.directory / "broker") as broker:
            async with Link(place(broker)) as link, AsyncExitStack() as stack:
                await watching(stack, account, broker)
                config = spooling(link, start.directory)
                proxy = await asyncio.to_thread(start, config)
                publishers = await crowd(stack, account, proxy.address())
                for _ in range(often(3, 60)):
                    await asyncio.sleep(chance.uniform(0.1, 0.3))
                    if away:
                        link.down()
                        await asyncio.sleep(chance.uniform(0, 0.4))
                    proxy.process.kill()
                    proxy.process.wait()
                    proxy = await asyncio.to_thread(start, config)
                    await asyncio.sleep(chance.uniform(0, 0.2))
                    link.up()
                await finished(publishers)
                await account.settled()
                assert min(each.connections for each in publishers) > 1

    bounded(scenario())
    account.check(exactly_once=False)
