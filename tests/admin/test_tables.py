"""Rows as columns of text."""

from __future__ import annotations

from meshproxy.admin.tables import text_table


def test_columns_are_as_wide_as_what_stands_in_them() -> None:
    assert text_table([{"name": "web", "addresses": ["a:1", "b:2"]}, {"name": "database", "limit": 3}]) == (
        "name      addresses  limit\n"
        "web       a:1, b:2   -\n"
        "database  -          3\n"
    )  # fmt: skip


def test_rows_within_a_row_follow_it() -> None:
    rows: list[dict[str, object]] = [
        {"name": "books", "endpoints": [{"address": "127.0.0.1:9", "active": 1}, {"address": "::1", "active": 0}]},
        {"name": "empty", "endpoints": []},
    ]
    assert text_table(rows) == (
        "name\n"
        "books\n"
        "  address      active\n"
        "  127.0.0.1:9  1\n"
        "  ::1          0\n"
        "empty\n"
    )  # fmt: skip


def test_no_rows_are_said_to_be_none() -> None:
    assert text_table([]) == "(none)\n"


def test_tuples_are_lists_and_what_is_empty_is_a_dash() -> None:
    assert text_table([{"a": ("x", "y"), "b": (), "c": []}]) == "a     b  c\nx, y  -  -\n"


def test_one_long_cell_does_not_fill_every_line_with_blanks() -> None:
    rows = [{"a": "x" * 10_000, "b": "1"}, *({"a": "y", "b": "1"} for _ in range(1000))]
    assert len(text_table(rows)) < 100_000
