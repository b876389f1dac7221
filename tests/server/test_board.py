"""Who has so many more than another that connections are passed on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meshproxy.server.board import ABSENT, better_off, present, shared_board, stage


@pytest.mark.parametrize(
    ("counts", "number", "whom"),
    [
        ([0, 0], 0, None),
        ([4, 0], 0, None),
        ([5, 0], 0, 1),
        ([5, 0], 1, None),
        ([9, 2, 0], 1, None),
        ([9, 5, 0], 0, 2),
        ([125, 100], 0, None),
        ([130, 100], 0, 1),
        ([50, ABSENT], 0, None),
        ([50, ABSENT, 3], 0, 2),
        # Whoever is overloaded gives what comes to one that is less so, however many that has
        ([1 << 32, 500], 0, 1),
        ([1 << 32, 500], 1, None),
        ([3 << 32, 2 << 32, ABSENT], 0, 1),
        ([(3 << 32) + 4, 3 << 32], 0, None),
        ([(3 << 32) + 5, 3 << 32], 0, 1),
        ([(1 << 32) + 125, (1 << 32) + 100], 0, None),
        ([1 << 32, ABSENT], 0, None),
    ],
)
def test_a_few_more_or_a_quarter_more_are_no_reason(counts: list[int], number: int, whom: int | None) -> None:
    board = shared_board(len(counts))
    for place, count in enumerate(counts):
        board[place] = count
    assert better_off(board, number) == whom


class Busy(list[int]):
    """A board that others write on while it is read."""

    def __iter__(self) -> Iterator[int]:
        for place in range(len(self)):
            yield self[place]
            self[place] += 1


def test_what_others_write_meanwhile_is_for_the_next_time() -> None:
    assert better_off(Busy([9, 3, 0]), 0) == 2
    assert better_off(Busy([5, 1]), 0) is None


def test_what_was_passed_to_one_that_has_just_gone_is_no_connection_of_its() -> None:
    board = shared_board(2)
    board[0] = 7
    board[1] += 1
    assert [present(shown) for shown in board] == [7, 0]
    assert better_off(board, 0) is None


def test_what_a_number_on_the_board_says() -> None:
    assert (present(7), stage(7)) == (7, 0)
    assert (present((2 << 32) + 7), stage((2 << 32) + 7)) == (7, 2)
    assert (present(ABSENT + 7), stage(ABSENT + 7)) == (0, 0)
