"""Brokers that die and links that break while messages flow: the clients stay connected, and all is accounted for.

What only the broker held that was killed is gone with it: a message that was in flight at that moment may be lost
behind it or come twice, and no other.  A link that breaks is no such excuse.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from contextlib import AsyncExitStack, ExitStack

from meshproxy.wire.mqtt import V5, V311
from tests.conftest import Run
from tests.e2e.conftest import Running, Start
from tests.e2e.mqtt_tools import Often, crowd, finished, mosquitto, place, relayed
from tests.mqtt.account import Account, Span
from tests.mqtt.client import Subscriber
from tests.mqtt.link import Link

POLICY = {"failover": {"within": "20s"}}
BEFORE = 0.5
"""Seconds before a broker is killed in which it may acknowledge what it delivers to nobody."""
SETTLED = 0.3
HURRY = {"meshproxy.relay.mqtt.session.SETTLED": SETTLED}
"""Seconds after which a session that ends was not taken over by another client: else a test would wait for that."""
REPLAYED = 1.0
"""Seconds until all sessions that a broker had are at another."""


def test_a_link_that_breaks_loses_nothing(start: Start, often: Often, chance: random.Random, bounded: Run) -> None:
    """Publishers and subscribers are relayed, with a broker that keeps their sessions."""
    account = Account()

    async def scenario() -> None:
        with mosquitto(start.directory / "broker") as broker:
            async with Link(place(broker)) as link, AsyncExitStack() as stack:
                config = relayed("{}:{}".format(*link.address), policy=POLICY)
                proxy = await asyncio.to_thread(start, config, hurry=HURRY)
                address = proxy.address()
                subscribers = [Subscriber(account, f"all-{level}", address, level=level) for level in (V311, V5)]
                for subscriber in subscribers:
                    await stack.enter_async_context(subscriber)
                    await subscriber.ready.wait()
                publishers = await crowd(stack, account, address)
                for _ in range(often(4, 200)):
                    await asyncio.sleep(SETTLED + chance.uniform(0.1, 0.3))
                    link.stall()
                    await asyncio.sleep(chance.uniform(0, 0.1))
                    link.resume()
                    link.cut()
                await finished(publishers)
                await account.settled()
                assert [each.connections for each in (*subscribers, *publishers)] == [1] * 6

    bounded(scenario())
    account.check()


def test_each_message_is_at_one_broker_or_another(
    start: Start, often: Often, chance: random.Random, bounded: Run
) -> None:
    """Somebody at each broker sees what it passes on before it acknowledges that: nothing is forgiven but as many
    messages of QoS 2 as the relay says are in doubt, and those may be missing, not come twice."""
    account = Account()
    doubts = 0.0

    async def scenario() -> None:
        nonlocal doubts
        with ExitStack() as running:
            brokers = [running.enter_context(mosquitto(start.directory / name)) for name in ("one", "two")]
            async with AsyncExitStack() as stack:
                # By QoS 0: what is passed on is sent to them at once, whatever they have acknowledged.
                watchers = [Subscriber(account, "all", place(broker), qos=0) for broker in brokers]
                for watcher in watchers:
                    await stack.enter_async_context(watcher)
                    await watcher.ready.wait()
                proxy = await asyncio.to_thread(start, relayed(*brokers, policy=POLICY), hurry=HURRY)
                publishers = await crowd(stack, account, proxy.address(), pace=0.002)
                for turn in range(often(3, 200)):
                    await asyncio.sleep(SETTLED + chance.uniform(0.1, 0.3))
                    broker, watcher = brokers[turn % 2], watchers[turn % 2]
                    watcher.ready.clear()
                    broker.kill()
                    await asyncio.sleep(chance.uniform(0, 0.3))
                    await asyncio.to_thread(broker.start)
                    await watcher.ready.wait()
                await finished(publishers)
                await account.settled(2)
                assert [each.connections for each in publishers] == [1] * 4
                doubts = await asyncio.to_thread(in_doubt, proxy)

    bounded(scenario())
    missing = account.missing("all")
    assert {each.qos for each in missing} <= {2}, [str(each) for each in missing]
    assert len(missing) <= doubts, [str(each) for each in missing]
    twice = [each for each in account.problems() if "came twice" in each]
    assert not twice, twice
    account.check(forgiven=[(each.sent, each.sent) for each in missing])


def in_doubt(proxy: Running) -> float:
    said = proxy.ask("GET", "/metrics")[1]
    return sum(float(value) for value in re.findall(r"^meshproxy_mqtt_in_doubt_total\{.*\} (.*)$", said, re.M))


def test_subscriptions_are_there_at_the_next_broker(
    start: Start, often: Often, chance: random.Random, bounded: Run
) -> None:
    """All are relayed, and all go to the broker that is there."""
    account = Account()
    spans: list[Span] = []

    async def scenario() -> None:
        with ExitStack() as running:
            brokers = [running.enter_context(mosquitto(start.directory / name)) for name in ("one", "two")]
            async with AsyncExitStack() as stack:
                proxy = await asyncio.to_thread(start, relayed(*brokers, policy=POLICY), hurry=HURRY)
                address = proxy.address()
                subscribers = [Subscriber(account, f"all-{level}", address, level=level) for level in (V311, V5)]
                for subscriber in subscribers:
                    await stack.enter_async_context(subscriber)
                    await subscriber.ready.wait()
                publishers = await crowd(stack, account, address, pace=0.02)
                for turn in range(often(1, 30)):
                    await asyncio.sleep(chance.uniform(0.6, 1))
                    broker = brokers[turn % 2]
                    now = time.monotonic()
                    broker.kill()
                    spans.append((now - BEFORE, now + REPLAYED))
                    await asyncio.sleep(REPLAYED)
                    await asyncio.to_thread(broker.start)
                await asyncio.sleep(0.5)
                await finished(publishers)
                await account.settled()
                assert [each.connections for each in (*subscribers, *publishers)] == [1] * 6

    bounded(scenario())
    account.check(forgiven=spans)
    certain = [each for each in account.promised if not any(each.in_flight(span) for span in spans)]
    assert len(certain) > len(account.promised) / 10
