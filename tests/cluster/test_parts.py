"""Who may be picked: priorities, zones, panic, weights of nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.cluster.balance.parts import Seat, standing

HERE, THERE = "a", "b"


def shares(seats: list[Seat], unfit: set[int], zone: str = "", panic: float = 0.5) -> list[float]:
    """The part of the load that each gets."""
    weights, _ = standing(seats, [number not in unfit for number in range(len(seats))], zone=zone, panic=panic)
    total = sum(weights)
    return [round(weight / total, 3) if total else 0.0 for weight in weights]


def levels(*sizes: int) -> list[Seat]:
    return [Seat(1, priority=priority * 5) for priority, size in enumerate(sizes) for _ in range(size)]


def test_everybody_who_is_fit_has_the_weight_that_was_said() -> None:
    assert standing([Seat(5), Seat(0), Seat(3), Seat(1)], [True, True, False, True], panic=0.5) == ([5, 0, 0, 1], [])


# Priorities


@pytest.mark.parametrize(("unfit", "first"), [(0, 1.0), (1, 1.0), (2, 1.0), (3, 0.8), (5, 0.4), (6, 0.2), (7, 0.0)])
def test_the_next_level_takes_what_the_first_cannot_carry(unfit: int, first: float) -> None:
    found = shares(levels(7, 4), set(range(unfit)))
    assert sum(found[:7]) == pytest.approx(first, abs=0.01)
    assert found[unfit:7] == [pytest.approx(first / (7 - unfit or 1), abs=0.001)] * (7 - unfit)
    assert found[7:] == [pytest.approx((1 - first) / 4, abs=0.001)] * 4


def test_a_third_level_takes_what_the_second_cannot() -> None:
    found = shares(levels(10, 10, 10), {*range(8), *range(10, 16)})
    assert sum(found[:10]) == pytest.approx(0.28, abs=0.01)
    assert sum(found[10:20]) == pytest.approx(0.56, abs=0.01)
    assert sum(found[20:]) == pytest.approx(0.16, abs=0.01)


def test_the_share_of_a_level_that_is_fit_is_one_of_weight() -> None:
    seats = [Seat(9), Seat(1), Seat(1, priority=1)]
    assert shares(seats, {1}) == [1, 0, 0]
    assert shares(seats, {0}) == [0, pytest.approx(0.14), pytest.approx(0.86)]


def test_the_first_level_keeps_its_weights_whatever_the_others_take() -> None:
    weights, _ = standing(levels(7, 4), [False] * 4 + [True] * 7, panic=0.5)
    assert weights[4:7] == [1, 1, 1]


def test_who_is_not_picked_is_left_for_later_nearest_first() -> None:
    seats = [Seat(1, HERE), Seat(1, THERE), Seat(1, HERE, 1), Seat(1, THERE, 1), Seat(0, HERE)]
    assert standing(seats, [True] * 5, zone=HERE, panic=0.5) == ([1, 0, 0, 0, 0], [[1], [2], [3]])


# Zones


@pytest.mark.parametrize(("unfit", "ours"), [(0, 1.0), (2, 1.0), (3, 0.8), (6, 0.2), (7, 0.0)])
def test_our_zone_is_preferred_as_far_as_it_can(unfit: int, ours: float) -> None:
    seats = [*[Seat(1, HERE)] * 7, *[Seat(1, THERE)] * 40, Seat(1)]
    found = shares(seats, set(range(unfit)), zone=HERE)
    assert sum(found[:7]) == pytest.approx(ours, abs=0.01)


def test_a_zone_alone_carries_all() -> None:
    assert shares([Seat(1, HERE), Seat(1, HERE), Seat(1, THERE)], {1, 2}, zone=HERE, panic=0.3) == [1, 0, 0]


@pytest.mark.parametrize("zone", ["", "nowhere"])
def test_without_a_zone_of_ours_all_are_equal(zone: str) -> None:
    assert shares([Seat(1, HERE), Seat(1, THERE), Seat(2)], set(), zone=zone) == [0.25, 0.25, 0.5]


def test_zones_are_within_a_level() -> None:
    seats = [Seat(1, THERE), Seat(1, HERE, 1), Seat(1, THERE, 1)]
    assert shares(seats, set(), zone=HERE) == [1, 0, 0]
    assert shares(seats, {0}, zone=HERE) == [0, 1, 0]


# Panic


def test_with_too_few_fit_all_are_used() -> None:
    assert shares(levels(4), {0, 1}) == [0, 0, 0.5, 0.5], "a half is enough"
    assert shares(levels(4), {0, 1, 2}) == [0.25] * 4
    assert shares(levels(4), {0, 1, 2, 3}) == [0.25] * 4
    assert shares(levels(4), {0, 1, 2}, panic=0) == [0, 0, 0, 1]
    assert shares(levels(4), {0, 1, 2, 3}, panic=0) == [0] * 4
    assert shares(levels(4), {0}, panic=1) == [0.25] * 4


def test_nobody_panics_while_others_can_carry_it() -> None:
    assert shares(levels(10, 2), set(range(9))) == [*[0] * 9, 0.14, 0.43, 0.43]


def test_a_level_panics_where_the_others_cannot_carry_it() -> None:
    # 0.14 and 0.7 of 0.84: the first uses all of its endpoints for its part, the second only who is fit
    found = shares(levels(10, 2), {*range(9), 10})
    assert found == [pytest.approx(0.0167, abs=0.001)] * 10 + [0, pytest.approx(0.833, abs=0.001)]


def test_in_panic_everywhere_nobody_is_believed() -> None:
    seats = [Seat(1, HERE), Seat(1, THERE), Seat(2, priority=1), Seat(0)]
    assert shares(seats, {0, 1, 2}, zone=HERE) == [0.25, 0.25, 0.5, 0]


# Anything


seat = st.builds(Seat, st.sampled_from([0, 1, 2, 65535]), st.sampled_from(["", HERE, THERE]), st.integers(0, 3))


@given(st.lists(st.tuples(seat, st.booleans()), max_size=8), st.sampled_from([0.0, 0.5, 1.0]))
def test_whatever_is_said_nobody_is_picked_in_vain_or_forgotten(said: list[tuple[Seat, bool]], panic: float) -> None:
    seats, fit = [seat for seat, _ in said], [fit for _, fit in said]
    weights, spare = standing(seats, fit, zone=HERE, panic=panic)
    later = {number for part in spare for number in part}
    for number, (weight, each) in enumerate(zip(weights, seats, strict=True)):
        assert weight >= 0
        assert not (weight and number in later)
        assert each.weight or not (weight or number in later)
        assert panic or fit[number] or not weight, "who is unfit is picked in panic alone"
        if fit[number] and each.weight:
            assert weight or number in later
    if any(weights):
        assert sum(weights) >= 1, "the first part has the weights that were said"
    assert bool(any(weights)) == any(each.weight and (fit[n] or panic) for n, each in enumerate(seats))
