"""Rows of plain data as columns of text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

from meshproxy.observe.printable import printable

Row = Mapping[str, object]

WIDEST = 64
"""What is longer goes beyond its column: one cell of a KiB must not fill thousands of lines with blanks."""


def text_table(rows: Sequence[Row], indent: str = "") -> str:
    """A head, and a line for each row; what holds rows of its own is followed by them, indented."""
    nested = {name for row in rows for name, value in row.items() if _is_rows(value)}
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in nested]
    if not names:
        return f"{indent}(none)\n"
    lines = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
    widths = [min(max(map(len, column)), WIDEST) for column in zip(*lines, strict=True)]
    head, *body = (indent + "  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)
    text = [head]
    for line, row in zip(body, rows, strict=True):
        text.append(line)
        text.extend(text_table(value, indent + "  ") for value in row.values() if _is_rows(value))
    return "".join(text)


def _is_rows(value: object) -> TypeGuard[Sequence[Row]]:
    return isinstance(value, list) and bool(value) and all(isinstance(part, Mapping) for part in value)


def _cell(value: object) -> str:
    if isinstance(value, list | tuple):
        return printable(", ".join(map(str, value))) or "-"
    return "-" if value is None else printable(str(value))
