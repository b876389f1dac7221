"""Meters: the bytes of a second are the bytes of a second, however many share them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core.buckets import Shelves
from meshproxy.core.meter import LEAST_PIECE, SLACK, Meter, SharedMeter
from meshproxy.observe.metrics.process import WorkerStats
from meshproxy.server.board import shared_memory


def shared(rate: int, workers: int) -> list[Meter]:
    shelves = Shelves(shared_memory(Shelves.SIZE))
    shelves.keep({"bandwidth"})
    return [SharedMeter(rate, shelves.shelf("bandwidth", WorkerStats()), b"a/up") for _ in range(workers)]


def moved(meters: list[Meter], seconds: float) -> list[int]:
    """By those who move a piece each time they may."""
    found, free = [0] * len(meters), [10.0] * len(meters)
    while (now := min(free)) < 10 + seconds:
        who = free.index(now)
        found[who] += meters[who].piece
        free[who] = now + meters[who].spend(meters[who].piece, now)
    return found


@given(st.integers(8192, 1 << 30))
def test_one_moves_as_much_as_it_may(rate: int) -> None:
    (found,) = moved([Meter(rate)], 4)
    assert abs(found - 4 * rate) <= 2 * SLACK * rate + 2 * LEAST_PIECE


@given(st.integers(1 << 16, 1 << 26), st.integers(2, 9))
def test_all_who_share_one_move_as_much_as_it_may_each_in_turn(rate: int, many: int) -> None:
    found = moved(shared(rate, many), 4)
    piece = shared(rate, 1)[0].piece
    assert abs(sum(found) - 4 * rate) <= 2 * SLACK * rate + 2 * many * piece
    assert max(found) - min(found) <= 2 * SLACK * rate + 2 * piece


def test_little_waits_for_nobody() -> None:
    meter, now = Meter(1 << 20), 5.0
    for _ in range(1000):
        now += 0.01
        assert meter.spend(1000, now) == 0.0
