"""The broker beside the proxy: there as long as the proxy is, and again when it was killed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("amqtt")

from tests.conftest import Run
from tests.e2e.conftest import Running, Start, poll
from tests.e2e.mqtt_tools import free_port
from tests.mqtt.account import Account
from tests.mqtt.client import Publisher, Subscriber

Address = tuple[str, int]

ENOUGH = 20
"""Messages."""


def config(address: Address, **more: Any) -> dict[str, Any]:
    """With a listener in front of the broker."""
    where = "{}:{}".format(*address)
    return {
        "broker": {"listen": where},
        "listeners": [{"name": "in", "listen": "127.0.0.1:0", "protocol": "tcp", "cluster": "broker"}],
        "clusters": {"broker": {"endpoints": [where]}},
        **more,
    }


def accepts(address: Address) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def pids(proxy: Running) -> list[int]:
    """Of all brokers that were started."""
    return [int(pid) for pid in re.findall(r"broker-started pid=(\d+)", proxy.log.read_text())]


def lives(pid: int) -> bool:
    try:
        # one that nobody has waited for is dead
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def address() -> Address:
    return ("127.0.0.1", free_port())


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_go_through_the_listener_and_the_broker(
    start: Start, address: Address, bounded: Run, qos: int
) -> None:
    proxy, account = start(config(address)), Account()
    poll(lambda: accepts(address), "the broker answers")

    async def scenario() -> None:
        inside = proxy.address()
        async with Subscriber(account, "all", inside) as subscriber:
            await subscriber.ready.wait()
            async with Publisher(account, "one", inside, qos=qos) as publisher:
                while len(account.deliveries["all"]) < ENOUGH:  # noqa: ASYNC110 - a plain list
                    await asyncio.sleep(0.01)
                await publisher.finish()
                await account.settled()

    bounded(scenario())
    assert list(account.problems()) == []


def test_a_broker_that_was_killed_begins_again(start: Start, address: Address) -> None:
    proxy = start(config(address))
    for killed in range(1, 3):
        poll(lambda: accepts(address), "the broker answers")
        os.kill(pids(proxy)[-1], signal.SIGKILL)
        poll(lambda: pids(proxy)[killed:], "another broker")  # noqa: B023 - asked before the next round
    poll(lambda: accepts(address), "the broker answers")
    assert f"broker-ended pid={pids(proxy)[0]} status=-9 again_after=0.1" in proxy.log.read_text()
    assert "again_after=0.2" in proxy.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_the_proxy(start: Start, address: Address, number: signal.Signals) -> None:
    proxy = start(config(address))
    poll(lambda: accepts(address), "the broker answers")
    (pid,) = pids(proxy)
    # as a service manager does, which asks all of a service at once
    os.kill(pid, signal.SIGTERM)
    proxy.signal(number)
    proxy.exit_code()
    poll(lambda: not lives(pid), "the broker is gone")
    assert "broker-ended" not in proxy.log.read_text()


def test_it_ends_before_it_was_ready(start: Start, address: Address) -> None:
    proxy = start(config(address))
    proxy.signal(signal.SIGINT)
    assert proxy.exit_code() == 0
    poll(lambda: not lives(pids(proxy)[0]), "the broker is gone")


def test_workers_do_not_keep_it(start: Start, address: Address) -> None:
    proxy = start(config(address, workers=2))
    poll(lambda: accepts(address), "the broker answers")
    (pid,) = pids(proxy)
    proxy.signal(signal.SIGKILL)
    poll(lambda: not lives(pid), "the broker is gone")


def test_it_belongs_to_the_process(start: Start, address: Address) -> None:
    proxy = start(config(address))
    status, answer = proxy.put({"broker": {"listen": "127.0.0.1:1"}})
    assert status == 422
    assert "`broker` belongs to the process and cannot change while it runs: restart meshproxy" in str(answer)
