"""Outliers on a clock that jumps: who is ejected, for how long, how many at a time, and what others say of it."""

from __future__ import annotations

from typing import Any

import pytest

from meshproxy.cluster.cluster import CONNECT_FAILED, CONNECT_TIMEOUT
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.cluster.outlier import WORD, Ejection, Outliers
from meshproxy.errors import Failure
from meshproxy.model import Address, Outlier, decode
from meshproxy.observe.metrics.clusters import EJECTED, EndpointStats
from tests.conftest import FakeClock

LOST = Failure("upstream_lost", 502, "UC")


class Kept:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        endpoint.idle.append(self)

    def close(self) -> None:
        self.endpoint.idle.remove(self)

    def drain(self) -> None:
        raise AssertionError


class World:
    def __init__(self, clock: FakeClock, size: int, **said: Any) -> None:
        self.clock = clock
        self.counted = dict.fromkeys(EJECTED, 0)
        self.said: list[tuple[str, Ejection]] = []
        self.outliers = Outliers(
            decode(Outlier, said), clock, self.counted, lambda who, ejection: self.said.append((who.name, ejection))
        )
        self.endpoints = [
            Endpoint(Address("ipv4", f"10.0.0.{number}", 80), EndpointStats(), clock, lambda: None)
            for number in range(size)
        ]
        self.outliers.watch(self.endpoints)

    def attempt(self, number: int, outcome: int | Failure, times: int = 1) -> None:
        status, failure = (0, outcome) if isinstance(outcome, Failure) else (outcome, None)
        for _ in range(times):
            self.outliers.heed(self.endpoints[number], failure, status, 0.01)

    @property
    def ejected(self) -> list[int]:
        return [number for number, endpoint in enumerate(self.endpoints) if WORD in endpoint.doubts]


def test_so_many_in_a_row_and_not_one_less(clock: FakeClock) -> None:
    w = World(clock, 3)
    for _ in range(3):
        w.attempt(0, 500, 4)
        w.attempt(0, 404)
    assert w.ejected == []
    w.attempt(0, 500, 5)
    assert w.ejected == [0]
    assert w.said == [("10.0.0.0:80", Ejection(clock.now() + 30, 1, "5xx"))]
    assert w.counted == {"connect": 0, "gateway": 0, "5xx": 1, "success_rate": 0}


@pytest.mark.parametrize(
    ("said", "outcomes", "reason"),
    [
        ({"consecutive_5xx": 0}, [500] * 100, ""),
        ({"consecutive_5xx": 3}, [500, LOST, CONNECT_FAILED], "5xx"),
        ({"consecutive_gateway": 3}, [502, 503, 504], "gateway"),
        ({"consecutive_gateway": 3}, [502, 500, 503, 504], ""),
        ({"consecutive_gateway": 3}, [LOST, CONNECT_TIMEOUT, 503], "gateway"),
        ({"consecutive_connect": 2}, [CONNECT_FAILED, LOST, CONNECT_FAILED, 503], ""),
        ({"consecutive_connect": 2}, [CONNECT_FAILED, 0, CONNECT_FAILED], ""),
        ({"consecutive_connect": 2, "consecutive_gateway": 2}, [CONNECT_TIMEOUT, CONNECT_FAILED], "connect"),
    ],
)
def test_what_counts_as_what(clock: FakeClock, said: dict[str, Any], outcomes: list[Any], reason: str) -> None:
    w = World(clock, 3, **said)
    for outcome in outcomes:
        w.attempt(0, outcome)
    assert [ejection.reason for _, ejection in w.said] == ([reason] if reason else [])


def test_who_is_ejected_returns_and_the_next_time_is_longer_up_to_a_bound(clock: FakeClock) -> None:
    w = World(clock, 2, ejection="10s", max_ejection="25s", interval="1h")
    for seconds in (10, 20, 25, 25):
        w.attempt(0, 503, 5)
        assert w.ejected == [0]
        clock.advance(seconds - 0.1)
        assert w.ejected == [0]
        clock.advance(0.1)
        assert w.ejected == []
        w.attempt(0, 503, 4)
        assert w.ejected == [], "what was before the ejection is forgotten"
        w.attempt(0, 200)
    assert [ejection.times for _, ejection in w.said] == [1, 2, 3, 4]


def test_who_has_been_well_for_a_while_has_less_to_answer_for(clock: FakeClock) -> None:
    w = World(clock, 2, ejection="10s", interval="5s")
    for ejected, well in ((10, 4), (20, 6), (20, 1000), (10, 0)):
        w.attempt(0, 503, 5)
        clock.advance(ejected + well)
    assert [ejection.times for _, ejection in w.said] == [1, 2, 2, 1]


def test_its_waiting_connections_are_closed(clock: FakeClock) -> None:
    w = World(clock, 2)
    for _ in range(3):
        Kept(w.endpoints[0])
    other = Kept(w.endpoints[1])
    w.attempt(0, 503, 5)
    assert (w.endpoints[0].idle, w.endpoints[1].idle) == ([], [other])


