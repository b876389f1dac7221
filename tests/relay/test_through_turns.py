"""Several proxies that take turns: who is asked next, and who is asked instead."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from meshproxy.net.clock import LoopClock
from meshproxy.net.dial import Outcome
from meshproxy.net.through.faults import ProxyRefused
from meshproxy.net.through.turns import InTurn, rotation
from meshproxy.wire.asking import Why
from tests.conftest import FakeClock, World
from tests.relay.conversation import config, heard
from tests.relay.test_through_ourselves import HERE, forward

ONE_LOOP = True

Upstream = Callable[..., Any]
Run = Callable[[Coroutine[Any, Any, None]], None]

GONE = ConnectionRefusedError(errno.ECONNREFUSED, "nobody there")
GREETING = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@pytest.mark.parametrize(
    ("weights", "first"),
    [([1], [0, 0, 0]), ([1, 1], [0, 1, 0, 1]), ([60, 40], [0, 1, 0, 0, 1]), ([1, 3], [0, 1, 1, 1])],
)
def test_each_has_its_share(weights: list[int], first: list[int]) -> None:
    following = rotation(weights)
    rounds = [following() for _ in range(100 * sum(weights))]
    assert [each[0] for each in rounds[: len(first)]] == first
    assert [sum(each[0] == place for each in rounds) for place in range(len(weights))] == [100 * w for w in weights]
    assert all(sorted(each) == [*range(len(weights))] for each in rounds)


class Attempts:
    """Several ways, and one who goes them in turn."""

    def __init__(self, *at_once: Outcome | None) -> None:
        self.clock = FakeClock()
        self.outcomes: list[Outcome] = []
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.passed_over: list[int] = []
        self.told: dict[int, Callable[[Outcome], None]] = {}
        ways = [self._way(number, outcome) for number, outcome in enumerate(at_once)]
        self.dial = InTurn(self.clock, ways, 5.0, self.outcomes.append, lambda each, _: self.passed_over.append(each))

    def _way(self, number: int, outcome: Outcome | None) -> Any:
        def way(done: Callable[[Outcome], None]) -> Any:
            self.told[number] = done
            return _Attempt(self, number, outcome)

        return way


class _Attempt:
    def __init__(self, of: Attempts, number: int, outcome: Outcome | None) -> None:
        self._of = of
        self._number = number
        self._outcome = outcome

    def begin(self) -> Outcome | None:
        self._of.begun.append(self._number)
        return self._outcome

    def cancel(self) -> None:
        self._of.cancelled.append(self._number)


def test_who_is_not_there_is_passed_over() -> None:
    at = Attempts(GONE, None, None)
    assert at.dial.begin() is None
    at.told[1](GONE)
    assert (at.begun, at.passed_over, at.outcomes) == ([0, 1, 2], [0, 1], [])
    at.told[2](GONE)
    assert (at.passed_over, at.outcomes) == ([0, 1], [GONE])


def test_a_proxy_that_says_no_has_been_reached() -> None:
    no = ProxyRefused(Why.FORBIDDEN, "403")
    at = Attempts(None, None)
    assert at.dial.begin() is None
    at.told[0](no)
    assert (at.begun, at.outcomes) == ([0], [no])
    assert Attempts(no, None).dial.begin() is no


def test_one_that_speaks_as_no_proxy_does_has_not() -> None:
    at = Attempts(ProxyRefused(Why.MALFORMED, "it went away"), None)
    assert at.dial.begin() is None
    assert at.begun == [0, 1]


def test_all_of_them_have_the_time_of_one() -> None:
    at = Attempts(None, None)
    assert at.dial.begin() is None
    at.clock.advance(4.0)
    at.told[0](GONE)
    at.clock.advance(1.0)
    (outcome,) = at.outcomes
    assert isinstance(outcome, TimeoutError)
    assert at.cancelled == [1]


def test_who_has_had_all_the_time_leaves_none() -> None:
    at = Attempts(None, None)
    assert at.dial.begin() is None
    at.clock.advance(5.0)
    at.told[0](TimeoutError(errno.ETIMEDOUT, "late"))
    assert (at.begun, len(at.outcomes)) == ([0], 1)


def test_after_it_is_cancelled_nothing_is_heard() -> None:
    at = Attempts(GONE, None)
    assert at.dial.begin() is None
    at.dial.cancel()
    at.clock.advance(9.0)
    assert (at.cancelled, at.outcomes) == ([1], [])


def through_two(first: str, second: str, endpoint: str) -> dict[str, Any]:
    return {
        **config(endpoint, via="both", pool={"max_idle": 0}),
        "tunnels": {
            "both": {"among": ["first", {"tunnel": "second", "weight": 1}]},
            "first": {"through": "h2", "server": first},
            "second": {"through": "socks5", "server": second},
        },
    }


async def ask(w: World, up: Any) -> None:
    peer = await w.connect()
    await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    behind = await up.accept()
    assert (await behind.recv()).startswith(b"GET /")
    await behind.send(GREETING)
    await heard(peer, b"HTTP/1.1 200 OK\r\n")
    peer.close()


def test_proxies_of_two_kinds_take_turns_and_one_stands_in_for_the_other(run: Run, upstream: Upstream) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, by_h2, by_socks, up = World(clock), World(clock), World(clock), upstream()
        await by_h2.apply(forward("h2", HERE, open_to_all=True))
        await by_socks.apply(forward("socks5", HERE, open_to_all=True))
        first, second = ("{}:{}".format(*each.address("proxy")) for each in (by_h2, by_socks))
        await near.apply(through_two(first, second, up.address))
        for _ in range(4):
            await ask(near, up)
        # Streams of one connection, and connections.
        assert [each.stats.listeners["proxy"].connections_total for each in (by_h2, by_socks)] == [1, 2]
        by_socks.end()
        for _ in range(2):
            await ask(near, up)
        assert sum("proxy-unreached" in line for line in near.logged) == 1

    run(scenario())


def test_connections_that_went_another_way_are_not_used_again(run: Run, upstream: Upstream) -> None:
    async def scenario() -> None:
        clock: Any = LoopClock(asyncio.get_running_loop())
        near, far, up = World(clock), World(clock), upstream()
        await far.apply(forward("socks5", HERE, open_to_all=True))
        proxy = "{}:{}".format(*far.address("proxy"))
        directly = config(up.address)
        await near.apply(directly)
        await ask(near, up)
        out = {"through": "socks5", "server": proxy}
        await near.apply({**config(up.address, via="out"), "tunnels": {"out": out}})
        await ask(near, up)
        assert far.stats.listeners["proxy"].connections_total == 1

    run(scenario())
