"""What a retry policy says, and how many retries there may be."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.cluster.retry import Budget, BudgetTerms, Retry, after, causes
from meshproxy.model.retry import GRPC
from meshproxy.wire.grpc import Status
from meshproxy.wire.h1 import ResponseCodec, ResponseHead


def policy(**said: object) -> Retry:
    plain: dict[str, object] = {"attempts": 3, "causes": causes(["connect"]), "methods": frozenset()}
    return Retry(**{**plain, **said})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "wanted", "unwanted"),
    [
        ("connect", ["connect_failed", "connect_timeout"], ["upstream_lost", 503]),
        ("refused", ["connect_failed"], ["connect_timeout"]),
        ("reset", ["upstream_lost"], ["connect_failed", 502]),
        ("timeout", ["try_timeout"], ["request_timeout", 504]),
        ("gateway", [502, 503, 504, "connect_failed", "upstream_lost", "upstream_malformed"], [500, 501, 505, 429]),
        ("5xx", [500, 503, 599, "try_timeout"], [429, 499, 200, "overflow", "breaker_open"]),
        ("429", [429], [503]),
    ],
)
def test_words_and_what_they_stand_for(word: str, wanted: list[str | int], unwanted: list[str | int]) -> None:
    retry = policy(causes=causes([word]))
    assert [retry.wants(each) for each in (*wanted, *unwanted)] == [True] * len(wanted) + [False] * len(unwanted)


def test_pauses_grow_up_to_the_longest_and_are_spread() -> None:
    retry = policy(pause_first=0.1, pause_most=0.35)
    for attempt, longest in ((1, 0.1), (2, 0.2), (3, 0.35), (20, 0.35)):
        pauses = [retry.pause(attempt) for _ in range(300)]
        assert all(pause is not None and 0 <= pause <= longest for pause in pauses)
        assert max(pause or 0 for pause in pauses) > 0.8 * longest
        assert min(pause or 0 for pause in pauses) < 0.2 * longest


@pytest.mark.parametrize(("asked_for", "waited"), [(0.0, 0.0), (2.0, 2.0), (3.0, 3.0), (4.0, None), (inf, None)])
def test_what_an_answer_asks_for_is_waited_for_where_that_is_not_too_long(
    asked_for: float, waited: float | None
) -> None:
    assert policy(most_asked_for=3.0).pause(1, asked_for) == waited


def answer(status: int, *lines: str) -> ResponseHead:
    text = "\r\n".join((f"HTTP/1.1 {status} Phrase", *lines, "", ""))
    return ResponseCodec().parse(text.encode())


CALL = ("content-type: application/grpc", "content-length: 0")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("2", 2.0), ("999999", 999999.0), ("9999999", 0.0), ("-1", 0.0), ("soon", 0.0)],
)
def test_a_retry_after_is_read(said: str, seconds: float) -> None:
    assert after(answer(503, f"retry-after: {said}"), True) == (503, seconds)


@pytest.mark.parametrize(
    ("lines", "whole", "found"),
    [
        (["grpc-status: 14"], True, ("unavailable", 0.0)),
        (["grpc-status: 8", "grpc-retry-pushback-ms: 250"], True, ("resource-exhausted", 0.25)),
        (["grpc-status: 14", "grpc-retry-pushback-ms: -1"], True, ("unavailable", inf)),
        (["grpc-status: 14", "grpc-retry-pushback-ms: soon"], True, ("unavailable", inf)),
        (["grpc-status: 14", "grpc-retry-pushback-ms: "], True, ("unavailable", inf)),
        (["grpc-status: 99"], True, ("unknown", 0.0)),
        # Something may have been said after it
        (["grpc-status: 14"], False, (200, 0.0)),
        ([], True, (200, 0.0)),
    ],
)
def test_a_call_that_has_ended_at_once_says_why(lines: list[str], whole: bool, found: tuple[str | int, float]) -> None:
    assert after(answer(200, *CALL, *lines), whole) == found


def test_what_is_no_call_has_no_status_of_one() -> None:
    assert after(answer(200, "content-type: text/plain", "grpc-status: 14"), True) == (200, 0.0)


def test_the_words_of_a_policy_are_those_of_grpc() -> None:
    assert set(GRPC) <= {each.word for each in Status}
    retry = policy(causes=causes(["unavailable"]))
    assert (retry.wants("unavailable"), retry.wants("internal"), retry.wants(503)) == (True, False, False)


def test_a_budget_is_a_share_of_what_is_live() -> None:
    budget = Budget(BudgetTerms(0.2, 3))
    assert [budget.take(live=0) for _ in range(4)] == [True, True, True, False]
    assert budget.take(live=20)
    assert not budget.take(live=20)
    budget.give()
    assert budget.take(live=20)


def test_a_budget_may_have_a_bound_of_its_own() -> None:
    budget = Budget(BudgetTerms(1.0, 0, 2))
    assert [budget.take(live=100) for _ in range(3)] == [True, True, False]
    assert not Budget(BudgetTerms(0.0, 0)).take(live=1_000_000)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1000))), st.floats(0, 1), st.integers(0, 20))
def test_no_storm_passes_a_budget(steps: list[tuple[bool, int]], share: float, least: int) -> None:
    budget = Budget(BudgetTerms(share, least, inf))
    taken = 0
    for takes, live in steps:
        if takes:
            before = taken
            taken += budget.take(live)
            assert taken == before or before < max(least, share * live)
        elif taken:
            budget.give()
            taken -= 1
        assert budget.spent == taken
