"""Balancers: who is next, how often, and that nobody is asked twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from random import Random
from typing import Any

import pytest

from meshproxy.cluster.balance import BALANCERS, Pick, listening
from meshproxy.cluster.balance.base import Weighted
from meshproxy.cluster.balance.key import hashed
from meshproxy.cluster.balance.load import FAILED, FEW, TAU, ewma, least_request
from meshproxy.cluster.balance.ring import MOST_POINTS, POINTS
from meshproxy.cluster.balance.turns import round_robin
from meshproxy.cluster.endpoint import Endpoint
from meshproxy.errors import Failure
from meshproxy.net.clock import Clock
from tests.cluster.endpoints import NOBODY, endpoint, endpoints, means, picked

BY_KEY = ("ring_hash", "maglev")
KEYS = [hashed(b"user-%d" % number) for number in range(10_000)]


@pytest.fixture
def abc(clock: Clock) -> list[Endpoint]:
    return endpoints(3, clock)


def made(name: str, members: Weighted, clock: Clock, seed: int = 1) -> Pick:
    return BALANCERS[name](members, means(clock, [weight for _, weight in members], seed=seed))


# All of them


@pytest.mark.parametrize("count", [2, 3, FEW + 1])
@pytest.mark.parametrize("name", BALANCERS)
def test_nobody_is_tried_twice(name: str, count: int, clock: Clock) -> None:
    members = endpoints(count, clock)
    pick = made(name, [(member, 1) for member in members], clock)
    tried: list[Endpoint] = []
    while (found := pick(tried, NOBODY)) is not None:
        tried.append(found)
    assert set(tried) == set(members)
    assert len(tried) == count


@pytest.mark.parametrize("count", [4, 40])
@pytest.mark.parametrize("name", BALANCERS)
def test_each_is_picked_by_its_weight(name: str, count: int, clock: Clock) -> None:
    members = endpoints(count, clock)
    heavy = members[0]
    pick = made(name, [(member, count - 1 if member is heavy else 1) for member in members], clock)
    found = picked(pick, 10_000)
    assert 4400 < found[heavy] < 5600, "a half, or 12 % from it: on a ring that is three deviations"
    light = sorted(found[member] * (count - 1) / 5000 for member in members[1:])
    assert light[0] > 0.5
    assert light[-1] < 1.8


@pytest.mark.parametrize("name", BALANCERS)
def test_weights_that_differ_as_much_as_they_can(name: str, clock: Clock) -> None:
    members = endpoints(FEW + 2, clock)
    pick = made(name, [(member, 65535 if member is members[0] else 1) for member in members], clock)
    found = picked(pick, 1000)
    assert found[members[0]] > 900
    assert None not in found


# By turns


def test_round_robin_is_smooth_and_exact(abc: list[Endpoint], clock: Clock) -> None:
    a, b, c = abc
    pick = round_robin([(a, 5), (b, 1), (c, 1)], means(clock))
    for _ in range(100):
        found = [pick((), NOBODY) for _ in range(7)]
        assert Counter(found) == {a: 5, b: 1, c: 1}
        assert found.index(b) in (2, 3), "in the middle of the others"
        assert found.index(c) in (5, 6)


def test_the_rotation_goes_on_in_a_new_generation(abc: list[Endpoint], clock: Clock) -> None:
    a, b, c = abc
    found = [round_robin([(a, 2), (b, 1), (c, 1)], means(clock))((), NOBODY) for _ in range(8)]
    assert Counter(found) == {a: 4, b: 2, c: 2}


def test_who_was_away_does_not_make_up_for_it(abc: list[Endpoint], clock: Clock) -> None:
    a, b, c = abc
    picked(round_robin([(a, 1), (b, 1)], means(clock)), 1000)
    pick = round_robin([(a, 1), (b, 1), (c, 1)], means(clock))
    assert picked(pick, 9) == {a: 3, b: 3, c: 3}


def test_who_weighed_next_to_nothing_does_not_wait_for_it(abc: list[Endpoint], clock: Clock) -> None:
    a, b, _ = abc
    picked(round_robin([(a, 1), (b, 1e-9)], means(clock)), 10)
    a.due, b.due = b.due, 1e9  # its turn was a moment ago
    assert picked(round_robin([(a, 1), (b, 1)], means(clock)), 10) == {a: 5, b: 5}


def test_a_turn_before_its_time_is_a_turn(abc: list[Endpoint], clock: Clock) -> None:
    a, b, c = abc
    pick = round_robin([(a, 1), (b, 1), (c, 1)], means(clock))
    assert pick((a, b), NOBODY) is c
    assert [pick((), NOBODY) for _ in range(3)] == [a, b, a]


# By load


def test_least_request_fills_up_by_weight(abc: list[Endpoint], clock: Clock) -> None:
    a, b, c = abc
    pick = least_request([(a, 1), (b, 2), (c, 1)], means(clock))
    for _ in range(40):
        found = pick((), NOBODY)
        assert found is not None
        found.stats.connections_active += 1
    assert [member.stats.connections_active for member in abc] == [10, 20, 10]


def test_least_request_takes_turns_among_equals(abc: list[Endpoint], clock: Clock) -> None:
    pick = least_request([(member, 1) for member in abc], means(clock))
    assert picked(pick, 9) == dict.fromkeys(abc, 3)


def test_who_was_busy_does_not_make_up_for_it(abc: list[Endpoint], clock: Clock) -> None:
    a, b, c = abc
    pick = least_request([(member, 1) for member in abc], means(clock))
    a.stats.connections_active = 9
    assert picked(pick, 1000) == {b: 500, c: 500}
    a.stats.connections_active = 0
    assert set(picked(pick, 9).values()) <= {2, 3, 4}


def test_connections_that_are_made_are_load_and_those_that_wait_are_none(abc: list[Endpoint], clock: Clock) -> None:
    a, b, c = abc
    a.dialling = 1
    b.stats.connections_active = 2
    b.idle = [None, None]  # type: ignore[list-item]  # only counted
    c.stats.connections_active = 1
    pick = least_request([(member, 1) for member in abc], means(clock))
    assert picked(pick, 5) == {b: 5}


def test_two_choices_are_nearly_as_even_as_all(clock: Clock) -> None:
    members = endpoints(100, clock)
    pick = least_request([(member, 1) for member in members], means(clock))
    by_chance = made("random", [(member, 1) for member in members], clock)
    for _ in range(1000):
        found = pick((), NOBODY)
        assert found is not None
        found.stats.connections_active += 1
    fullest = max(member.stats.connections_active for member in members)
    assert fullest <= 13
    assert max(picked(by_chance, 1000).values()) >= 17, "what one choice makes of it"


def test_two_choices_fill_up_by_weight(clock: Clock) -> None:
    members = endpoints(20, clock)
    pick = least_request([(member, 3 if member.address.port <= 10 else 1) for member in members], means(clock))
    for _ in range(800):
        found = pick((), NOBODY)
        assert found is not None
        found.stats.connections_active += 1
    heavy = sum(member.stats.connections_active for member in members[:10])
    assert 570 <= heavy <= 630


@pytest.mark.parametrize("count", [3, 30])
def test_ewma_prefers_who_answers_fast_and_forgets(count: int, clock: Any) -> None:
    members = endpoints(count, clock)
    slow, *fast = members
    pick, heed = ewma([(member, 1) for member in members], means(clock)), listening(clock.now)
    for member in members:
        heed(member, None, 200, 1.0 if member is slow else 0.01)
    assert slow not in picked(pick, 200)
    for _ in range(60):
        clock.advance(1)
        for member in fast:
            heed(member, None, 200, 0.01)
    assert slow in picked(pick, 200), "a minute later it is given a chance"


def test_ewma_weighs_what_waits_there(abc: list[Endpoint], clock: Clock) -> None:
    a, b, _ = abc
    pick, heed = ewma([(a, 1), (b, 1)], means(clock)), listening(clock.now)
    heed(a, None, 200, 0.01)
    heed(b, None, 200, 0.03)
    for _ in range(8):
        found = pick((), NOBODY)
        assert found is not None
        found.stats.connections_active += 1
    assert (a.stats.connections_active, b.stats.connections_active) == (6, 2)


def test_a_slow_answer_counts_at_once_and_a_fast_one_by_and_by(abc: list[Endpoint], clock: Any) -> None:
    a = abc[0]
    heed = listening(clock.now)
    heed(a, None, 200, 0.1)
    heed(a, None, 200, 0.5)
    assert a.latency == 0.5
    heed(a, None, 200, 0.1)
    assert a.latency == 0.5, "no time has passed"
    clock.advance(TAU)
    heed(a, None, 200, 0.1)
    assert a.latency == pytest.approx(0.5 / 2.718 + 0.1 * (1 - 1 / 2.718), rel=0.01)


@pytest.mark.parametrize(("failure", "status"), [(Failure("connect_failed"), 0), (None, 500), (None, 503)])
def test_who_fails_at_once_is_not_fast(failure: Failure | None, status: int, abc: list[Endpoint], clock: Clock) -> None:
    heed = listening(clock.now)
    heed(abc[0], failure, status, 0.0001)
    assert abc[0].latency == FAILED


def test_of_who_is_new_one_answer_is_awaited(abc: list[Endpoint], clock: Clock) -> None:
    a, b, _ = abc
    pick, heed = ewma([(a, 1), (b, 1)], means(clock)), listening(clock.now)
    heed(a, None, 200, 0.01)
    assert pick((), NOBODY) is b
    b.stats.connections_active = 1
    assert picked(pick, 5) == {a: 5}


# By key


def homes(name: str, members: Weighted, clock: Clock, everyone: int = 0) -> list[Endpoint | None]:
    """Where each key goes."""
    key = iter(KEYS)
    ready = means(clock, [1] * everyone or [weight for _, weight in members], lambda _: next(key))
    pick = BALANCERS[name](members, ready)
    return [pick((), NOBODY) for _ in KEYS]


@pytest.mark.parametrize("name", BY_KEY)
def test_the_same_key_goes_to_the_same_place_everywhere(name: str, clock: Clock) -> None:
    members = [(each, 1) for each in endpoints(10, clock)]
    elsewhere = [(each, 1) for each in endpoints(10, clock)]
    Random(7).shuffle(elsewhere)
    ours, theirs = homes(name, members, clock), homes(name, elsewhere, clock)
    assert [each and each.name for each in ours] == [each and each.name for each in theirs]


def test_where_keys_go_is_no_accident_of_this_process() -> None:
    assert [hashed(key) for key in (b"", b"a", b"user-1")] == [0, 4_200_413_011, 3_051_481_044]


@pytest.mark.parametrize(("name", "most"), [("ring_hash", 1.45), ("maglev", 1.12)])
def test_keys_are_spread(name: str, most: float, clock: Clock) -> None:
    members = [(each, 1) for each in endpoints(10, clock)]
    counts = Counter(homes(name, members, clock))
    assert len(counts) == 10
    assert max(counts.values()) < 1000 * most
    assert min(counts.values()) > 1000 / most


@pytest.mark.parametrize(("name", "others"), [("ring_hash", 0.0), ("maglev", 0.03)])
@pytest.mark.parametrize("count", [3, 10, 100])
def test_only_the_keys_of_who_leaves_move(name: str, others: float, count: int, clock: Clock) -> None:
    members = [(each, 1) for each in endpoints(count, clock)]
    gone = members[count // 2]
    before = homes(name, members, clock)
    unfit = homes(name, [member for member in members if member is not gone], clock, everyone=count)
    moved = sum(1 for one, other in zip(before, unfit, strict=True) if one is not other and one is not gone[0])
    assert moved <= others * len(KEYS)
    assert gone[0] not in unfit
    assert homes(name, members, clock) == before, "and come back with it"


def test_a_ring_does_not_change_where_one_endpoint_more_would_change_it(clock: Clock) -> None:
    count = MOST_POINTS // POINTS + 1
    members = [(each, 1) for each in endpoints(count, clock)]
    before, unfit = (homes("ring_hash", those, clock, everyone=count) for those in (members, members[1:]))
    assert all(one is other for one, other in zip(before, unfit, strict=True) if one is not members[0][0])


def test_whose_a_point_is_that_two_have_depends_on_nobodys_order(
    abc: list[Endpoint], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshproxy.cluster.balance.ring.points", lambda name, count: range(count))
    there, back = ({*homes("ring_hash", [(each, 1) for each in those], clock)} for those in (abc, abc[::-1]))
    assert there == back


@pytest.mark.parametrize(("name", "others"), [("ring_hash", 0.0), ("maglev", 0.03)])
@pytest.mark.parametrize("weight", [1, 100])
@pytest.mark.parametrize("count", [2, 20, 200])
def test_only_keys_for_who_joins_move(name: str, others: float, count: int, weight: int, clock: Clock) -> None:
    members = [(each, weight) for each in endpoints(count, clock)]
    newcomer = endpoint(999, clock)
    before, after = homes(name, members, clock), homes(name, [*members, (newcomer, weight)], clock)
    moved = [other for one, other in zip(before, after, strict=True) if one is not other]
    assert sum(1 for other in moved if other is not newcomer) <= others * len(KEYS)
    assert 0.5 < sum(1 for other in moved if other is newcomer) / (len(KEYS) / (count + 1)) < 1.7


def test_who_grows_takes_keys_and_nobody_else_does(clock: Clock) -> None:
    a, b, c = endpoints(3, clock)
    before = homes("ring_hash", [(a, 1), (b, 1), (c, 1)], clock)
    after = homes("ring_hash", [(a, 2), (b, 1), (c, 1)], clock)
    assert {other for one, other in zip(before, after, strict=True) if one is not other} == {a}


@pytest.mark.parametrize("weight", [1, 65535])
def test_a_ring_is_bounded_whatever_the_weights(weight: int, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    def points(name: str, count: int) -> Collection[int]:
        counted.append(count)
        return range(count)

    monkeypatch.setattr("meshproxy.cluster.balance.ring.points", points)
    made("ring_hash", [(each, weight) for each in endpoints(2000, clock)], clock)
    assert sum(counted) <= MOST_POINTS
    assert min(counted) >= MOST_POINTS // 2000 // 2
    counted.clear()
    made("ring_hash", [(endpoint(1, clock), 65535), (endpoint(2, clock), 1)], clock)
    assert counted == [2560, 1]
    counted.clear()
    made("ring_hash", [(each, 1) for each in endpoints(3, clock)], clock)
    assert counted == [POINTS] * 3


@pytest.mark.parametrize("name", BY_KEY)
def test_who_has_no_key_goes_anywhere(name: str, abc: list[Endpoint], clock: Clock) -> None:
    assert set(picked(made(name, [(each, 1) for each in abc], clock), 100)) == set(abc)
