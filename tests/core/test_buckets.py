"""Buckets in memory that several workers see: exact for each value, bounded, and never one too few."""

from __future__ import annotations

from collections import defaultdict
from itertools import count, islice

from hypothesis import given
from hypothesis import strategies as st

from meshproxy.core import buckets
from meshproxy.core.buckets import PLACES, WAYS, Buckets, Rate, Shelf, Shelves
from meshproxy.model.limits import MOST_BY_KEY
from meshproxy.observe.metrics.process import WorkerStats
from meshproxy.server.board import shared_memory
from tests.examples import examples


def shelves() -> Shelves:
    return Shelves(shared_memory(Shelves.SIZE))


def alone(rate: Rate, stats: WorkerStats | None = None) -> Buckets:
    made = shelves()
    made.keep({"a"})
    return Buckets(made.shelf("a", stats or WorkerStats()), rate)


class Plain:
    """The meaning of it: so many tokens, which come back with time."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens: dict[bytes, float] = defaultdict(lambda: float(rate.burst))
        self._at = 0.0

    def take(self, value: bytes, now: float) -> bool:
        rate = self._rate
        for known in self._tokens:
            self._tokens[known] += (now - self._at) * rate.amount / rate.per
            self._tokens[known] = min(self._tokens[known], rate.burst)
        self._at = now
        if self._tokens[value] < 1 - 1e-6:
            return False
        self._tokens[value] -= 1
        return True


rates = st.builds(Rate, st.integers(1, 50), st.sampled_from([0.5, 1.0, 60.0]), st.integers(1, 20))
steps = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([b"", b"a", b"b"]), st.integers(0, 3000)), max_size=60)


@given(rates, steps)
@examples(150, deadline=None)
def test_two_workers_have_one_bucket_for_each_value(rate: Rate, script: list[tuple[int, bytes, int]]) -> None:
    shared, stats = shelves(), WorkerStats()
    shared.keep({"a"})
    workers = [Buckets(shared.shelf("a", stats), rate) for _ in range(2)]
    plain, now = Plain(rate), 1000.0
    for worker, value, passed in script:
        now += passed / 1000
        wait = workers[worker].take(value, now)
        assert (wait == 0) == plain.take(value, now)
        assert 0 <= wait <= rate.per / rate.amount + 1e-6
        assert (workers[1 - worker].wait(value, now) > 0) >= (wait > 0)


def test_it_says_when_there_is_one_again() -> None:
    one = alone(Rate(1, per=10, burst=2))
    assert [one.take(b"x", 100.0) for _ in range(3)] == [0.0, 0.0, 10.0]
    assert one.take(b"x", 104.0) == one.wait(b"x", 104.0) == 6.0
    assert one.take(b"x", 110.0) == 0.0
    assert one.wait(b"other", 110.0) == 0.0


def test_what_another_writes_between_reading_and_writing_is_seen() -> None:
    class Racing(list[float]):
        """Of which another worker takes one, when it is looked at for the first time in earnest."""

        looks = 0

        def __getitem__(self, place):  # type: ignore[no-untyped-def]
            found = super().__getitem__(place)
            self.looks += 1
            if self.looks == 2:
                self[place] = 101.0
            return found

    fulls = Racing([100.0] * PLACES)
    raced = Buckets(Shelf([hash(b"x")] * PLACES, fulls, WorkerStats()), Rate(1, per=1, burst=1))
    fulls.looks = 1
    assert raced.take(b"x", 100.0) == 1.0, "the only one is gone"


def test_a_thousand_values_of_an_attacker_cost_nobody_else_anything() -> None:
    stats = WorkerStats()
    many = alone(Rate(1, per=60, burst=1), stats)
    assert many.take(b"victim", 0.5) == 0.0
    for number in range(1000):
        assert many.take(b"%d" % number, 1.0) == 0.0
        assert many.take(b"%d" % number, 1.0) > 0
    assert many.take(b"victim", 1.0) > 0, "it is remembered"
    assert stats.buckets_forgotten_total == 0


def test_of_too_many_values_those_leave_that_are_full_first() -> None:
    stats = WorkerStats()
    many = alone(Rate(1, per=60, burst=10), stats)
    # all in the same set
    alike = (value for number in count() if hash(value := b"%d" % number) % buckets.SETS == 7)
    same = list(islice(alike, WAYS + 2))
    for place, value in enumerate(same[:WAYS]):
        for _ in range(2 + place):
            assert many.take(value, 1.0) == 0.0
    assert many.take(same[WAYS], 1.0) == 0.0
    assert stats.buckets_forgotten_total == 1
    assert [many.take(same[1], 1.0) for _ in range(8)][-1] > 0, "it has not begun anew"
    assert not any(many.take(same[0], 1.0) for _ in range(10)), "this one has: it lacked the least"
    forgotten = stats.buckets_forgotten_total
    assert many.take(same[WAYS + 1], 10_000.0) == 0.0
    assert stats.buckets_forgotten_total == forgotten, "by then all are full, and nothing is lost"


def test_a_limit_that_is_other_now_keeps_what_is_in_its_buckets() -> None:
    shared, stats = shelves(), WorkerStats()
    shared.keep({"a", "b"})
    assert Buckets(shared.shelf("a", stats), Rate(1, per=3600, burst=1)).take(b"x", 5.0) == 0.0
    shared.keep({"a", "c"})
    assert Buckets(shared.shelf("a", stats), Rate(1, per=3600, burst=1)).take(b"x", 5.0) > 3000
    faster = Buckets(shared.shelf("a", stats), Rate(10, per=1, burst=5))
    assert 0 < faster.take(b"x", 5.0) <= 0.11, "empty, and no emptier than it can be"
    assert faster.take(b"x", 5.2) == 0.0
    shared.keep({"c"})
    shared.keep({"a", "c"})
    assert Buckets(shared.shelf("a", stats), Rate(1, per=3600, burst=1)).take(b"x", 6.0) == 0.0, "a new one begins anew"


def test_there_is_room_for_those_in_force_and_those_to_come() -> None:
    shared, stats = shelves(), WorkerStats()
    before = {f"a{number}" for number in range(MOST_BY_KEY)}
    after = {f"b{number}" for number in range(MOST_BY_KEY)}
    shared.keep(before)
    shared.keep(before | after)
    for name in before | after:
        assert Buckets(shared.shelf(name, stats), Rate(1, per=9, burst=1)).take(b"x", 1.0) == 0.0
    shared.keep(after)
    for name in after:
        assert Buckets(shared.shelf(name, stats), Rate(1, per=9, burst=1)).take(b"x", 1.0) > 0
