"""Balancers: who is next, and that nobody is asked twice."""

from __future__ import annotations

from collections import Counter

import pytest

from meshproxy.cluster.balance import BALANCERS, least_request, round_robin
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.model import Address
from meshproxy.net.clock import Clock
from meshproxy.observe.metrics import EndpointStats


class Nobody:
    client = None


NOBODY = Nobody()


def endpoint(port: int, clock: Clock) -> Endpoint:
    return Endpoint(Address("ipv4", "127.0.0.1", port), EndpointStats(), clock, lambda: None)


@pytest.fixture
def abc(clock: Clock) -> list[Endpoint]:
    return [endpoint(port, clock) for port in (1, 2, 3)]


def test_round_robin_is_smooth_and_exact(abc: list[Endpoint]) -> None:
    a, b, c = abc
    pick = round_robin([(a, 5), (b, 1), (c, 1)])
    assert [pick((), NOBODY) for _ in range(7)] == [a, a, b, a, c, a, a]


def test_the_cursor_survives_a_new_generation(abc: list[Endpoint]) -> None:
    a, b, c = abc
    members = [(a, 1), (b, 1), (c, 1)]
    picked = [round_robin(members)((), NOBODY) for _ in range(6)]
    assert Counter(picked) == {a: 2, b: 2, c: 2}


@pytest.mark.parametrize("name", BALANCERS)
def test_nobody_is_tried_twice(name: str, abc: list[Endpoint]) -> None:
    pick = BALANCERS[name]([(member, 1) for member in abc])
    tried: list[Endpoint] = []
    while (found := pick(tried, NOBODY)) is not None:
        tried.append(found)
    assert set(tried) == set(abc)
    assert len(tried) == 3
    assert BALANCERS[name]([])((), NOBODY) is None


def test_least_request_fills_up_by_weight(abc: list[Endpoint]) -> None:
    a, b, c = abc
    pick = least_request([(a, 1), (b, 2), (c, 1)])
    for _ in range(40):
        found = pick((), NOBODY)
        assert found is not None
        found.stats.connections_active += 1
    assert [member.stats.connections_active for member in abc] == [10, 20, 10]


def test_least_request_takes_turns_among_equals(abc: list[Endpoint]) -> None:
    pick = least_request([(member, 1) for member in abc])
    assert Counter(pick((), NOBODY) for _ in range(9)) == dict.fromkeys(abc, 3)
