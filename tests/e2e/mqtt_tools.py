"""What tests of MQTT relay to, and the crowd that they have talk through it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshproxy.wire.mqtt import V5, V311
from tests.mosquitto import Mosquitto
from tests.mqtt.account import Account
from tests.mqtt.client import Address, Publisher

VERSIONS = pytest.mark.parametrize("level", [V311, V5], ids=["3.1.1", "5"])
QOS = pytest.mark.parametrize("qos", [0, 1, 2])


Often = Callable[[int, int], int]


@contextmanager
def mosquitto(directory: Path, *said: str) -> Iterator[Mosquitto]:
    """Queues without an end, and writes where only we may."""
    broker = Mosquitto(directory, "max_queued_messages 0", "set_tcp_nodelay true", *said)
    try:
        yield broker
    finally:
        broker.close()


def place(broker: Mosquitto) -> Address:
    return "127.0.0.1", broker.port


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def relayed(*brokers: Mosquitto | str, policy: dict[str, Any] | None = None, **listener: Any) -> dict[str, Any]:
    """What relays to these brokers, of which the first is wanted most; by a policy, or without one."""
    by_policy = {"mqtt": "policy"} if policy is not None else {}
    places = [broker if isinstance(broker, str) else broker.address for broker in brokers]
    inside = {"name": "in", "listen": "127.0.0.1:0", "protocol": "mqtt", "cluster": "brokers"}
    return {
        "listeners": [{**inside, **by_policy, **listener}],
        "clusters": {
            "brokers": {"endpoints": [{"address": place, "priority": level} for level, place in enumerate(places)]}
        },
        **({"mqtt": {"policy": policy}} if policy is not None else {}),
    }


async def crowd(stack: AsyncExitStack, account: Account, address: Address, pace: float = 0.004) -> list[Publisher]:
    """A publisher of each version with each quality of service that promises something."""
    return [
        await stack.enter_async_context(
            Publisher(account, f"press-{level}-{qos}", address, level=level, qos=qos, pace=pace)
        )
        for level in (V311, V5)
        for qos in (1, 2)
    ]


async def finished(publishers: list[Publisher]) -> None:
    for each in publishers:
        await each.finish()
