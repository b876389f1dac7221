"""Who is recorded: by what the sender says, by chance, and so many a second."""

from __future__ import annotations

from random import Random

import pytest

from meshproxy.core.sampling import NEVER, Sampler
from meshproxy.wire.trace import Context

TOLD = Context(b"1" * 32, b"1" * 16, True)
DENIED = Context(b"1" * 32, b"1" * 16, False)
DEFERRED = Context(b"1" * 32, b"1" * 16, None)


def recorded(sampler: Sampler, requests: int, now: float = 0.0) -> int:
    """As the relay asks, for requests that bring nothing."""
    found = 0
    for _ in range(requests):
        sampler.left -= 1
        found += not sampler.left and sampler.draw(now)
    return found


def test_all_or_nothing() -> None:
    assert recorded(Sampler(1.0, None, Random(1).random), 1000) == 1000
    nobody = Sampler(0.0, None, Random(1).random)
    assert recorded(nobody, 1000) == 0
    assert nobody.left == NEVER - 1000
    nobody.left = 1
    assert recorded(nobody, 1) == 0, "not even then"


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_a_share_is_what_it_says(share: float) -> None:
    requests = 50_000
    found = recorded(Sampler(share, None, Random(7).random), requests)
    spread = (requests * share * (1 - share)) ** 0.5
    assert abs(found - requests * share) < 4 * spread


def test_chance_has_no_memory() -> None:
    sampler, gaps = Sampler(0.25, None, Random(3).random), []
    for _ in range(20_000):
        gaps.append(sampler.left)
        sampler.left = 0
        assert sampler.draw(0.0)
    ones = gaps.count(1)
    assert abs(ones / len(gaps) - 0.25) < 0.02
    assert abs(gaps.count(2) / (len(gaps) - ones) - 0.25) < 0.02
    assert min(gaps) == 1


@pytest.mark.parametrize("drawn", [0.0, 0.5, 1 - 2**-53])
@pytest.mark.parametrize("share", [5e-324, 1e-300, 1e-18, 0.5, 1 - 2**-53])
def test_the_ends_of_chance(drawn: float, share: float) -> None:
    assert 1 <= Sampler(share, None, lambda: drawn).left <= NEVER


def test_so_many_a_second() -> None:
    sampler = Sampler(1.0, 10, Random(1).random)
    assert recorded(sampler, 100, now=1000.0) == 10
    assert recorded(sampler, 100, now=1000.5) == 5
    assert recorded(sampler, 100, now=1000.55) == 0
    assert recorded(sampler, 100, now=1060.0) == 10, "what was not used is not kept"
    assert sum(recorded(sampler, 1, now=1100 + tick / 10) for tick in range(1000)) == 1000


def test_less_than_one_a_second() -> None:
    sampler = Sampler(1.0, 0.1, Random(1).random)
    assert [recorded(sampler, 5, now=now) for now in (0.0, 9.0, 10.0, 19.0, 20.0)] == [1, 0, 1, 0, 1]


def test_a_sender_is_heeded_whatever_the_share_and_the_rate() -> None:
    sampler = Sampler(0.0, 1, Random(1).random)
    assert all(sampler.decide(TOLD, 0.0) for _ in range(10))
    assert not any(sampler.decide(DEFERRED, 0.0) for _ in range(10))
    always = Sampler(1.0, None, Random(1).random)
    assert not always.decide(DENIED, 0.0)
    assert always.decide(DEFERRED, 0.0)


def test_a_sender_may_be_passed_over() -> None:
    nobody = Sampler(0.0, None, Random(1).random, parent=False)
    assert not nobody.decide(TOLD, 0.0)
    always = Sampler(1.0, 1, Random(1).random, parent=False)
    assert [always.decide(DENIED, 0.0), always.decide(TOLD, 0.0)] == [True, False], "the rate holds for them too"
