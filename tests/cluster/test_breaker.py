"""The breaker, on a clock that jumps: what opens it, and how it closes again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from meshproxy.cluster.breaker import Breaker, Terms
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure
from meshproxy.model import Address
from meshproxy.observe.metrics.clusters import EndpointStats

LOST = Failure("upstream_lost", 502, "UC")


class Bench:
    """A breaker, and what is done with it."""

    def __init__(self, clock: Any, terms: Terms) -> None:
        self.clock = clock
        self.turns: list[str] = []
        self.told: list[float] = []
        self.breaker = Breaker(terms, clock.now, lambda: self.turns.append(self.breaker.state), self.told.append)
        self.endpoint = Endpoint(Address("ipv4", "127.0.0.1", 1), EndpointStats(), clock, lambda: None)

    def answer(self, status: int = 200, seconds: float = 0.0, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.heed(self.endpoint, None, status, seconds)

    def lose(self) -> None:
        self.breaker.heed(self.endpoint, LOST, 0, 0.0)

    @property
    def passes(self) -> bool:
        gate = self.breaker.gate
        return gate is None or gate()


@pytest.fixture
def bench(clock: Any) -> Callable[..., Bench]:
    return lambda **terms: Bench(clock, Terms(**{"window": 30, "open_for": 10, **terms}))


def test_a_closed_one_is_not_even_asked(bench: Any) -> None:
    b = bench(error_amount=3)
    b.answer(503, times=2)
    b.answer(200, times=100)
    assert b.breaker.gate is None
    assert b.turns == []


def test_the_last_of_the_amount_opens_it(bench: Any) -> None:
    b = bench(error_amount=3)
    b.answer(503, times=2)
    assert b.passes
    b.lose()
    assert not b.passes
    assert b.turns == ["open"]


@pytest.mark.parametrize("status", [200, 301, 404, 429, 499])
def test_what_is_below_500_is_no_error(bench: Any, status: int) -> None:
    b = bench(error_amount=1)
    b.answer(status, times=50)
    assert b.passes


def test_a_ratio_counts_from_the_least_number_of_requests_on(bench: Any) -> None:
    b = bench(error_ratio=0.5, min_requests=10)
    for _ in range(4):
        b.answer(500)
        b.answer(200)
    b.answer(500)
    assert b.passes  # five of nine
    b.answer(500)
    assert not b.passes  # six of ten


def test_slow_answers_count_by_themselves(bench: Any) -> None:
    b = bench(slow=2.0, slow_amount=2, error_amount=1)
    b.clock.advance(100)
    b.answer(200, seconds=2.0)
    b.answer(200, seconds=2.1)
    assert b.passes
    b.answer(200, seconds=9)
    assert not b.passes


def test_what_is_past_is_forgotten_bit_by_bit(bench: Any) -> None:
    b = bench(error_amount=3)
    b.answer(500, times=2)
    b.clock.advance(20)
    b.answer(200)
    assert b.breaker.errors == 2
    b.clock.advance(14)
    b.answer(500)
    assert (b.breaker.errors, b.breaker.total, b.passes) == (1, 2, True)
    b.clock.advance(1e9)
    b.answer(500, times=2)
    assert (b.breaker.errors, b.breaker.total, b.passes) == (2, 2, True)


def test_one_probe_closes_it_and_another_opens_it_again(bench: Any) -> None:
    b = bench(error_amount=1)
    b.lose()
    b.clock.advance(9.9)
    assert not b.passes
    b.clock.advance(0.2)
    assert b.passes
    assert not b.passes, "one probe at a time"
    b.answer(503)
    assert not b.passes
    b.clock.advance(10.1)
    assert b.passes
    b.answer(200)
    assert b.breaker.gate is None
    assert b.turns == ["open", "open", "closed"]
    assert b.breaker.total == 0, "it begins anew"


def test_several_probes_must_all_go_well(bench: Any) -> None:
    b = bench(error_amount=1, probes=3)
    b.lose()
    b.clock.advance(10)
    assert [b.passes for _ in range(4)] == [True, True, True, False]
    b.answer(200, times=2)
    assert b.breaker.state == "half-open"
    b.answer(200)
    assert b.breaker.state == "closed"


def test_a_probe_that_is_never_heard_of_again_is_followed_by_another(bench: Any) -> None:
    b = bench(error_amount=1)
    b.lose()
    b.clock.advance(10)
    assert b.passes
    b.clock.advance(9)
    assert not b.passes
    b.clock.advance(1)
    assert b.passes
    b.answer(200)
    assert b.passes
    assert b.breaker.gate is None


def test_without_probes_it_closes_when_its_time_is_over(bench: Any) -> None:
    b = bench(error_amount=1, probes=0)
    b.lose()
    b.clock.advance(10)
    assert b.passes
    assert b.breaker.gate is None


def test_what_began_before_it_opened_neither_closes_nor_opens_it(bench: Any) -> None:
    b = bench(error_amount=1)
    b.lose()
    b.clock.advance(10)
    assert b.passes
    b.answer(200, seconds=5)  # asked when it was open: not the probe
    assert b.breaker.state == "half-open"
    b.answer(200, seconds=0)
    assert b.breaker.state == "closed"
    b.clock.advance(1)
    b.answer(503, seconds=3)
    assert b.passes


def test_a_window_holds_few_things_whatever_comes(bench: Any) -> None:
    b = bench(error_amount=1_000_000, window=10)
    for _ in range(5000):
        b.answer(500)
        b.clock.advance(0.05)
    assert len(b.breaker._slices) <= 12
    assert 190 <= b.breaker.errors <= 230


def test_what_opens_elsewhere_is_open_here_and_not_told_again(bench: Any) -> None:
    b = bench(error_amount=1)
    until = b.clock.now() + 5
    b.breaker.hear(until)
    assert not b.passes
    assert (b.turns, b.told) == (["open"], [])
    b.breaker.hear(until)
    b.breaker.hear(until - 1)
    assert b.turns == ["open"], "nothing new"
    b.clock.advance(5)
    assert b.passes
    b.answer(200)
    b.breaker.hear(until)
    assert b.breaker.state == "closed", "that is over"
    b.lose()
    assert b.told == [b.clock.now() + 10]