@pytest.mark.parametrize(
    ("size", "percent", "most"),
    [(1, 10, 0), (1, 100, 1), (2, 10, 1), (3, 67, 2), (10, 30, 3), (20, 10, 2), (4, 100, 4)],
)
def test_all_are_bad_and_only_a_share_is_ejected(clock: FakeClock, size: int, percent: int, most: int) -> None:
    w = World(clock, size, max_ejected=percent)
    for number in range(size):
        w.attempt(number, 503, 100)
    assert len(w.ejected) == most
    assert sum(w.counted.values()) == most


def test_who_could_not_be_ejected_is_as_soon_as_there_is_room(clock: FakeClock) -> None:
    w = World(clock, 2)
    w.attempt(0, 503, 5)
    w.attempt(1, 503, 5)
    assert w.ejected == [0]
    clock.advance(30)
    w.attempt(1, 503)
    assert w.ejected == [1]


def rates(w: World, shares: list[float], requests: int = 100) -> None:
    """Of good answers, in one interval; failures never stand in a row."""
    for number, share in enumerate(shares):
        good = round(share * requests)
        for place in range(requests):
            w.attempt(number, 200 if place * good % requests < good else 500)
    w.clock.advance(10)
    w.attempt(0, 200)


def test_success_rates_are_compared(clock: FakeClock) -> None:
    w = World(clock, 6, success_rate={}, consecutive_5xx=0)
    rates(w, [1, 1, 0.99, 1, 0.98, 0.8])
    assert w.ejected == [5]
    assert w.said[0][1].reason == "success_rate"
    rates(w, [1, 1, 0.7, 1, 1, 0])
    assert w.ejected == [5], "the next one would be more than the share"
    clock.advance(30)
    assert w.ejected == []
    rates(w, [1] * 6)
    assert w.ejected == [], "what was before does not count"


@pytest.mark.parametrize(
    ("shares", "requests", "said"),
    [
        ([0.9] * 7, 100, {}),
        ([1, 1, 1, 0], 100, {}),
        ([1, 1, 1, 1, 1, 0], 99, {}),
        ([1, 1, 1, 1, 1, 0.5], 100, {"factor": 3}),
    ],
    ids=["all alike", "too few endpoints", "too few requests", "not far enough"],
)
def test_nobody_stands_out(clock: FakeClock, shares: list[float], requests: int, said: dict[str, Any]) -> None:
    w = World(clock, len(shares), success_rate=said, consecutive_5xx=0)
    rates(w, shares, requests)
    assert w.ejected == []


def test_what_another_has_found_out_holds_here_too_but_not_beyond_the_share(clock: FakeClock) -> None:
    w = World(clock, 3)
    until = clock.now() + 12
    w.outliers.hear("10.0.0.9:80", Ejection(until, 1, "5xx"))
    w.outliers.hear("10.0.0.1:80", Ejection(clock.now(), 1, "5xx"))
    assert w.ejected == []
    w.outliers.hear("10.0.0.1:80", Ejection(until, 3, "5xx"))
    w.outliers.hear("10.0.0.2:80", Ejection(until, 1, "5xx"))
    w.outliers.hear("10.0.0.1:80", Ejection(until + 60, 4, "5xx"))
    assert w.ejected == [1]
    assert w.said == [], "what is told is not told on"
    assert not any(w.counted.values())
    clock.advance(12)
    assert w.ejected == []
    w.attempt(1, 503, 5)
    assert w.said[0][1].times == 4, "it goes on from there"


def test_who_is_gone_is_forgotten_and_its_timer_with_it(clock: FakeClock) -> None:
    w = World(clock, 3)
    w.attempt(0, 503, 5)
    gone, *rest = w.endpoints
    w.outliers.watch(rest)
    assert clock.pending == 0
    assert not gone.doubts
    w.outliers.heed(gone, None, 503, 0)
    w.attempt(1, 503, 5)
    assert w.ejected == [1], "its place is free"
    w.outliers.retire(0)
    assert (w.ejected, clock.pending) == ([], 0)


def test_who_stays_stays_as_it_is(clock: FakeClock) -> None:
    w = World(clock, 3)
    w.attempt(0, 503, 5)
    w.attempt(1, 503, 4)
    w.outliers.watch(w.endpoints[:2])
    assert w.ejected == [0]
    clock.advance(30)
    w.attempt(1, 503)
    assert w.ejected == [1]


def test_a_clock_that_jumps_ends_ejections_and_intervals_and_no_more(clock: FakeClock) -> None:
    w = World(clock, 6, success_rate={}, consecutive_5xx=3)
    w.attempt(0, 503, 3)
    w.attempt(1, 503, 2)
    clock.advance(86400)
    assert w.ejected == []
    w.attempt(1, 503)
    assert w.ejected == [1], "three in a row are three in a row"
    assert w.said[-1][1].until == clock.now() + 30
