"""Claims are taken as a whole or leave no trace."""

from __future__ import annotations

from collections.abc import Iterable

from meshproxy.core.table import Table


class Thing:
    def __init__(self) -> None:
        self.retired: list[float] = []

    def retire(self, grace: float) -> None:
        self.retired.append(grace)


def finish(steps: Iterable[None]) -> None:
    for _ in steps:
        pass


def test_what_is_claimed_again_lives_on_and_what_is_not_is_retired() -> None:
    table = Table()
    first = table.begin()
    kept, dropped = first.claim("kept", Thing), first.claim("dropped", Thing)
    finish(first.commit(5))
    second = table.begin()
    assert second.claim("kept", Thing) is kept
    fresh = second.claim("fresh", Thing)
    finish(second.commit(7))
    assert (kept.retired, dropped.retired, fresh.retired) == ([], [7], [])
    assert len(table) == 2


def test_an_aborted_generation_leaves_no_trace() -> None:
    table = Table()
    first = table.begin()
    kept = first.claim("kept", Thing)
    finish(first.commit(0))
    second = table.begin()
    second.claim("kept", Thing)
    fresh = second.claim("fresh", Thing)
    second.abort()
    assert (kept.retired, fresh.retired) == ([], [0])
    assert table.begin().claim("kept", Thing) is kept


def test_one_generation_claims_the_same_thing_twice() -> None:
    claims = Table().begin()
    assert claims.claim("a", Thing) is claims.claim("a", Thing)


def test_the_generation_in_force_claims_more_and_drops_what_it_does_not_need() -> None:
    table = Table()
    claims = table.begin()
    first = claims.claim("first", Thing)
    finish(claims.commit(0))
    assert table.claim("first", Thing) is first
    more = table.claim("more", Thing)
    table.drop("first", 3)
    assert first.retired == [3]
    second = table.begin()
    assert second.claim("more", Thing) is more
    assert second.claim("first", Thing) is not first
    finish(second.commit(0))
    assert more.retired == []
